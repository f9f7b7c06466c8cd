// An object for pairs of operations, and all pairs of a list of them.
#pragma once

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <iostream>
#include <string>
#include <vector>

#include "support/pair_explorer.h"

namespace commonhold::test {

// A reader that is disturbed tries for a lock for some milliseconds at most.
inline constexpr std::int64_t kReaderWaits = 20'000'000;

inline std::string word_of(shm::Status status) {
  return std::string(shm::to_string(status));
}

// Bytes as people can tell them apart.
inline std::string shown(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    text += byte >= ' ' && byte <= '~' ? std::string(1, byte) : fmt::format("\\{:x}", static_cast<unsigned char>(byte));
  }
  return text;
}

struct PairTotals {
  std::size_t pairs = 0, schedules = 0, deaths = 0;
};

// Each operation with each, itself included. REQUIRES: the stage is as each run is to find it.
inline PairTotals explore_all_pairs(KillStage& stage, const std::string& what, const std::vector<Operation>& operations,
                                    const Observation& observation) {
  stage.save();
  PairTotals totals;
  for (std::size_t a = 0; a < operations.size(); ++a) {
    for (std::size_t b = a; b < operations.size(); ++b) {
      PairPlan plan{.name = what + ": " + operations[a].name + " / " + operations[b].name,
                    .first = operations[a],
                    .second = operations[b],
                    .observation = observation};
      plan.seed = Catch::rngSeed();
      const PairReport report = explore_pair(stage, plan);
      ++totals.pairs;
      totals.schedules += report.schedules;
      totals.deaths += report.deaths;
      INFO(report.line());
      CHECK(report.ok());
    }
  }
  std::cout << fmt::format("{}: {} operations, {} pairs, {} schedules, {} deaths\n", what, operations.size(),
                           totals.pairs, totals.schedules, totals.deaths)
            << std::flush;
  return totals;
}

}  // namespace commonhold::test
