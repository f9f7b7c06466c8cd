// Three operations of three processes: a holder, a waiter and a newcomer; a waker, a sleeper and one that times out.
//
// From each beginning (steps that lead to it: "A+ B*" is the holder with its lock, and a waiter asleep), with X, Y and Z
// the three in every order, and X interrupted before its i-th access to shared memory or system call from there:
//
//   X%i Y* Z* X*         X is held up
//   X%i Y* Z* X~ X*      X stays stopped for long
//   X%i Y* Z* X!         X dies there
//   X%i X! Y* Z*         X dies there, and the others come after the recovery
//   X%i Y%j Z* Y* X*     two are held up, and the one that was held up last goes on first
//   X%i Y%j Z* X* Y*     the other way round
//   X%i Y%j Y! Z* X*     the second dies
//   X%i Y%j X! Z* Y*     the first dies
//   X%i Y%j Z* X~ Y* X*  both stay stopped for long
//
// What is sound is the same as for pairs (pair_explorer.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "support/exploration.h"
#include "support/soaking.h"

namespace commonhold::test {

struct TriplePlan {
  std::string name;
  std::vector<Operation> operations;  // three
  Observation observation;
  std::vector<std::string> beginnings{""};
  std::size_t most_schedules = effort().of_three;  // drawn with the seed when there are more
  std::uint64_t seed = 1;
  std::size_t most_failures = 3;
};

// REQUIRES: the stage is saved.
ExplorationReport explore_triple(KillStage& stage, const TriplePlan& plan);

// One schedule, for debugging a failure. "" is well.
std::string replay_triple(KillStage& stage, const TriplePlan& plan, const std::string& schedule);

}  // namespace commonhold::test
