// Two operations of two processes, one of them interrupted anywhere by the other, with and without a death.
//
// For each instruction k of either (or each k before which shared memory is accessed or a system call made, see
// `every`), with X the one that is interrupted and Y the other:
//
//   X@k Y* X*         X is held up at k
//   X@k Y* X~ X*      X stays stopped for long: waits for it that have a deadline time out
//   X@k Y* X!         X dies there
//   X@k X! Y*         X dies there, and Y comes after the recovery
//
// A run is sound when the results and the contents are those of one of the sequential orders (a dead operation took
// effect as a whole or not at all), the audit finds nothing, no process is left asleep without a waker, and none waited
// for a stopped process longer than it may. A preemption between two accesses is the same as one before the second:
// nobody else can tell the difference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "support/actors.h"
#include "support/soaking.h"

namespace commonhold::test {

// COMMONHOLD_POINTS in the environment; 10, or without COMMONHOLD_POINTS all of them where COMMONHOLD_SOAK is set.
std::size_t points_by_default();

struct PairPlan {
  std::string name;
  Operation first, second;
  Observation observation;
  bool every = soaking();                         // instruction, of operations of up to 5,000
  std::size_t most_points = points_by_default();  // of each operation; drawn with the seed when there are more
  std::uint64_t seed = 1;
  bool deaths = true;
  std::size_t most_failures = 3;
};

struct PairReport {
  std::string name;
  std::size_t schedules = 0, deaths = 0;
  double seconds = 0;
  std::vector<std::string> failures;
  bool ok() const { return failures.empty() && schedules > 0; }
  std::string line() const;
};

// REQUIRES: the stage is saved.
PairReport explore_pair(KillStage& stage, const PairPlan& plan);

// One schedule of the pair, for who looks into a failure. "" is well.
std::string replay_pair(KillStage& stage, const PairPlan& plan, const std::string& schedule);

}  // namespace commonhold::test
