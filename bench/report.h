// What was measured, as a table for people and as JSON for programs.
#pragma once

#include <string>
#include <vector>

#include "bench/row.h"

namespace commonhold::bench {

// The figures of one contender: one per round, and all of them where a round gives many (latencies).
struct Figures {
  std::string name, error;
  std::vector<double> rounds, all;
};

struct RowResult {
  const Row* row = nullptr;
  Figures ours;
  std::vector<Figures> beside;
};

struct RunFacts {
  std::string machine, compiler;
  int cores = 0, rounds = 0;
  double seconds = 0, load_before = 0, load_after = 0;
};

double median(std::vector<double> values);
double quantile(std::vector<double> values, double share);

// The ratio ours : theirs of each round that both have.
std::vector<double> ratios(const Figures& ours, const Figures& theirs);

std::string table(const std::vector<RowResult>& results, const RunFacts& facts);
std::string json(const std::vector<RowResult>& results, const RunFacts& facts);

}  // namespace commonhold::bench
