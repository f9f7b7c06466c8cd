// A change of an object and two processes that watch it, one of them for a time.
#include "interleave/list_pair_fixture.h"
#include "interleave/queue_pair_fixture.h"
#include "interleave/triple_fixture.h"
#include "interleave/value_pair_fixture.h"
#include "interleave/watch_fixture.h"
#include "shm/any_queue.h"
#include "support/dict_kill_stage.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;
using shm::ThreadContext;

namespace {

// The watchers may sleep already.
const std::vector<std::string> kAsleep{"", "B*", "B* C*"};

// The two watch while it is changed, or alone. One of these, that the seed draws, or all.
void explore_two_watchers(KillStage& stage, const std::string& what, const MakeWatch& watch, const Change& change,
                          const Observation& observation, std::int64_t waits_at_most) {
  const std::vector<Operation> watchers = watching(watch, change.is_made, waits_at_most);
  std::mt19937_64 random(Catch::rngSeed() + std::hash<std::string>()(what));
  for (const int drawn : drawn_of(std::vector{0, 1, 2}, selected(1, 3), random)) {
    if (drawn == 2) {
      explore_all_pairs(stage, what + ", two watchers", watchers, observation, 1);
    } else {
      explore_and_check(stage, {what + (drawn == 0 ? ": change, watcher, one in time" : ": change, two watchers"),
                                {change.make, watchers[0], watchers[drawn == 0 ? 1 : 0]},
                                observation,
                                kAsleep});
    }
  }
}

std::string no_audit() {
  return {};
}

}  // namespace

TEST_CASE("two who watch a dict, or a key of it, and a change of it, interrupted anywhere") {
  KillStage stage;
  const auto where = stage.segment.make_dict(2);
  shm::Dict dict(where);
  fix_seed(where);
  fill(dict, stage.me(), 0, 3);
  const std::string k0 = key_number(0);
  const Observation observation{[&] { return fmt::format("{} {}", dict.size(), dict.contains(text(k0))); },
                                [&] { return dict.audit(stage.me()).error; }};
  const Change erase{"erase", [&](ThreadContext& me) { return word_of(dict.erase(me, text(k0))); },
                     [&](ThreadContext&) { return !dict.contains(text(k0)); }};
  explore_two_watchers(
      stage, "key of a dict",
      [&](ThreadContext& me, Status& status) { return shm::watch_dict_key(me, where, text(k0), status); }, erase,
      observation, kWatchUnderLockInTime);
  explore_two_watchers(
      stage, "dict", [&](ThreadContext& me, Status& status) { return shm::watch_dict(me, where, status); }, erase,
      observation, kWatchUnderLockInTime);
}

TEST_CASE("two who watch a list and a change of it, interrupted anywhere") {
  ListPairs pairs(true, 2);
  explore_two_watchers(
      pairs.stage, "list", [&](ThreadContext& me, Status& status) { return shm::watch_list(me, pairs.where, status); },
      {pairs.push_back("new"), [&](ThreadContext&) { return pairs.list.size() == 3; }}, pairs.observation(),
      kWatchUnderLockInTime);
}

TEST_CASE("two who watch a value or an array and a change of it, interrupted anywhere") {
  KillStage stage;
  const auto word_at = stage.segment.make({shm::ObjectKind::kValue, "", "value", {8}});
  const auto large_at = stage.segment.make({shm::ObjectKind::kValue, "", "value", {sizeof(Words<3>)}});
  const auto array_at = stage.segment.make({shm::ObjectKind::kArray, "", "array", {6, 8}});
  const auto word = proxy_of<Value<std::int64_t>, shm::Value>(stage.segment, word_at);
  const auto large = proxy_of<Value<Words<3>>, shm::Value>(stage.segment, large_at);
  const auto array = proxy_of<Array<std::int64_t>, shm::Array>(stage.segment, array_at);
  const auto referring = [&](const shm::ObjectAddress& where, Call call) {
    return [&, where, call](ThreadContext& me) {
      refer_to_object(stage.segment, where);
      return call(me);
    };
  };
  const auto watching_value = [&](const shm::ObjectAddress& where) {
    return [&, where](ThreadContext& me, Status& status) {
      refer_to_object(stage.segment, where);
      return shm::watch_value(me, where, status);
    };
  };
  explore_two_watchers(stage, "value of 8 bytes", watching_value(word_at),
                       {"add", referring(word_at, [&](ThreadContext&) { return printed(word.fetch_add(3)); }),
                        [&](ThreadContext&) { return word.load() == 3; }},
                       {[&] { return printed(word.load()); }, no_audit}, kWatchInTime);
  explore_two_watchers(
      stage, "value of 24 bytes", watching_value(large_at),
      {"exchange", referring(large_at, [&](ThreadContext&) { return printed(large.exchange(Words<3>::all(3))); }),
       [&](ThreadContext&) { return printed(large.load()) == "3"; }},
      {[&] { return printed(large.load()); }, no_audit}, kWatchInTime);
  explore_two_watchers(
      stage, "array",
      [&](ThreadContext& me, Status& status) {
        refer_to_object(stage.segment, array_at);
        return shm::watch_array(me, array_at, status);
      },
      {"set",
       referring(array_at,
                 [&](ThreadContext&) {
                   array.set(2, 3);
                   return std::string("set");
                 }),
       [&](ThreadContext&) { return array.at(2) == 3; }},
      {[&] { return printed(array.at(2)); }, no_audit}, kWatchInTime);
}

TEST_CASE("two who watch a queue and a change of it, interrupted anywhere") {
  const NoLookingByItself nobody_looks;
  const auto explore = [](auto& pairs, const std::string& what) {
    pairs.fill({"a"});
    const auto watch = [&](shm::QueueSide side) {
      return [&, side](ThreadContext& me, Status& status) { return shm::watch_queue(me, pairs.where, side, status); };
    };
    explore_two_watchers(pairs.stage, what + ", for items", watch(shm::QueueSide::kItems),
                         {pairs.put("new"), [&](ThreadContext&) { return pairs.queue.size() == 2; }},
                         pairs.observation(), kWatchInTime);
    explore_two_watchers(pairs.stage, what + ", for room", watch(shm::QueueSide::kRoom),
                         {pairs.get(), [&](ThreadContext&) { return pairs.queue.size() == 0; }}, pairs.observation(),
                         kWatchInTime);
  };
  QueuePairs<shm::Queue> ring{QueueKind{}};
  explore(ring, "watched queue");
  QueuePairs<shm::OrderedQueue> ordered(kLastInFirstOut);
  explore(ordered, "watched queue, last in first out");
}
