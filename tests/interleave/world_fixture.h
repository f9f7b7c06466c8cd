// Operations of users beside what happens to a segment as a whole: recoveries, sweeps, releases of memory, a new server.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <random>

#include "interleave/pair_fixture.h"
#include "shm/lock_word.h"
#include "shm/recovery.h"
#include "support/dying_operation.h"

namespace commonhold::test {

// What is explored of it all: a selection that the seed draws, or all with COMMONHOLD_SOAK or COMMONHOLD_POINTS in the
// environment.
inline std::size_t selected(std::size_t by_default, std::size_t of_all) {
  return explores_all() ? of_all : by_default;
}
// Of a pair: places of each operation where it is interrupted once, and schedules with two preemptions.
struct Places {
  std::size_t points, twice;
};
inline Places places(Places by_default) {
  constexpr std::size_t kMost = 200;
  return explores_all() ? Places{std::min(effort().points, kMost), effort().twice} : by_default;
}

// Each of `world` with each of the operations. REQUIRES: the stage is saved.
inline void explore_beside(KillStage& stage, const std::string& what, const std::vector<Operation>& world,
                           const std::vector<Operation>& operations, const Observation& observation, PairTotals& totals,
                           Places explored) {
  for (const Operation& one : world) {
    for (const Operation& operation : operations) {
      PairPlan plan{.name = what + ": " + one.name + " / " + operation.name,
                    .first = one,
                    .second = operation,
                    .observation = observation};
      plan.seed = Catch::rngSeed();
      plan.most_points = explored.points;
      plan.most_twice = explored.twice;
      explore_and_add(stage, plan, totals);
    }
  }
}

// One call that makes these one after the other, with no pause between them.
inline Call in_turn(std::vector<Call> calls) {
  return [calls = std::move(calls)](shm::ThreadContext& me) {
    std::string results;
    for (const Call& call : calls) results += (results.empty() ? "" : ", ") + call(me);
    return results;
  };
}

inline void print_totals(const std::string& what, const PairTotals& totals) {
  print_figures(fmt::format("{}: {} pairs", what, totals.pairs), totals);
}

// What a third process was at when it died.
struct DeadProcess {
  DeadProcess(std::string name, Call call, Call enter = {}) : name(std::move(name)), call(call), enter(enter) {}
  static DeadProcess asleep(std::string name, Call call, Call enter = {}) {
    DeadProcess third(std::move(name), call, enter);
    third.sleeps = true;
    return third;
  }
  std::string name;
  Call call, enter;
  bool sleeps = false;  // it died in its sleep, else anywhere
};

inline Operation recovery_of_all() {
  return {"recovery", [](shm::ThreadContext& me) {
            (void)shm::recover_all_dead(me.segment(), me);
            return std::string("recovered");
          }};
}

// Operations beside the recovery of each of the dead, which died at a few points of what it was at. REQUIRES: the stage
// is as those who died found it.
inline void explore_beside_recovery(KillStage& stage, const std::string& what, const std::vector<DeadProcess>& thirds,
                                    std::vector<Operation> operations, const Observation& observation) {
  operations.push_back(recovery_of_all());
  operations.back().name = "another recovery";
  PairTotals totals;
  std::mt19937_64 random(Catch::rngSeed());
  const auto explore = [&](const std::string& place) {
    explore_beside(stage, what + ", died " + place, {recovery_of_all()},
                   drawn_of(operations, selected(1, operations.size()), random), observation, totals, places({4, 4}));
  };
  for (const DeadProcess& third : thirds) {
    DyingOperation dying(stage, third.call, third.enter);
    if (third.sleeps) {
      dying.die_asleep();
      explore("asleep in " + third.name);
      continue;
    }
    for (const std::size_t point : drawn_of(dying.points(), selected(1, 2), random)) {
      dying.die_before(point);
      explore(fmt::format("before instruction {} of {}", point, third.name));
    }
  }
  print_totals(what + " beside a recovery", totals);
}

}  // namespace commonhold::test
