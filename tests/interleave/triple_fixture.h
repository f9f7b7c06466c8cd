// Three operations on an object: each triple by itself.
#pragma once

#include <catch2/catch.hpp>

#include "interleave/pair_fixture.h"
#include "support/triple_explorer.h"

namespace commonhold::test {

// REQUIRES: the stage is as each run is to find it.
inline void explore_and_check(KillStage& stage, TriplePlan plan) {
  stage.save();
  plan.seed = Catch::rngSeed();
  if (const auto before = explored_before(plan.name)) {
    return print_figures(plan.name + ": 1 triple", {1, before->schedules, before->deaths, before->seconds});
  }
  const ExplorationReport report = explore_triple(stage, plan);
  if (soaking()) std::cerr << report.line() << '\n';
  print_figures(plan.name + ": 1 triple", {1, report.schedules, report.deaths, report.seconds});
  INFO(report.line());
  CHECK(report.ok());
}

}  // namespace commonhold::test
