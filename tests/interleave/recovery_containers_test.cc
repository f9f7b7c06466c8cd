// Operations on containers beside the recovery of a third process, which died in the middle of a change of the same
// object: whoever comes before, while or after it is recovered sees the change as a whole or not at all.
#include "interleave/waits.h"
#include "interleave/world_fixture.h"
#include "shm/any_queue.h"
#include "shm/array.h"
#include "shm/dict.h"
#include "shm/list.h"
#include "shm/value.h"
#include "support/dict_kill_stage.h"
#include "support/further_operations.h"
#include "support/list_fixture.h"
#include "support/queue_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::Status;
using shm::ThreadContext;

namespace {

std::string all_of(const shm::Dict& dict, ThreadContext& me) {
  std::vector<shm::DictEntryCopy> entries;
  std::string seen = word_of(dict.snapshot(me, entries));
  for (const auto& entry : entries) seen += fmt::format(" {}={}", entry.key(), shown(entry.value()));
  return seen + fmt::format(" ({})", dict.size());
}

std::string all_of(const shm::List& list, ThreadContext& me) {
  std::vector<std::string> values;
  std::string seen = word_of(list.snapshot(me, 0, ~std::uint64_t{0}, values));
  for (const std::string& value : values) seen += " " + shown(value);
  return seen;
}

}  // namespace

TEST_CASE("an operation of a dict beside the recovery of a dead writer finds its change whole or not at all") {
  KillStage stage;
  const auto where = stage.segment.make_dict(2);
  shm::Dict dict(where);
  fix_seed(where);
  fill(dict, stage.me(), 0, 14);  // the next new keys make a shard grow
  const std::int64_t seven = 7;
  const std::string k0 = key_number(0), k1 = key_number(1), fresh = "new";
  const Call batch = [&](ThreadContext& me) {
    const shm::DictPair pairs[] = {{text(k0), text("a")}, {text(fresh), text("b")}, {text("other"), integer(seven)}};
    return word_of(dict.put_many(me, pairs));
  };
  const Call grow = [&](ThreadContext& me) {
    for (int i = 0; i < 8; ++i) (void)dict.put(me, text("grow" + std::to_string(i)), text("g"));
    return std::string("grown");
  };
  const Call erase = [&](ThreadContext& me) { return word_of(dict.erase(me, text(k0))); };
  const Call put = [&](ThreadContext& me) { return word_of(dict.put(me, text(k0), text("larger than before"))); };
  const std::vector<DeadProcess> thirds{
      {"put over a value", put},
      {"put of many", batch},
      {"puts that make it grow", grow},
      {"erase", erase},
      {"clear", [&](ThreadContext& me) { return word_of(dict.clear(me)); }},
  };
  const std::vector<Operation> operations{
      {"put of a new key", [&](ThreadContext& me) { return word_of(dict.put(me, text(fresh), text("v"))); }},
      {"put over a value", [&](ThreadContext& me) { return word_of(dict.put(me, text(k0), text("v"))); }},
      {"get of all", [&](ThreadContext& me) { return all_of(dict, me); }, kReaderWaits},
      {"erase", erase},
      {"put of many", batch},
      {"count",
       [&](ThreadContext& me) {
         shm::Word before = 0;
         const Status status = dict.change_word(
             me, text(k1), shm::ItemKind::kInt64, [](shm::Word a, shm::Word b) { return a + b; }, 5, nullptr, &before);
         return word_of(status) + std::to_string(before);
       }},
  };
  explore_beside_recovery(stage, "dict", thirds, operations,
                          {[&] { return all_of(dict, stage.me()); }, [&] { return dict.audit(stage.me()).error; },
                           [&] { return works(dict, stage.me()); }});
}

TEST_CASE("an operation of a list beside the recovery of a dead writer finds its change whole or not at all") {
  KillStage stage;
  shm::List list(make_list(stage.segment, true));
  for (const char* value : {"a", "b", "c"}) REQUIRE(list.push_back(stage.me(), text(value)) == Status::kOk);
  const auto popped = [](Status status, const std::string& value) { return word_of(status) + shown(value); };
  const Call pop_front = [&](ThreadContext& me) {
    std::string value;
    const Status status = list.pop_front(me, value);
    return popped(status, value);
  };
  const Call pop_back = [&](ThreadContext& me) {
    std::string value;
    const Status status = list.pop_back(me, value);
    return popped(status, value);
  };
  const Call push_back = [&](ThreadContext& me) { return word_of(list.push_back(me, text("pushed"))); };
  const Call insert = [&](ThreadContext& me) { return word_of(list.insert(me, 1, text("inserted"))); };
  const Call set = [&](ThreadContext& me) { return word_of(list.set(me, 0, text("set to this"))); };
  explore_beside_recovery(
      stage, "list",
      {{"push_back", push_back}, {"pop_front", pop_front}, {"pop_back", pop_back}, {"insert", insert}, {"set", set}},
      {{"push_back", push_back},
       {"pop_front", pop_front},
       {"pop_back", pop_back},
       {"set", set},
       {"copy of all", [&](ThreadContext& me) { return all_of(list, me); }, kReaderWaits}},
      {[&] { return all_of(list, stage.me()); }, [&] { return list.audit(stage.me()).error; },
       [&] { return works(list, text("further"), stage.me()); }});
}

TEST_CASE("an operation of an array beside the recovery of a dead writer finds its change whole or not at all") {
  for (const std::size_t size : {4u, 24u}) {
    KillStage stage;
    constexpr std::uint64_t kCount = 6;
    const shm::Array array(stage.segment.make({shm::ObjectKind::kArray, "", "array", {kCount, size}}));
    const auto read = [&array, size](ThreadContext& me) {
      std::string bytes(size * kCount, '\0');
      const Status status = array.read(me, 0, kCount, bytes.data());
      return word_of(status) + " " + shown(bytes);
    };
    const std::string slice(size * kCount, 's'), one(size, 'o'), other(size, 'f');
    const Call store = [&](ThreadContext& me) { return word_of(array.store(me, 2, one.data())); };
    const Call fill = [&](ThreadContext& me) { return word_of(array.fill(me, 0, kCount, other.data())); };
    const Call write = [&](ThreadContext& me) { return word_of(array.write(me, 1, 4, slice.data())); };
    explore_beside_recovery(stage, fmt::format("array of {} bytes", size),
                            {{"fill", fill}, {"write", write}, {"store", store}},
                            {{"store", store}, {"fill", fill}, {"write", write}, {"read", read, kReaderWaits}},
                            {[&] { return read(stage.me()); }, [] { return std::string(); },
                             [&] { return works(array, kCount, size, stage.me()); }});
  }
}

TEST_CASE("an operation of a value beside the recovery of a dead writer finds its change whole or not at all") {
  KillStage stage;
  constexpr std::size_t kSize = 24;
  const shm::Value value(stage.segment.make({shm::ObjectKind::kValue, "", "value", {kSize}}));
  const Call load = [&](ThreadContext& me) {
    std::string bytes(kSize, '\0');
    const Status status = value.load(me, bytes.data());
    return word_of(status) + " " + shown(bytes);
  };
  const std::string a(kSize, 'a'), b(kSize, 'b');
  const Call store = [&](ThreadContext& me) { return word_of(value.store(me, a.data())); };
  const Call exchange = [&](ThreadContext& me) {
    std::string before(kSize, '\0');
    const Status status = value.exchange(me, b.data(), before.data());
    return word_of(status) + " " + shown(before);
  };
  explore_beside_recovery(stage, "value", {{"store", store}, {"exchange", exchange}},
                          {{"store", store}, {"exchange", exchange}, {"load", load, kReaderWaits}},
                          {[&] { return load(stage.me()); }, [] { return std::string(); },
                           [&] { return works(value, kSize, stage.me()); }});
}

TEST_CASE("an operation of a queue beside the recovery of a dead user finds each item once") {
  const NoLookingByItself nobody_looks;
  struct Kind {
    const char* name;
    shm::Word order, redelivers;
  };
  for (const Kind& kind : {Kind{"queue", 0, 0}, Kind{"queue by priority", 3, 0}, Kind{"queue that redelivers", 0, 1}}) {
    for (const int filled : {0, 1, 2}) {
      KillStage stage;
      const bool by_priority = kind.order == 3;
      const shm::AnyQueue queue(
          stage.segment.make({by_priority ? shm::ObjectKind::kPriorityQueue : shm::ObjectKind::kQueue,
                              "",
                              "queue",
                              {0, 2, kind.order, kind.redelivers}}));
      const auto put = [&queue](ThreadContext& me, std::string_view item, Deadline deadline) {
        return queue.is_ring() ? queue.ring().put(me, text(item), deadline)
                               : queue.ordered().put(me, text(item), item.size(), deadline);
      };
      const auto take = [&queue](ThreadContext& me, std::string& item, Deadline deadline) {
        return queue.is_ring() ? queue.ring().get(me, item, deadline)
                               : queue.ordered().get(me, item, nullptr, deadline);
      };
      const auto get = [&take](ThreadContext& me, Deadline deadline) {
        std::string item;
        const Status status = take(me, item, deadline);
        return word_of(status) + (status == Status::kOk ? " " + shown(item) : "");
      };
      for (int i = 0; i < filled; ++i) {
        REQUIRE(put(stage.me(), i == 0 ? "a" : "bb", Deadline::already()) == Status::kOk);
      }
      const Call waiting_put = [&](ThreadContext& me) { return word_of(put(me, "new", Deadline::never())); };
      const Call waiting_get = [&](ThreadContext& me) { return get(me, Deadline::never()); };
      std::vector<DeadProcess> thirds;
      if (filled < 2) thirds.push_back({"put", waiting_put});
      if (filled > 0) thirds.push_back({"get", waiting_get});
      if (filled == 0) thirds.push_back(DeadProcess::asleep("get", waiting_get));
      if (filled == 2) thirds.push_back(DeadProcess::asleep("put", waiting_put));
      const std::vector<Operation> operations{
          {"put", waiting_put},
          {"get", waiting_get},
          {"put without a wait", [&](ThreadContext& me) { return word_of(put(me, "now", Deadline::already())); },
           kQueueWithoutWait},
          {"get in time", [&](ThreadContext& me) { return get(me, Deadline::after(kShortWait)); }, kShortWaitAtMost},
          {"task done",
           [&](ThreadContext& me) { return queue.visit([&](const auto& one) { return word_of(one.task_done(me)); }); }},
      };
      Observation observation{
          [&] {
            return queue.visit([](const auto& one) {
              return fmt::format("{} of {} unfinished {} ended {}", fmt::join(one.items_for_test(), "|"), one.size(),
                                 one.unfinished(), static_cast<int>(one.ended()));
            });
          },
          [&] { return queue.visit([&](const auto& one) { return one.audit(stage.me()).error; }); },
          [&] {
            return queue_works([&](const std::string& item) { return put(stage.me(), item, Deadline::already()); },
                               [&](std::string& item) { return take(stage.me(), item, Deadline::already()); }, false);
          }};
      if (kind.redelivers != 0) {
        // The dead one has the first item until somebody has noticed its death; others take the next one meanwhile.
        observation.permits = [](const Outcome& outcome) {
          return outcome.results[1] == "ok bb" && outcome.contents == "a of 1 unfinished 2 ended 0";
        };
      }
      explore_beside_recovery(stage, fmt::format("{} of {}", kind.name, filled), thirds, operations, observation);
    }
  }
}
