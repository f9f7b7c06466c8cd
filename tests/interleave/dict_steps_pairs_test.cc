// A reader who pins a value, interrupted at each access by what moves the value away and uses its memory again, or moves
// the whole dict.
#include "interleave/dict_pair_fixture.h"
#include "interleave/each_access.h"
#include "shm/dict_spread.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

void explore_pin(DictPairs& pairs, const std::string& what, const Operation& change, PairTotals& totals) {
  pairs.stage.save();
  explore_each_access(
      pairs.stage,
      {.name = what, .interrupted = pairs.pin("pinned"), .other = change, .observation = pairs.observation()}, totals);
}

}  // namespace

TEST_CASE("what is pinned stays as it is beside a writer that moves it, frees all that is idle and uses it again") {
  PairTotals totals;
  {
    DictPairs pairs(1);
    const std::string old(2'500, 'o'), value(2'500, 'x'), other(2'500, 'y');
    REQUIRE(pairs.dict.put(pairs.stage.me(), text("pinned"), text(old)) == Status::kOk);
    explore_pin(pairs, "dict, pin beside idle memory",
                then(then(pairs.put("pinned", value), pairs.give_idle_memory()), pairs.put("pinned", other)), totals);
  }
  {
    DictPairs pairs(1);
    const std::string hole(33'000, 'h'), moved(34'000, 'm'), other(35'000, 'o');
    REQUIRE(pairs.dict.put(pairs.stage.me(), text("hole"), text(hole)) == Status::kOk);
    REQUIRE(pairs.dict.put(pairs.stage.me(), text("pinned"), text(moved)) == Status::kOk);
    REQUIRE(pairs.dict.erase(pairs.stage.me(), text("hole")) == Status::kOk);
    pairs.dict.give_idle_memory(pairs.stage.me());
    explore_pin(pairs, "dict, pin beside compaction", then(pairs.compact(), pairs.put("large", other)), totals);
  }
  {
    DictPairs pairs(0, 8);
    REQUIRE(pairs.dict.put(pairs.stage.me(), text("pinned"), text("here")) == Status::kOk);
    pairs.control().waits = shm::kCrowdedWaits;
    explore_pin(pairs, "dict, pin beside a spread", then(pairs.put("new", "spreads"), pairs.put("pinned", "there")),
                totals);
  }
  print_figures("pins beside memory that is used again", totals);
}
