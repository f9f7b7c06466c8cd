// Each two operations of a list, one interrupted anywhere by the other.
#include "interleave/list_pair_fixture.h"
#include "shm/heap.h"
#include "shm/list_tree.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

constexpr std::uint64_t kAll = ListPairs::kAll, kLast = ListPairs::kLast;
constexpr std::uint64_t kLeaf = shm::kLeafCells, kInner = shm::kInnerPairs * shm::kLeafCells;

}  // namespace

TEST_CASE("two operations of a list, one of them interrupted anywhere, are done one after the other") {
  constexpr std::size_t kSomePairs = 12;
  for (const bool boxed : {false, true}) {
    ListPairs pairs(boxed, 3);
    const std::string first = pairs.element(0), new1 = pairs.element(100), new2 = pairs.element(101);
    std::vector<Operation> operations{
        pairs.push_back(new1),
        pairs.push_front(new1),
        pairs.pop_back(),
        pairs.pop_front(),
        pairs.set(1, new1),
        pairs.insert(1, new1),
        pairs.erase(0),
        pairs.reverse(),
        pairs.clear(),
        pairs.get(1),
        pairs.size(),
        pairs.copy(0, kAll),
        pairs.extend({new1, new2}),
    };
    explore_all_pairs(pairs.stage, boxed ? "list of texts" : "list of words", operations, pairs.observation(),
                      kSomePairs);
  }
}

TEST_CASE("slices, conditional and relative operations of a list, and others, are done one after the other") {
  constexpr std::size_t kFewPairs = 6;
  for (const bool boxed : {false, true}) {
    ListPairs pairs(boxed, 4);
    const std::string first = pairs.element(0), last = pairs.element(3), new1 = pairs.element(100),
                      new2 = pairs.element(101), new3 = pairs.element(102);
    const std::vector<Operation> these{
        pairs.replace("slice replaced", 1, 2, {new1, new2, new3}),
        pairs.replace("slice erased", 0, 2, {}),
        pairs.replace("slice inserted", 2, 0, {new1, new2}),
        pairs.replace("assign", 0, kAll, {new3, new2}),
        pairs.sort(),
        pairs.compare_exchange(1, pairs.element(1), new1),
        pairs.compare_exchange(1, new1, new2),
        pairs.add(2),
        pairs.erase_if_equal(0, first),
        pairs.pop_back_if_equal(last),
        pairs.get(kLast),
        pairs.set(kLast, new1),
        pairs.insert(kLast, new1),
        pairs.erase(kLast),
        pairs.copy(1, 2),
        pairs.give_idle_memory(),
    };
    const std::vector<Operation> others{
        pairs.push_back(new2), pairs.push_front(new2), pairs.pop_back(),          pairs.pop_front(), pairs.set(1, new2),
        pairs.insert(1, new2), pairs.erase(0),         pairs.reverse(),           pairs.clear(),     pairs.get(1),
        pairs.size(),          pairs.copy(0, kAll),    pairs.extend({new1, new2})};
    explore_pairs_with(pairs.stage, boxed ? "list of texts, slices" : "list of words, slices", these, others,
                       pairs.observation(), kFewPairs);
  }
}

TEST_CASE("operations that make and leave nodes of a long list, and others, are done one after the other") {
  constexpr std::size_t kFewPairs = 3;
  for (const bool boxed : {false, true}) {
    ListPairs pairs(boxed, 3 * kLeaf);  // its tail is full
    std::vector<std::string> many;
    for (std::uint64_t i = 0; i < kLeaf + 5; ++i) many.push_back(pairs.element(1000 + i));
    const std::string added = pairs.element(5000);
    const std::vector<Operation> these{pairs.push_back(added),
                                       pairs.push_front(added),
                                       pairs.insert(50, added),
                                       pairs.erase(50),
                                       pairs.extend(many),
                                       pairs.replace("slice of three leaves replaced", 100, 200, {added}),
                                       pairs.replace("slice becomes longer", 100, 2, many),
                                       pairs.reverse(),
                                       pairs.sort()};
    const std::vector<Operation> others{pairs.get(0),          pairs.get(150),      pairs.get(kLast),
                                        pairs.size(),          pairs.copy(0, kAll), pairs.copy(120, 20),
                                        pairs.set(150, added), pairs.pop_back(),    pairs.pop_front(),
                                        pairs.add(151),        pairs.clear(),       pairs.give_idle_memory()};
    explore_pairs_with(pairs.stage, boxed ? "long list of texts" : "long list of words", these, others,
                       pairs.observation(), kFewPairs);
  }
}

TEST_CASE("operations that make a list's tree higher or lower, and others, are done one after the other") {
  constexpr std::size_t kFewPairs = 2;
  ListPairs pairs(false, kInner + kLeaf + 1);
  std::string popped;
  const std::string added = pairs.element(50'000);
  const std::vector<Operation> others{pairs.get(5000), pairs.get(kLast), pairs.size(), pairs.copy(5000, 20),
                                      pairs.set(5000, added)};
  REQUIRE(pairs.list.pop_back(pairs.stage.me(), popped) == Status::kOk);
  explore_pairs_with(pairs.stage, "list whose tree becomes lower", {pairs.pop_back(), pairs.erase(50)}, others,
                     pairs.observation(), kFewPairs);
  REQUIRE(pairs.list.pop_back(pairs.stage.me(), popped) == Status::kOk);
  REQUIRE(pairs.list.push_back(pairs.stage.me(), pairs.item(added)) == Status::kOk);
  explore_pairs_with(pairs.stage, "list whose tree becomes higher",
                     {pairs.push_back(added), pairs.push_front(added), pairs.insert(5000, added)}, others,
                     pairs.observation(), kFewPairs);
}

TEST_CASE("a list whose boxes are used again, or move, and readers of them, do their work one after the other") {
  constexpr std::size_t kFewPairs = 3;
  for (const std::size_t bytes : {std::size_t{40}, std::size_t{3'000}}) {
    ListPairs pairs(true, 3);
    for (std::size_t i = 0; i < shm::kParkedBlocks; ++i) {
      const std::string value(bytes, static_cast<char>('a' + i));
      REQUIRE(pairs.list.set(pairs.stage.me(), 1, text(value)) == Status::kOk);
    }
    explore_pairs_with(pairs.stage, fmt::format("list whose boxes of {} bytes are used again", bytes),
                       {pairs.set(1, std::string(bytes, 'x')), pairs.set(1, std::string(bytes, 'y'))},
                       {pairs.get(1), pairs.copy(0, kAll), pairs.pop_back(), pairs.erase(1), pairs.clear(),
                        pairs.push_back(std::string(bytes, 'z')), pairs.reverse()},
                       pairs.observation(), kFewPairs);
  }
  ListPairs pairs(true, 2);
  const std::string hole(33'000, 'h'), moved(34'000, 'm'), other(40'000, 'o');
  for (const std::string* value : {&hole, &moved}) {
    REQUIRE(pairs.list.push_back(pairs.stage.me(), text(*value)) == Status::kOk);
  }
  REQUIRE(pairs.list.erase(pairs.stage.me(), 2) == Status::kOk);
  pairs.list.give_idle_memory(pairs.stage.me());
  explore_pairs_with(
      pairs.stage, "list that is compacted", {pairs.compact(), pairs.give_idle_memory()},
      {pairs.get(2), pairs.get(0), pairs.copy(0, kAll), pairs.set(2, other), pairs.erase(2), pairs.pop_back(),
       pairs.push_back(other), pairs.push_front("small"), pairs.reverse(), pairs.clear(), pairs.size()},
      pairs.observation(), kFewPairs);
}
