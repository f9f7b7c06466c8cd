// Two operations of two processes, interrupted anywhere by one another, with and without a death.
//
// One preemption: for each instruction k of either before which shared memory is accessed, a system call made or the
// clock read, with X the one that is interrupted and Y the other:
//
//   X@k Y* X*         X is held up at k
//   X@k Y* X~ X*      X stays stopped for long: waits for it that have a deadline time out (where anybody has waited, or
//                     looked at the clock)
//   X@k Y* X!         X dies there
//   X@k X! Y*         X dies there, and Y comes after the recovery
//
// That is every instruction: one between two of those does nothing that another process could see, so a preemption there
// is a preemption before the second of them. It is looked at as well: of the instructions between, some are drawn, and
// what X@k Y* X* leads to there must be the same.
//
// Two preemptions: for each such k of X and then each access, system call or look at the clock j of Y:
//
//   X@k Y%j X* Y*     X goes on while Y is held up
//   X@k Y%j X* Y~ Y*  the same, and Y stays stopped for long (likewise)
//   X@k Y%j Y! X*     Y dies in the middle of what it does beside X
//   X@k Y%j X! Y*     X dies while Y is in the middle of it
//   X@k Y* X%j X! Y*  X goes on after Y, and dies then
//   X@k Y* X%j ...    where Y sleeps: X goes on, wakes it, and is interrupted again, and so may Y be; or Y dies
//
// Of these a number is drawn; in a soak those with a death are all run where there are no more than a number.
//
// A run is sound when the results and the contents are those of one of the sequential orders (a dead operation took
// effect as a whole or not at all), the audit finds nothing, no process is left asleep without a waker, and none waited
// for a stopped process longer than it may.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "support/exploration.h"

namespace commonhold::test {

struct PairPlan {
  std::string name;
  Operation first, second;
  Observation observation;
  std::size_t most_points = effort().points;  // of each operation; drawn with the seed when there are more
  std::size_t between = effort().between;     // instructions of each operation, drawn
  std::size_t most_twice = effort().twice;    // schedules with two preemptions; drawn when there are more
  std::size_t all_deaths = effort().deaths;   // with a death: all, when there are no more than this
  std::uint64_t seed = 1;
  std::size_t most_failures = 3;
};

using PairReport = ExplorationReport;

// REQUIRES: the stage is saved.
PairReport explore_pair(KillStage& stage, const PairPlan& plan);

// One schedule of the pair, for debugging a failure. "" is well.
std::string replay_pair(KillStage& stage, const PairPlan& plan, const std::string& schedule);

}  // namespace commonhold::test
