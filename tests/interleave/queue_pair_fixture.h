// A queue for pairs of operations, and its operations by name.
#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "interleave/pair_fixture.h"
#include "interleave/waits.h"
#include "shm/any_queue.h"
#include "support/further_operations.h"
#include "support/queue_fixture.h"

namespace commonhold::test {

struct QueueKind {
  const char* name = "queue";
  shm::ObjectKind kind = shm::ObjectKind::kQueue;
  std::uint64_t item_bytes = 0, limit = 0, order = 0,
                redelivers = 0;  // 0: of any size; no limit; first in, first out; no
};

inline const QueueKind kByPriority{"queue by priority", shm::ObjectKind::kPriorityQueue, 0, 0, 3, 0};
inline const QueueKind kLastInFirstOut{"last in first out", shm::ObjectKind::kQueue, 0, 0, 2, 0};
inline const QueueKind kLastInFirstOutRedelivering{
    "last in first out that redelivers", shm::ObjectKind::kQueue, 0, 0, 2, 1};
inline const QueueKind kByPriorityRedelivering{
    "queue by priority that redelivers", shm::ObjectKind::kPriorityQueue, 0, 0, 3, 1};
inline const QueueKind kRedelivering{"queue that redelivers", shm::ObjectKind::kQueue, 0, 0, 0, 1};

// `Queue`: shm::Queue for a ring, else shm::OrderedQueue.
template <typename Queue>
class QueuePairs {
 public:
  using Deadline = shm::Deadline;
  using Status = shm::Status;
  using ThreadContext = shm::ThreadContext;
  static constexpr bool kIsRing = std::is_same_v<Queue, shm::Queue>;

  explicit QueuePairs(const QueueKind& kind)
      : item_bytes_(kind.item_bytes),
        where(stage.segment.make({kind.kind, "", "queue", {kind.item_bytes, kind.limit, kind.order, kind.redelivers}})),
        queue(where) {}
  QueuePairs(const QueuePairs&) = delete;
  QueuePairs& operator=(const QueuePairs&) = delete;

  void fill(const std::vector<std::string>& items) {
    for (const std::string& item : items) {
      REQUIRE(put_now(stage.me(), item, Deadline::already()) == Status::kOk);
    }
  }
  // Taken by the caller, and not done.
  void take(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      std::string item;
      REQUIRE(get_now(stage.me(), item, Deadline::already()) == Status::kOk);
    }
  }

  Observation observation() {
    return {[this] {
              std::string items;
              for (const std::string& item : queue.items_for_test()) items += brief(item) + "|";
              return fmt::format("{} {}, {} unfinished, ended {}", queue.size(), items, queue.unfinished(),
                                 static_cast<int>(queue.ended()));
            },
            [this] { return queue.audit(stage.me()).error; },
            [this] {
              return queue_works(
                  [this](const std::string& item) { return put_now(stage.me(), item, Deadline::already()); },
                  [this](std::string& item) { return get_now(stage.me(), item, Deadline::already()); },
                  queue.ended() != decltype(queue.ended()){});
            }};
  }

  // ---- one item

  Operation put(const std::string& item, Deadline deadline = Deadline::never(), const char* name = "put") {
    return {name, [this, item, deadline](ThreadContext& me) { return word_of(put_now(me, item, deadline)); }};
  }
  Operation put_in_time(const std::string& item) {
    return {"put in time",
            [this, item](ThreadContext& me) { return word_of(put_now(me, item, Deadline::after(kShortWait))); },
            kShortWaitAtMost};
  }
  Operation put_without_wait(const std::string& item) {
    return bounded(put(item, Deadline::already(), "put without a wait"), kQueueWithoutWait);
  }
  Operation get() {
    return {"get", [this](ThreadContext& me) { return get_word(me, Deadline::never()); }};
  }
  Operation get_without_wait() {
    return {"get without a wait", [this](ThreadContext& me) { return get_word(me, Deadline::already()); },
            kQueueWithoutWait};
  }
  Operation get_in_time() {
    return {"get in time", [this](ThreadContext& me) { return get_word(me, Deadline::after(kShortWait)); },
            kShortWaitAtMost};
  }
  // As who decodes an item before taking it: sees it in one call, and takes it in the next if it is the first one still.
  Operation peek_and_take() {
    struct Seen {
      Status status = Status::kOk;
      shm::ItemKind kind{};
      std::string item;
    };
    const auto seen = std::make_shared<Seen>();
    return {"look at an item, then take it",
            {[this, seen](ThreadContext& me) {
               seen->status = queue.peek(me, seen->kind, seen->item, Deadline::never());
               return result_of(seen->status, seen->item);
             },
             [this, seen](ThreadContext& me) {
               if (seen->status != Status::kOk) return std::string("-");
               const shm::Item item{seen->kind, seen->item.data(), seen->item.size()};
               if constexpr (kIsRing) {
                 return word_of(queue.take_if_equal(me, item));
               } else {
                 return word_of(queue.take_if_equal(me, item, nullptr));
               }
             }}};
  }

  // ---- many

  Operation put_many(const std::vector<std::string>& items) {
    return {"put of many", [this, items](ThreadContext& me) {
              std::vector<shm::Item> all;
              std::vector<std::string> padded;
              for (const std::string& item : items) padded.push_back(sized(item, item_bytes_));
              for (const std::string& item : padded) all.push_back(text(item));
              std::uint64_t done = 0;
              const Status status = queue.put_many(me, all, Deadline::never(), done);
              return fmt::format("{} {}", word_of(status), done);
            }};
  }
  Operation get_many(std::uint64_t most) {
    return {"get of many", [this, most](ThreadContext& me) { return get_many_word(me, most, Deadline::never()); }};
  }
  Operation get_many_in_time(std::uint64_t most) {
    return {"get of many in time",
            [this, most](ThreadContext& me) { return get_many_word(me, most, Deadline::after(kShortWait)); },
            kShortWaitAtMost};
  }
  Operation peek_and_take_many(std::uint64_t most) {
    struct Seen {
      Status status = Status::kOk;
      shm::CopiedItems items;
    };
    const auto seen = std::make_shared<Seen>();
    return {"look at many, then take them",
            {[this, seen, most](ThreadContext& me) {
               seen->status = queue.peek_many(me, most, seen->items, Deadline::never());
               std::string text = word_of(seen->status);
               for (std::uint64_t i = 0; i < seen->items.count(); ++i)
                 text += fmt::format("|{}", brief(seen->items.bytes(i)));
               return text;
             },
             [this, seen](ThreadContext& me) {
               if (seen->status != Status::kOk) return std::string("-");
               std::uint64_t count = seen->items.count();
               const Status status = queue.take_seen(me, seen->items.numbers, count);
               return fmt::format("{} {}", word_of(status), status == Status::kOk ? count : 0);
             }}};
  }
  // Of items of one size.
  Operation put_fixed(const std::vector<std::string>& items) requires kIsRing {
    return {"put of a run", [this, items](ThreadContext& me) {
              std::string run;
              for (const std::string& item : items) run += sized(item, item_bytes_);
              std::uint64_t done = 0;
              const Status status = queue.put_fixed(me, run.data(), items.size(), item_bytes_, Deadline::never(), done);
              return fmt::format("{} {}", word_of(status), done);
            }};
  }
  Operation get_fixed() {
    return {"get of a fixed size", [this](ThreadContext& me) {
              std::string item(item_bytes_, '\0');
              Status status;
              if constexpr (kIsRing) {
                status = queue.get_fixed(me, item.data(), item_bytes_, Deadline::never());
              } else {
                status = queue.get_fixed(me, item.data(), item_bytes_, nullptr, Deadline::never());
              }
              return result_of(status, item);
            }};
  }
  Operation get_many_fixed(std::uint64_t most) {
    return {"get of a run", [this, most](ThreadContext& me) {
              std::string run(item_bytes_ * most, '\0');
              std::uint64_t count = 0;
              const Status status =
                  queue.get_many_fixed(me, run.data(), item_bytes_, most, item_bytes_, Deadline::never(), count);
              return fmt::format("{} {}", word_of(status), shown(run.substr(0, count * item_bytes_)));
            }};
  }

  // ---- what is done, and the end

  Operation size() {
    return {"size", [this](ThreadContext&) { return std::to_string(queue.size()); }, 0};
  }
  Operation unfinished() {
    return {"unfinished", [this](ThreadContext&) { return std::to_string(queue.unfinished()); }, 0};
  }
  Operation full() {
    return {"full", [this](ThreadContext&) { return std::string(queue.full() ? "full" : "room"); }, 0};
  }
  Operation task_done() {
    return {"task done", [this](ThreadContext& me) { return word_of(queue.task_done(me)); }};
  }
  Operation get_and_done() {
    return {"get, then task done",
            {[this](ThreadContext& me) { return get_word(me, Deadline::never()); },
             [this](ThreadContext& me) { return word_of(queue.task_done(me)); }}};
  }
  Operation join() {
    return {"join", [this](ThreadContext& me) { return word_of(queue.join(me, Deadline::never())); }};
  }
  Operation join_in_time() {
    return {"join in time", [this](ThreadContext& me) { return word_of(queue.join(me, Deadline::after(kShortWait))); },
            kShortWaitAtMost};
  }
  Operation shut_down(bool now) {
    return {now ? "shut down now" : "shut down",
            [this, now](ThreadContext& me) { return word_of(queue.shut_down(me, now)); }};
  }

  KillStage stage;

 private:
  Status put_now(ThreadContext& me, const std::string& item, Deadline deadline) const {
    const std::string padded = sized(item, item_bytes_);
    if constexpr (kIsRing) {
      return queue.put(me, text(padded), deadline);
    } else {
      return queue.put(me, text(padded), item.size(), deadline);  // by priority: the shortest first
    }
  }
  Status get_now(ThreadContext& me, std::string& item, Deadline deadline) const {
    if constexpr (kIsRing) {
      return queue.get(me, item, deadline);
    } else {
      return queue.get(me, item, nullptr, deadline);
    }
  }
  std::string get_word(ThreadContext& me, Deadline deadline) const {
    std::string item;
    const Status status = get_now(me, item, deadline);
    return result_of(status, item);
  }
  std::string get_many_word(ThreadContext& me, std::uint64_t most, Deadline deadline) const {
    std::vector<std::string> items;
    std::string seen = word_of(queue.get_many(me, most, items, deadline));
    for (const std::string& item : items) seen += fmt::format("|{}", brief(item));
    return seen;
  }

  std::uint64_t item_bytes_;

 public:
  shm::ObjectAddress where;
  Queue queue;
};

}  // namespace commonhold::test
