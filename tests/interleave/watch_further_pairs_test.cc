// Further changes of containers beside a process that watches them, one interrupted anywhere by the other; and two that
// watch one object.
#include <algorithm>
#include <numeric>

#include "interleave/dict_pair_fixture.h"
#include "interleave/list_pair_fixture.h"
#include "interleave/queue_pair_fixture.h"
#include "interleave/value_pair_fixture.h"
#include "interleave/watch_fixture.h"
#include "shm/dict_spread.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;
using shm::ThreadContext;

namespace {

constexpr std::size_t kFewChanges = 2;

std::string value_of(DictPairs& pairs, ThreadContext& me, const std::string& key) {
  std::vector<std::string> values;
  std::vector<bool> found;
  (void)pairs.dict.get_many(me, std::vector<shm::Item>{text(key)}, values, found);
  return !found.empty() && found[0] ? values[0] : std::string();
}

MakeWatch watch_of(const DictPairs& pairs) {
  return [&](ThreadContext& me, Status& status) { return shm::watch_dict(me, pairs.where, status); };
}
MakeWatch watch_of(const DictPairs& pairs, const std::string& key) {
  return [&pairs, key](ThreadContext& me, Status& status) {
    return shm::watch_dict_key(me, pairs.where, text(key), status);
  };
}

}  // namespace

TEST_CASE("a change of a dict by any operation is not missed by a process that watches it") {
  PairTotals totals;
  // One that was made with several shards, and one that spreads as it is watched or changed.
  for (const bool spreads : {false, true}) {
    DictPairs pairs(spreads ? 0 : 2, 8);
    pairs.in_order = false;
    if (spreads) pairs.control().waits = shm::kCrowdedWaits;
    pairs.stage.save();
    const std::string k1 = key_number(1), fresh = "new", changed = "longer than before";
    const std::string before = value_of(pairs, pairs.stage.me(), k1);
    const IsThere differs = [&](ThreadContext& me) { return value_of(pairs, me, k1) != before; };
    const IsThere has_fresh = [&](ThreadContext&) { return pairs.dict.contains(text(fresh)); };
    const std::vector<Change> of_k1{
        {pairs.put(k1, changed), differs},
        {pairs.add(k1, false), differs},
        {pairs.add(k1, true), differs},
        {pairs.compare_exchange(k1, 1, changed), differs},
        {pairs.exchange(k1, changed), differs},
        {pairs.update(k1, changed), differs},
        {pairs.put_if(k1, changed, shm::PutMode::kReplaceOnly), differs},
        {pairs.erase_if_equal(k1, 1), differs},
        {pairs.put_many({{k1, changed}, {fresh, ""}}, true), differs},
        {pairs.assign({{k1, changed}, {fresh, ""}}, true), differs},
    };
    const std::vector<Change> of_fresh{
        {pairs.put(fresh, changed), has_fresh},
        {pairs.put_if(fresh, changed, shm::PutMode::kInsertOnly), has_fresh},
        {pairs.add(fresh, true), has_fresh},
        {pairs.exchange(fresh, changed), has_fresh},
        {pairs.put_many({{fresh, ""}, {"other", changed}}, true), has_fresh},
    };
    std::vector<Change> of_any = of_k1;
    of_any.insert(of_any.end(), of_fresh.begin(), of_fresh.end());
    of_any.push_back({pairs.pop_last_if_equal(), [&](ThreadContext&) { return pairs.dict.size() < 8; }});
    const std::string dict = spreads ? "dict that spreads" : "dict";
    explore_watch(pairs.stage, "key of a " + dict + ", changed", watch_of(pairs, k1), of_k1, pairs.observation(),
                  totals, kWatchUnderLockInTime, kFewChanges);
    explore_watch(pairs.stage, "absent key of a " + dict + ", put", watch_of(pairs, fresh), of_fresh,
                  pairs.observation(), totals, kWatchUnderLockInTime, 1);
    explore_watch(pairs.stage, dict + ", changed", watch_of(pairs), of_any, pairs.observation(), totals,
                  kWatchUnderLockInTime, kFewChanges);
  }
  print_totals("watches of a dict, all changes", totals);
}

TEST_CASE("a change of a list by any operation is not missed by a process that watches it") {
  PairTotals totals;
  for (const bool boxed : {false, true}) {
    ListPairs pairs(boxed, 5);
    pairs.stage.save();
    const std::string other = pairs.element(100), first = pairs.element(0);
    const auto size_is = [&](std::uint64_t size) {
      return [&, size](ThreadContext&) { return pairs.list.size() == size; };
    };
    const IsThere differs = [&](ThreadContext&) { return get(pairs.list, 0) != first; };
    std::vector<Change> changes{
        {pairs.push_front(other), size_is(6)},
        {pairs.push_back(other), size_is(6)},
        {pairs.pop_back(), size_is(4)},
        {pairs.insert(2, other), size_is(6)},
        {pairs.erase(1), size_is(4)},
        {pairs.erase_if_equal(0, first), size_is(4)},
        {pairs.pop_back_if_equal(pairs.element(4)), size_is(4)},
        {pairs.compare_exchange(0, first, other), differs},
        {pairs.extend({other, other}), size_is(7)},
        {pairs.replace("slice over the first", 0, 2, {other}), size_is(4)},
        {pairs.replace("slice between", 2, 0, {other, other}), size_is(7)},
        {pairs.replace("erase of a slice", 1, 3, {}), size_is(2)},
        {pairs.sort(), differs},
        {pairs.reverse(), differs},
    };
    if (!boxed) changes.emplace_back(pairs.add(0), differs);
    explore_watch(
        pairs.stage, boxed ? "list of texts, changed" : "list of words, changed",
        [&](ThreadContext& me, Status& status) { return shm::watch_list(me, pairs.where, status); }, changes,
        pairs.observation(), totals, kWatchUnderLockInTime, kFewChanges);
  }
  print_totals("watches of a list, all changes", totals);
}

namespace {

// A value, as its proxy changes it.
template <typename T>
void explore_value(PairTotals& totals) {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kValue, "", "value", {sizeof(T)}});
  const auto value = proxy_of<Value<T>, shm::Value>(stage.segment, where);
  const IsThere differs = [&](ThreadContext&) { return printed(value.load()) != "0"; };
  std::vector<Change> changes{
      {"compare and exchange",
       [&](ThreadContext&) {
         T expected = made_of<T>(0);
         return fmt::format("{}", value.compare_exchange(expected, made_of<T>(4)));
       },
       differs},
      {"exchange", [&](ThreadContext&) { return printed(value.exchange(made_of<T>(3))); }, differs}};
  if constexpr (std::is_integral_v<T>) {
    changes.emplace_back(
        "add", [&](ThreadContext&) { return printed(value.fetch_add(10)); }, differs);
  }
  for (Change& change : changes) {
    change.make.enter = [&](ThreadContext&) {
      refer_to_object(stage.segment, where);
      return std::string();
    };
  }
  stage.save();
  explore_watch(
      stage, fmt::format("value of {} bytes, changed", sizeof(T)),
      [&](ThreadContext& me, Status& status) {
        refer_to_object(stage.segment, where);
        return shm::watch_value(me, where, status);
      },
      changes, {[&] { return printed(value.load()); }, [] { return std::string(); }}, totals, kWatchInTime, 1);
}

template <typename T>
void explore_array(PairTotals& totals) {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kArray, "", "array", {6, sizeof(T)}});
  const auto array = proxy_of<Array<T>, shm::Array>(stage.segment, where);
  const auto read = [&] {
    std::string seen;
    for (const T& element : array.slice(0, 6)) seen += printed(element) + " ";
    return seen;
  };
  const IsThere differs = [&](ThreadContext&) { return printed(array.at(2)) != "0"; };
  std::vector<Change> changes{{"set",
                               [&](ThreadContext&) {
                                 array.set(2, made_of<T>(7));
                                 return std::string("set");
                               },
                               differs},
                              {"write",
                               [&](ThreadContext&) {
                                 array.write(1, {made_of<T>(30), made_of<T>(31), made_of<T>(32)});
                                 return std::string("written");
                               },
                               differs}};
  if constexpr (std::is_integral_v<T>) {
    changes.emplace_back(
        "add", [&](ThreadContext&) { return printed(array.fetch_add(2, 10)); }, differs);
    changes.emplace_back(
        "compare and exchange",
        [&](ThreadContext&) {
          T expected = 0;
          return fmt::format("{}", array.compare_exchange(2, expected, 7));
        },
        differs);
  }
  for (Change& change : changes) {
    change.make.enter = [&](ThreadContext&) {
      refer_to_object(stage.segment, where);
      return std::string();
    };
  }
  stage.save();
  explore_watch(
      stage, fmt::format("array of {} bytes, changed", sizeof(T)),
      [&](ThreadContext& me, Status& status) {
        refer_to_object(stage.segment, where);
        return shm::watch_array(me, where, status);
      },
      changes, {read, [] { return std::string(); }}, totals, kWatchInTime, 1);
}

}  // namespace

TEST_CASE("a change of a value or an array by any operation is not missed by a process that watches it") {
  PairTotals totals;
  explore_value<std::int64_t>(totals);
  explore_value<Words<3>>(totals);
  explore_array<std::int32_t>(totals);
  explore_array<std::int64_t>(totals);
  explore_array<Words<3>>(totals);
  print_totals("watches of values and arrays, all changes", totals);
}

namespace {

using Side = shm::QueueSide;

template <typename Queue>
MakeWatch watch_of(const QueuePairs<Queue>& pairs, Side side) {
  return [&pairs, side](ThreadContext& me, Status& status) { return shm::watch_queue(me, pairs.where, side, status); };
}

template <typename Queue>
void explore_queue(const QueueKind& kind, PairTotals& totals) {
  QueuePairs<Queue> pairs(kind);
  pairs.fill({"a", "bb", "ccc"});
  pairs.stage.save();
  const IsThere more = [&](ThreadContext&) { return pairs.queue.size() > 3; };
  const IsThere fewer = [&](ThreadContext&) { return pairs.queue.size() < 3; };
  const IsThere ended = [&](ThreadContext&) { return pairs.queue.ended() != shm::QueueEnd::kOpen; };
  std::vector<Change> puts{{pairs.put_many({"new", "newer"}), more}, {pairs.shut_down(true), ended}};
  std::vector<Change> takes{{pairs.get_many(2), fewer},
                            {pairs.get_many_in_time(5), fewer},
                            {pairs.peek_and_take(), fewer},
                            {pairs.peek_and_take_many(2), fewer},
                            {pairs.shut_down(true), ended}};
  if (kind.item_bytes != 0) {
    if constexpr (QueuePairs<Queue>::kIsRing) puts.emplace_back(pairs.put_fixed({"run1", "run2"}), more);
    takes.emplace_back(pairs.get_fixed(), fewer);
    takes.emplace_back(pairs.get_many_fixed(2), fewer);
  }
  const std::string name = kind.name;
  explore_watch(pairs.stage, name + ", for items, many", watch_of(pairs, Side::kItems), puts, pairs.observation(),
                totals, kWatchInTime, 1);
  explore_watch(pairs.stage, name + ", for room, many", watch_of(pairs, Side::kRoom), takes, pairs.observation(),
                totals, kWatchInTime, 1);
  puts.insert(puts.end(), takes.begin(), takes.end());
  explore_watch(pairs.stage, name + ", for both, many", watch_of(pairs, Side::kBoth), puts, pairs.observation(), totals,
                kWatchInTime, 1);
}

}  // namespace

TEST_CASE("a change of a queue by any operation is not missed by a process that watches it") {
  const NoLookingByItself nobody_looks;
  PairTotals totals;
  explore_queue<shm::Queue>(QueueKind{}, totals);
  QueueKind fixed;
  fixed.name = "queue of 8 bytes";
  fixed.item_bytes = 8;
  explore_queue<shm::Queue>(fixed, totals);
  for (const QueueKind& kind : {kByPriority, kLastInFirstOut, kRedelivering}) {
    explore_queue<shm::OrderedQueue>(kind, totals);
  }
  print_totals("watches of queues, all changes", totals);
}

// They come back by the recovery.
TEST_CASE("items that come back from a dead consumer are not missed by a process that watches the queue") {
  const NoLookingByItself nobody_looks;
  QueuePairs<shm::OrderedQueue> pairs(kRedelivering);
  pairs.fill({"a", "b"});
  pairs.stage.save();
  const Call get = pairs.get().calls.front();
  const IsThere back = [&](ThreadContext&) { return pairs.queue.size() == 2; };
  std::vector<Operation> operations = watching(watch_of(pairs, Side::kItems), back, kWatchInTime);
  for (const Operation& both : watching(watch_of(pairs, Side::kBoth), back, kWatchInTime)) operations.push_back(both);
  explore_beside_recovery(pairs.stage, "watched queue that redelivers",
                          {DeadProcess::asleep("get", get, in_turn({get, get}))}, operations, pairs.observation());
}
