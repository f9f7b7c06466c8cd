// A watcher beside each change that it watches for, one interrupted anywhere by the other: whoever watches until it sees
// the change ends, unless there is none; and a watcher that dies costs nobody anything.
#include "interleave/watch_fixture.h"
#include "shm/any_queue.h"
#include "shm/array.h"
#include "shm/dict.h"
#include "shm/list.h"
#include "shm/value.h"
#include "support/dict_kill_stage.h"
#include "support/list_fixture.h"
#include "support/queue_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::Status;
using shm::ThreadContext;

namespace {

bool has(const shm::Dict& dict, std::string_view key) {
  return dict.contains(text(key));
}

}  // namespace

TEST_CASE("a change of a dict is not missed by a process that watches it, whichever is interrupted") {
  KillStage stage;
  const auto where = stage.segment.make_dict(2);
  shm::Dict dict(where);
  fix_seed(where);
  fill(dict, stage.me(), 0, 5);
  const std::string k0 = key_number(0), fresh = "new", longer = "longer than before";
  const std::int64_t seven = 7;
  const auto value_of = [&](const std::string& key) {
    std::vector<std::string> values;
    std::vector<bool> found;
    (void)dict.get_many(stage.me(), std::vector<shm::Item>{text(key)}, values, found);
    return !found.empty() && found[0] ? values[0] : std::string();
  };
  const std::vector<Change> of_k0{
      {"put over a value", [&](ThreadContext& me) { return word_of(dict.put(me, text(k0), text(longer))); },
       [&](ThreadContext&) { return value_of(k0) == longer; }},
      {"put in place", [&](ThreadContext& me) { return word_of(dict.put(me, text(k0), integer(seven))); },
       [&](ThreadContext&) { return value_of(k0) == std::string(reinterpret_cast<const char*>(&seven), 8); }},
      {"erase", [&](ThreadContext& me) { return word_of(dict.erase(me, text(k0))); },
       [&](ThreadContext&) { return !has(dict, k0); }},
      {"clear", [&](ThreadContext& me) { return word_of(dict.clear(me)); },
       [&](ThreadContext&) { return !has(dict, k0); }},
      {"put of many",
       [&](ThreadContext& me) {
         const shm::DictPair pairs[] = {{text(k0), text(longer)}, {text(fresh), integer(seven)}};
         return word_of(dict.put_many(me, pairs));
       },
       [&](ThreadContext&) { return value_of(k0) == longer; }},
      {"assign",
       [&](ThreadContext& me) {
         const shm::DictPair pairs[] = {{text(k0), text(longer)}};
         return word_of(dict.assign(me, pairs));
       },
       [&](ThreadContext&) { return value_of(k0) == longer; }},
  };
  std::vector<Change> of_any = of_k0;
  of_any.push_back({"put of a new key",
                    [&](ThreadContext& me) { return word_of(dict.put(me, text(fresh), text("v"))); },
                    [&](ThreadContext&) { return has(dict, fresh); }});
  of_any.push_back({"pop of the last",
                    [&](ThreadContext& me) {
                      shm::DictOrderCache cache;
                      shm::DictEntryCopy popped;
                      return word_of(dict.pop_last(me, cache, popped));
                    },
                    [&](ThreadContext&) { return dict.size() < 5; }});
  stage.save();
  const Observation observation{[&] { return fmt::format("{} {}", dict.size(), shown(value_of(k0))); },
                                [&] { return dict.audit(stage.me()).error; }};
  PairTotals totals;
  explore_watch(
      stage, "key of a dict",
      [&](ThreadContext& me, Status& status) { return shm::watch_dict_key(me, where, text(k0), status); }, of_k0,
      observation, totals, kWatchUnderLockInTime);
  explore_watch(
      stage, "dict", [&](ThreadContext& me, Status& status) { return shm::watch_dict(me, where, status); }, of_any,
      observation, totals, kWatchUnderLockInTime);
  print_totals("watches of a dict", totals);
}

TEST_CASE("a change of a list, a value or an array is not missed by a process that watches it") {
  KillStage stage;
  const auto list_at = make_list(stage.segment, true);
  const auto word_at = stage.segment.make({shm::ObjectKind::kValue, "", "value", {8}});
  const auto large_at = stage.segment.make({shm::ObjectKind::kValue, "", "value", {40}});
  const auto array_at = stage.segment.make({shm::ObjectKind::kArray, "", "array", {6, 8}});
  shm::List list(list_at);
  const shm::Value word(word_at), large(large_at);
  const shm::Array array(array_at);
  for (const char* value : {"a", "b"}) REQUIRE(list.push_back(stage.me(), text(value)) == Status::kOk);
  stage.save();
  PairTotals totals;
  std::string popped;
  const std::string bytes(40, 'n');
  explore_watch(
      stage, "list", [&](ThreadContext& me, Status& status) { return shm::watch_list(me, list_at, status); },
      {{"push_back", [&](ThreadContext& me) { return word_of(list.push_back(me, text("c"))); },
        [&](ThreadContext&) { return list.size() == 3; }},
       {"pop_front", [&](ThreadContext& me) { return word_of(list.pop_front(me, popped)); },
        [&](ThreadContext&) { return list.size() == 1; }},
       {"set", [&](ThreadContext& me) { return word_of(list.set(me, 0, text("set"))); },
        [&](ThreadContext&) { return get(list, 0) == "set"; }},
       {"clear", [&](ThreadContext& me) { return word_of(list.clear(me)); },
        [&](ThreadContext&) { return list.size() == 0; }}},
      {[&] { return fmt::format("{} {}", list.size(), get(list, 0).value_or("none")); },
       [&] { return list.audit(stage.me()).error; }},
      totals, kWatchUnderLockInTime);
  // Whoever stores to a value or an array refers to it: that is how its death is told to those who watch.
  for (const auto* value : {&word, &large}) {
    const std::size_t size = value == &word ? 8 : 40;
    const shm::ObjectAddress at = value == &word ? word_at : large_at;
    const auto load = [value, size](ThreadContext& me) {
      std::string found(size, '\0');
      (void)value->load(me, found.data());
      return found;
    };
    const auto is_stored = [=](ThreadContext& me) { return load(me) == std::string(size, 'n'); };
    explore_watch(
        stage, fmt::format("value of {} bytes", size),
        [&, at](ThreadContext& me, Status& status) {
          refer_to_object(stage.segment, at);
          return shm::watch_value(me, at, status);
        },
        {{"store",
          [&, at](ThreadContext& me) {
            refer_to_object(stage.segment, at);
            return word_of(value->store(me, bytes.data()));
          },
          is_stored},
         {"exchange",
          [&, at](ThreadContext& me) {
            refer_to_object(stage.segment, at);
            std::string before(size, '\0');
            return word_of(value->exchange(me, bytes.data(), before.data()));
          },
          is_stored}},
        {[&] { return shown(load(stage.me())); }, [] { return std::string(); }}, totals, kWatchInTime);
  }
  const auto read = [&](ThreadContext& me) {
    std::string found(6 * 8, '\0');
    (void)array.read(me, 0, 6, found.data());
    return found;
  };
  const auto starts_changed = [&](ThreadContext& me) { return read(me)[0] == 'n'; };
  explore_watch(
      stage, "array",
      [&](ThreadContext& me, Status& status) {
        refer_to_object(stage.segment, array_at);
        return shm::watch_array(me, array_at, status);
      },
      {{"store",
        [&](ThreadContext& me) {
          refer_to_object(stage.segment, array_at);
          return word_of(array.store(me, 0, bytes.data()));
        },
        starts_changed},
       {"fill",
        [&](ThreadContext& me) {
          refer_to_object(stage.segment, array_at);
          return word_of(array.fill(me, 0, 6, bytes.data()));
        },
        starts_changed}},
      {[&] { return shown(read(stage.me())); }, [] { return std::string(); }}, totals, kWatchInTime);
  print_totals("watches of a list, values and an array", totals);
}

TEST_CASE("a change of a queue is not missed by a process that watches it, whichever is interrupted") {
  const NoLookingByItself nobody_looks;
  PairTotals totals;
  for (const bool ordered : {false, true}) {
    KillStage stage;
    // Last in first out with redelivery off: the other making of a queue.
    const auto where = stage.segment.make({shm::ObjectKind::kQueue, "", "queue", {0, 2, ordered ? 2u : 0u}});
    const shm::AnyQueue queue(where);
    const auto put = [&](ThreadContext& me) {
      return word_of(queue.is_ring() ? queue.ring().put(me, text("new"), Deadline::already())
                                     : queue.ordered().put(me, text("new"), 0, Deadline::already()));
    };
    const auto take = [&](ThreadContext& me) {
      std::string item;
      return word_of(queue.is_ring() ? queue.ring().get(me, item, Deadline::already())
                                     : queue.ordered().get(me, item, nullptr, Deadline::already()));
    };
    const auto size = [&] { return queue.visit([](const auto& one) { return one.size(); }); };
    const Call end = [&](ThreadContext& me) {
      return queue.visit([&](const auto& one) { return word_of(one.shut_down(me, false)); });
    };
    const auto is_ended = [&](ThreadContext&) {
      return queue.visit([](const auto& one) { return one.ended() != shm::QueueEnd::kOpen; });
    };
    REQUIRE(put(stage.me()) == word_of(Status::kOk));
    stage.save();
    const Observation observation{
        [&] {
          return queue.visit([](const auto& one) {
            return fmt::format("{} ended {}", fmt::join(one.items_for_test(), "|"), static_cast<int>(one.ended()));
          });
        },
        [&] { return queue.visit([&](const auto& one) { return one.audit(stage.me()).error; }); }};
    const Change puts{"put", put, [&](ThreadContext&) { return size() == 2; }};
    const Change takes{"get", take, [&](ThreadContext&) { return size() == 0; }};
    const Change ends{"shut down", end, is_ended};
    using Side = shm::QueueSide;
    const auto watch = [&](Side side) {
      return [&, side](ThreadContext& me, Status& status) { return shm::watch_queue(me, where, side, status); };
    };
    const std::string what = ordered ? "ordered queue" : "queue";
    explore_watch(stage, what + ", for items", watch(Side::kItems), {puts, ends}, observation, totals, kWatchInTime);
    explore_watch(stage, what + ", for room", watch(Side::kRoom), {takes, ends}, observation, totals, kWatchInTime);
    explore_watch(stage, what + ", for both", watch(Side::kBoth), {puts, takes}, observation, totals, kWatchInTime);
  }
  print_totals("watches of queues", totals);
}
