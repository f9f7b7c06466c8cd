// An object for pairs of operations, and all pairs of a list of them.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <iostream>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/explored_before.h"
#include "support/pair_explorer.h"
#include "support/shown.h"
#include "support/soaking.h"

namespace commonhold::test {

// A reader that is disturbed tries for a lock for some milliseconds at most.
inline constexpr std::int64_t kReaderWaits = 20'000'000;

// One after the other, between which others may come: what a process sees in the first it must not see undone in the
// second.
inline Operation then(Operation first, const Operation& second) {
  first.name += ", then " + second.name;
  first.calls.insert(first.calls.end(), second.calls.begin(), second.calls.end());
  const bool waits = first.waits_at_most == kNoDeadline || second.waits_at_most == kNoDeadline;
  first.waits_at_most = waits ? kNoDeadline : first.waits_at_most + second.waits_at_most;
  return first;
}

// Of a long value its length, and whether all of it is one letter: half of one value and half of another is not.
inline std::string brief(std::string_view value) {
  if (value.size() <= 64) return shown(value);
  const bool whole = value.find_first_not_of(value[0]) == std::string_view::npos;
  return fmt::format("{} times {}", value.size(), whole ? shown(value.substr(0, 1)) : "several letters");
}

inline std::string result_of(shm::Status status, std::string_view value) {
  return status == shm::Status::kOk ? fmt::format("ok {}", brief(value)) : word_of(status);
}

struct PairTotals {
  std::size_t pairs = 0, schedules = 0, deaths = 0;
  double seconds = 0;
  // Of one pair: a report, or what a former run found.
  template <typename Explored>
  void add(const Explored& pair) {
    ++pairs;
    schedules += pair.schedules;
    deaths += pair.deaths;
    seconds += pair.seconds;
  }
};

// Explores the pair and checks what was found.
inline void explore_and_add(KillStage& stage, const PairPlan& plan, PairTotals& totals) {
  if (const auto before = explored_before(plan.name)) return totals.add(*before);
  const PairReport report = explore_pair(stage, plan);
  if (soaking()) std::cerr << report.line() << '\n';
  totals.add(report);
  INFO(report.line());
  CHECK(report.ok());
}

// One line of figures, which tests/interleave/reliability_page.py reads.
inline void print_figures(const std::string& what, const PairTotals& totals) {
  if (wanted_replay() != nullptr) return;
  std::cout << fmt::format("{}, {} schedules, {} deaths, {:.1f} s\n", what, totals.schedules, totals.deaths,
                           totals.seconds)
            << std::flush;
}

// Everything with COMMONHOLD_SOAK or COMMONHOLD_POINTS in the environment.
inline constexpr std::size_t kAllPairs = std::numeric_limits<std::size_t>::max();

using OperationPairs = std::vector<std::pair<const Operation*, const Operation*>>;

// Of more than `most_pairs` a selection, drawn with the seed. REQUIRES: the stage is as each run is to find it.
inline PairTotals explore_pairs(KillStage& stage, const std::string& what, OperationPairs pairs,
                                const Observation& observation, std::size_t most_pairs) {
  stage.save();
  const std::size_t all = pairs.size();
  std::set<const Operation*> operations;
  for (const auto& [first, second] : pairs) operations.insert({first, second});
  if (all > most_pairs && !explores_all()) {
    std::mt19937_64 random(Catch::rngSeed() + std::hash<std::string>()(what));
    std::shuffle(pairs.begin(), pairs.end(), random);
    pairs.resize(most_pairs);
  }
  PairTotals totals;
  for (const auto& [first, second] : pairs) {
    PairPlan plan{.name = what + ": " + first->name + " / " + second->name,
                  .first = *first,
                  .second = *second,
                  .observation = observation};
    plan.seed = Catch::rngSeed();
    explore_and_add(stage, plan, totals);
  }
  print_figures(fmt::format("{}: {} operations, {} of {} pairs", what, operations.size(), totals.pairs, all), totals);
  return totals;
}

// Each operation of `these` with each of `others`.
inline OperationPairs each_with(const std::vector<Operation>& these, const std::vector<Operation>& others) {
  OperationPairs pairs;
  for (const Operation& one : these) {
    for (const Operation& other : others) pairs.emplace_back(&one, &other);
  }
  return pairs;
}

// Each operation of `these` with each of them, itself included, and with each of `others`.
inline PairTotals explore_pairs_with(KillStage& stage, const std::string& what, const std::vector<Operation>& these,
                                     const std::vector<Operation>& others, const Observation& observation,
                                     std::size_t most_pairs = kAllPairs) {
  OperationPairs pairs = each_with(these, others);
  for (std::size_t a = 0; a < these.size(); ++a) {
    for (std::size_t b = a; b < these.size(); ++b) pairs.emplace_back(&these[a], &these[b]);
  }
  return explore_pairs(stage, what, std::move(pairs), observation, most_pairs);
}

// Each operation with each, itself included. REQUIRES: the stage is as each run is to find it.
inline PairTotals explore_all_pairs(KillStage& stage, const std::string& what, const std::vector<Operation>& operations,
                                    const Observation& observation, std::size_t most_pairs = kAllPairs) {
  return explore_pairs_with(stage, what, operations, {}, observation, most_pairs);
}

}  // namespace commonhold::test
