// Two operations of one process, one after the other, beside one of another process that is interrupted anywhere: who has
// seen a change, or made one, sees it from then on, whichever way it is read.
#include "interleave/dict_pair_fixture.h"
#include "interleave/list_pair_fixture.h"
#include "interleave/queue_pair_fixture.h"
#include "interleave/value_pair_fixture.h"
#include "shm/dict_spread.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::PutMode;
using shm::ThreadContext;

namespace {

constexpr std::size_t kFewPairs = 4;

// Each reader before each other one.
std::vector<Operation> sequences_of(const std::vector<Operation>& readers) {
  std::vector<Operation> all;
  for (std::size_t a = 0; a < readers.size(); ++a) {
    for (std::size_t b = 0; b < readers.size(); ++b) {
      if (a != b) all.push_back(then(readers[a], readers[b]));
    }
  }
  return all;
}

std::vector<Operation> dict_sequences(DictPairs& pairs, const std::string& present, const std::string& absent) {
  std::vector<Operation> all = sequences_of(
      {pairs.get(present), pairs.contains(absent), pairs.size(), pairs.get_many({present, absent}), pairs.snapshot()});
  all.push_back(then(pairs.get(present), pairs.get(absent)));
  all.push_back(then(pairs.get(absent), pairs.get(present)));
  all.push_back(then(pairs.put(present, "own"), pairs.get(present)));
  all.push_back(then(pairs.erase(present), pairs.contains(present)));
  all.push_back(then(pairs.add("own", true), pairs.size()));
  return all;
}

void explore_dict(DictPairs& pairs, const std::string& what, const std::vector<Operation>& writers,
                  const std::string& present, const std::string& absent) {
  pairs.in_order = false;
  const std::vector<Operation> sequences = dict_sequences(pairs, present, absent);
  explore_pairs(pairs.stage, what + ", sequences", each_with(writers, sequences), pairs.observation(), kFewPairs);
}

}  // namespace

TEST_CASE("what a process has seen of a dict's change it sees from then on") {
  const std::string k0 = key_number(0), growing = key_number(1);
  {
    DictPairs pairs(2, 4);
    std::vector<Operation> writers = pairs.writers(k0, "absent");
    writers.push_back(pairs.put_many({{k0, "a"}, {"absent", ""}, {"third", "c"}}, true));
    writers.push_back(pairs.assign({{k0, "a"}, {"absent", ""}, {"third", "c"}}, true));
    explore_dict(pairs, "dict", writers, k0, "absent");
  }
  {
    DictPairs pairs(0, 8);
    pairs.control().waits = shm::kCrowdedWaits;
    explore_dict(pairs, "dict that spreads",
                 {pairs.put("absent", "spreads"), pairs.put_many({{"absent", "many"}, {k0, ""}}, true)}, k0, "absent");
  }
  {
    const std::size_t count = keys_before([](const DictShape& before, const DictShape& after) {
      return before.root == after.root && before.tables() < after.tables();
    });
    DictPairs pairs(1, count);
    const std::string splitting = key_number(count);
    explore_dict(pairs, "dict that splits a table",
                 {pairs.put(splitting, "splits"), pairs.put_many({{splitting, "many"}, {k0, ""}})}, k0, splitting);
  }
}

TEST_CASE("what a process has seen of a list's change it sees from then on") {
  for (const bool boxed : {false, true}) {
    ListPairs pairs(boxed, 4);
    const std::string new1 = pairs.element(100), new2 = pairs.element(101);
    const std::vector<Operation> writers{pairs.push_back(new1), pairs.push_front(new1),
                                         pairs.pop_back(),      pairs.pop_front(),
                                         pairs.set(1, new1),    pairs.insert(1, new1),
                                         pairs.reverse(),       pairs.extend({new1, new2}),
                                         pairs.clear(),         pairs.replace("slice replaced", 1, 2, {new2})};
    std::vector<Operation> readers =
        sequences_of({pairs.get(1), pairs.get(ListPairs::kLast), pairs.size(), pairs.copy(0, ListPairs::kAll)});
    readers.push_back(then(pairs.push_back(new2), pairs.get(ListPairs::kLast)));
    readers.push_back(then(pairs.set(1, new2), pairs.copy(1, 2)));
    explore_pairs(pairs.stage, fmt::format("list of {}, sequences", boxed ? "texts" : "words"),
                  each_with(writers, readers), pairs.observation(), kFewPairs);
  }
}

TEST_CASE("what a process has seen of a value's change it sees from then on") {
  using Large = Words<3>;
  KillStage stage;
  const auto value = proxy_of<Value<Large>, shm::Value>(
      stage.segment, stage.segment.make({shm::ObjectKind::kValue, "", "value", {sizeof(Large)}}));
  const Operation load{"load", [&](ThreadContext&) { return printed(value.load()); }, kReaderWaits};
  const Operation store{"store", [&](ThreadContext&) {
                          value.store(Large::all(1));
                          return std::string("stored");
                        }};
  const Operation exchange{"exchange", [&](ThreadContext&) { return printed(value.exchange(Large::all(2))); }};
  explore_pairs_with(stage, "value, sequences", {store, exchange},
                     {then(load, load), then(load, exchange), then(exchange, load)},
                     {[&] { return printed(value.load()); }, [] { return std::string(); }}, kFewPairs);
}

TEST_CASE("what a process has seen of an array's change it sees from then on") {
  KillStage stage;
  constexpr std::int64_t kCount = 6;
  const auto array = proxy_of<Array<std::int64_t>, shm::Array>(
      stage.segment, stage.segment.make({shm::ObjectKind::kArray, "", "array", {kCount, 8}}));
  const auto read = [&](std::ptrdiff_t first, std::ptrdiff_t last) {
    std::string seen;
    for (const std::int64_t element : array.slice(first, last)) seen += printed(element) + " ";
    return seen;
  };
  const auto load = [&](std::ptrdiff_t index) {
    return Operation{fmt::format("load {}", index),
                     [&array, index](ThreadContext&) { return printed(array.at(index)); }, kReaderWaits};
  };
  const auto set = [&](std::ptrdiff_t index, std::int64_t value) {
    return Operation{fmt::format("set {}", index), [&array, index, value](ThreadContext&) {
                       array.set(index, value);
                       return std::string("set");
                     }};
  };
  const Operation slice{"slice", [&](ThreadContext&) { return read(0, kCount); }, kReaderWaits};
  const Operation add{"add", [&](ThreadContext&) { return printed(array.fetch_add(2, 10)); }};
  const Operation fill{"fill", [&](ThreadContext&) {
                         array.fill(7);
                         return std::string("filled");
                       }};
  const Operation write{"write", [&](ThreadContext&) {
                          array.write(1, {21, 22, 23, 24});
                          return std::string("written");
                        }};
  explore_pairs_with(
      stage, "array, sequences", {fill, write, set(2, 5), add},
      {then(load(2), load(4)), then(load(4), load(2)), then(load(2), slice), then(slice, load(4)),
       then(set(2, 3), load(2)), then(set(4, 3), slice), then(add, load(4)), then(load(4), add), then(add, slice),
       then(set(2, 3), set(4, 4)), then(load(3), set(3, 9)), then(fill, load(2)), then(add, fill)},
      {[&] { return read(0, kCount); }, [] { return std::string(); }}, kFewPairs);
}

TEST_CASE("what a process has seen of a queue's change it sees from then on") {
  const NoLookingByItself nobody_looks;
  const auto explore = [](auto& pairs, const std::string& what) {
    pairs.fill({"a", "bb"});
    // A get of many takes what is there when it looks: it asks for no more than that.
    explore_pairs_with(pairs.stage, what + ", sequences",
                       {pairs.put("new"), pairs.put_many({"many", "more"}), pairs.get(), pairs.get_many(2),
                        pairs.shut_down(true), pairs.shut_down(false)},
                       {then(pairs.size(), pairs.get_without_wait()), then(pairs.get_without_wait(), pairs.size()),
                        then(pairs.size(), pairs.size()), then(pairs.put("own"), pairs.size()),
                        then(pairs.put("own"), pairs.get_without_wait()), then(pairs.size(), pairs.put("own")),
                        then(pairs.get_without_wait(), pairs.get_without_wait())},
                       pairs.observation(), kFewPairs);
  };
  QueuePairs<shm::Queue> ring{QueueKind{}};
  explore(ring, "queue");
  QueuePairs<shm::OrderedQueue> by_priority(kByPriority);
  explore(by_priority, "queue by priority");
  QueuePairs<shm::OrderedQueue> last_first(kLastInFirstOut);
  explore(last_first, "last in first out");
  QueuePairs<shm::OrderedQueue> redelivering(kRedelivering);
  explore(redelivering, "queue that redelivers");
}
