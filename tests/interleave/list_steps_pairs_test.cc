// A reader of a list beside several changes of one writer: what it looked at first is gone, and in its place stands
// something of the same look: a leaf under another root, as many elements at the end, a box in the same memory.
#include "interleave/each_access.h"
#include "interleave/list_pair_fixture.h"
#include "interleave/world_fixture.h"
#include "shm/list_tree.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

constexpr std::uint64_t kAll = ListPairs::kAll, kLast = ListPairs::kLast, kLeaf = shm::kLeafCells;

Operation all_of(const std::vector<Operation>& operations) {
  Operation all = operations.front();
  for (std::size_t i = 1; i < operations.size(); ++i) all = then(all, operations[i]);
  return all;
}

}  // namespace

// The leaves that a change does not copy are in the old tree and in the new one: there, an element is at another index.
TEST_CASE("a reader that is in a leaf of the tree before sees no element that came there at another index") {
  ListPairs pairs(false, 3 * kLeaf);
  pairs.stage.save();
  const std::string value = pairs.element(5000);
  PairTotals totals;
  const Observation observation = pairs.observation();
  const auto explore = [&](const Operation& read, std::uint64_t index) {
    explore_each_access(
        pairs.stage,
        {"list with a leaf in two trees", read, then(pairs.erase(50), pairs.set(index, value)), observation}, totals);
  };
  explore(pairs.get(200), 199);
  explore(pairs.copy(200, 3), 199);
  explore(pairs.get(300), 299);  // of the tail
  print_totals("leaves in two trees", totals);
}

TEST_CASE("a reader of the last element beside two changes there sees what was the last one at a moment") {
  for (const bool boxed : {false, true}) {
    ListPairs pairs(boxed, 3);
    pairs.stage.save();
    const std::string value = pairs.element(100), other = pairs.element(101);
    PairTotals totals;
    const std::string what =
        boxed ? "list of texts, changed twice at its end" : "list of words, changed twice at its end";
    explore_each_access(
        pairs.stage, {what, pairs.get(kLast), then(pairs.push_back(value), pairs.set(2, other)), pairs.observation()},
        totals);
    // A cell that is stored is no element before the end is moved.
    explore_beside(pairs.stage, what, {then(pairs.pop_back(), pairs.push_back(value))},
                   {then(pairs.get(2), pairs.size())}, pairs.observation(), totals, places({8, 40}));
    print_totals(what, totals);
  }
}

TEST_CASE("a reader whose box is used again while it copies sees one value or the other") {
  PairTotals totals;
  const auto explore = [&](ListPairs& pairs, const std::string& what, const Operation& change) {
    pairs.stage.save();
    for (const Operation& read : {pairs.get(1), pairs.copy(0, kAll)}) {
      explore_each_access(pairs.stage, {what, read, change, pairs.observation()}, totals);
    }
  };
  ListPairs pairs(true, 3);
  const std::string old(40, 'o'), value(40, 'x');
  REQUIRE(pairs.list.set(pairs.stage.me(), 1, text(old)) == Status::kOk);
  pairs.list.give_idle_memory(pairs.stage.me());  // nothing is parked now
  std::vector<Operation> sets(shm::kParkedBlocks + 2, pairs.set(1, value));
  explore(pairs, "list whose box comes first into a park", all_of(sets));
  ListPairs large(true, 3);
  const std::string large_old(3'000, 'o'), large_value(3'000, 'x'), large_other(3'000, 'y');
  REQUIRE(large.list.set(large.stage.me(), 1, text(large_old)) == Status::kOk);
  explore(large, "list whose free chunk is taken again",
          all_of({large.set(1, large_value), large.give_idle_memory(), large.set(1, large_other)}));
  print_totals("boxes that are used again", totals);
}

// Between the moment when a box is free and the raise of the recycle counter nobody may be in the box.
TEST_CASE("a reader of a box that becomes free while it looks at the box does not take it for one that was written") {
  constexpr std::size_t kReader = 0, kWriter = 1, kBetween = 12;
  using Kind = Step::Kind;
  ListPairs pairs(true, 3);
  const std::string old(40, 'o'), value(40, 'x');
  pairs.list.give_idle_memory(pairs.stage.me());  // nothing is parked now
  for (std::size_t i = 0; i + 1 < shm::kParkedBlocks; ++i) {
    REQUIRE(pairs.list.set(pairs.stage.me(), 1, text(old)) == Status::kOk);
  }
  pairs.stage.save();
  const Observation observation = pairs.observation();
  const std::vector<Operation> operations{pairs.get(1), then(pairs.set(1, value), pairs.set(1, value))};
  Actors actors(pairs.stage, operations, observation);
  std::size_t schedules = 0;
  const auto run = [&](std::size_t reader, std::size_t writer) {
    const Schedule schedule{{kReader, Kind::kTo, reader}, {kWriter, Kind::kAccess, writer}, {kReader}, {kWriter}};
    const Outcome outcome = actors.run(schedule);
    INFO(to_string(schedule));
    CHECK(outcome.wrong.empty());
    CHECK((outcome.results[kReader] == old || outcome.results[kReader] == value));
    ++schedules;
    return outcome.accesses[kWriter];
  };
  for (const std::size_t reader : accesses_of(actors.trace(kReader), kAllAccesses)) {
    const std::size_t all = run(reader, 1'000);
    for (std::size_t writer = all / 2; writer < all; writer += kBetween) (void)run(reader, writer);
  }
  std::cout << fmt::format("{} schedules\n", schedules) << std::flush;
}

// A death between the store that others see and the one that tells who sorts would lose what was seen.
TEST_CASE("who sorts a list does not undo a change that it has seen, though the one who made it died") {
  using Kind = Step::Kind;
  constexpr std::size_t kSorter = 0, kDead = 1;
  ListPairs pairs(false, 3 * kLeaf);
  pairs.stage.save();
  Operation sort = pairs.sort();
  sort.name = "sort with a look between";
  sort.calls.insert(sort.calls.begin() + 1, pairs.size().calls.front());
  for (const Operation& change : {pairs.erase(50), pairs.push_front(pairs.element(1)), pairs.push_back("2")}) {
    Observation observation = pairs.observation();
    // Told of a change that was about to be made: who sorts begins anew for nothing.
    observation.permits = [as_before = observation.contents()](const Outcome& outcome) {
      return outcome.results[kSorter].ends_with("mismatch") && outcome.contents == as_before;
    };
    Exploration exploration(pairs.stage, "list: " + sort.name + " / " + change.name, {sort, change}, observation,
                            Catch::rngSeed(), 3);
    for (const std::size_t point : accesses_of(exploration.actors().trace(kDead), kAllAccesses)) {
      if (!exploration.goes_on()) break;
      (void)exploration.run({{kSorter, Kind::kCall}, {kDead, Kind::kTo, point}, {kDead, Kind::kKill}, {kSorter}});
    }
    const ExplorationReport report = exploration.finish();
    INFO(report.line());
    CHECK(report.ok());
  }
}
