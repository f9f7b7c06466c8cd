// Each two operations of every kind of queue, waiting ones too, one interrupted anywhere by the other.
#include "interleave/pair_fixture.h"
#include "interleave/waits.h"
#include "shm/any_queue.h"
#include "support/queue_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::Status;
using shm::ThreadContext;

namespace {

constexpr std::size_t kSomePairs = 6;

template <typename Result>
std::string got(Status status, const Result& item) {
  return word_of(status) + (status == Status::kOk ? " " + shown(item) : "");
}

// What both kinds have, at a queue with `filled` items and room for two.
template <typename Queue, typename Put>
std::vector<Operation> operations_of(const Queue& queue, Put put) {
  const auto get = [&queue](ThreadContext& me, Deadline deadline) {
    std::string item;
    Status status;
    if constexpr (std::is_same_v<Queue, shm::Queue>) {
      status = queue.get(me, item, deadline);
    } else {
      status = queue.get(me, item, nullptr, deadline);
    }
    return got(status, item);
  };
  return {
      {"put", [=](ThreadContext& me) { return word_of(put(me, "new", Deadline::never())); }},
      {"put without a wait", [=](ThreadContext& me) { return word_of(put(me, "now", Deadline::already())); },
       kQueueWithoutWait},
      {"put in time", [=](ThreadContext& me) { return word_of(put(me, "soon", Deadline::after(kShortWait))); },
       kShortWaitAtMost},
      {"get", [=](ThreadContext& me) { return get(me, Deadline::never()); }},
      {"get without a wait", [=](ThreadContext& me) { return get(me, Deadline::already()); }, kQueueWithoutWait},
      {"get in time", [=](ThreadContext& me) { return get(me, Deadline::after(kShortWait)); }, kShortWaitAtMost},
      {"size", [&queue](ThreadContext&) { return std::to_string(queue.size()); }, kNoWait},
      {"shut down", [&queue](ThreadContext& me) { return word_of(queue.shut_down(me, false)); }},
      {"task done", [&queue](ThreadContext& me) { return word_of(queue.task_done(me)); }},
  };
}

}  // namespace

TEST_CASE("two operations of a queue, one of them interrupted anywhere, are done one after the other") {
  const NoLookingByItself nobody_looks;
  for (const int filled : {0, 2}) {
    KillStage stage;
    const shm::Queue queue(make_queue(stage.segment, 0, 2));
    const auto put = [&queue](ThreadContext& me, std::string_view item, Deadline deadline) {
      return queue.put(me, text(item), deadline);
    };
    for (int i = 0; i < filled; ++i) REQUIRE(put(stage.me(), i == 0 ? "a" : "b", Deadline::already()) == Status::kOk);
    explore_all_pairs(stage, filled == 0 ? "queue, empty" : "queue, full", operations_of(queue, put),
                      {[&] { return state_of(queue); }, [&] { return what_is_wrong(stage.segment, queue); }},
                      kSomePairs);
  }
}

TEST_CASE("two operations of an ordered queue, one of them interrupted anywhere, are done one after the other") {
  const NoLookingByItself nobody_looks;
  struct Kind {
    const char* name;
    shm::ObjectKind kind;
    shm::Word order, redelivers;
  };
  for (const Kind& kind : {Kind{"queue by priority", shm::ObjectKind::kPriorityQueue, 3, 0},
                           Kind{"last in first out", shm::ObjectKind::kQueue, 2, 0},
                           Kind{"queue that redelivers", shm::ObjectKind::kQueue, 0, 1}}) {
    for (const int filled : {0, 2}) {
      KillStage stage;
      const shm::OrderedQueue queue(stage.segment.make({kind.kind, "", "queue", {0, 2, kind.order, kind.redelivers}}));
      const auto put = [&queue](ThreadContext& me, std::string_view item, Deadline deadline) {
        return queue.put(me, text(item), item.size(), deadline);
      };
      for (int i = 0; i < filled; ++i) {
        REQUIRE(put(stage.me(), i == 0 ? "a" : "bb", Deadline::already()) == Status::kOk);
      }
      explore_all_pairs(stage, fmt::format("{}, {}", kind.name, filled == 0 ? "empty" : "full"),
                        operations_of(queue, put),
                        {[&] {
                           return fmt::format("{} unfinished {} ended {}", queue.size(), queue.unfinished(),
                                              static_cast<int>(queue.ended()));
                         },
                         [&] { return queue.audit(stage.me()).error; }},
                        kSomePairs);
    }
  }
}
