// Schedules of some operations that are run and judged, and what came of it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "support/actors.h"
#include "support/orders.h"

namespace commonhold::test {

// How many schedules are run. COMMONHOLD_SOAK in the environment: all with one preemption, and all with two up to a
// number; COMMONHOLD_POINTS=N: N places an operation, and so many more of the others.
struct Effort {
  std::size_t points;    // of an operation, where it is interrupted once
  std::size_t between;   // instructions of an operation where an interruption must make no difference
  std::size_t twice;     // schedules of a pair with two preemptions
  std::size_t deaths;    // those of them with a death are all run where they are no more than this
  std::size_t of_three;  // schedules of three operations
  std::size_t accesses;  // how many of an operation's first accesses are tried as preemption points by counting
};
Effort effort();
// Of more than `most` items a selection.
template <typename Item>
std::vector<Item> drawn_of(const std::vector<Item>& items, std::size_t most, std::mt19937_64& random) {
  std::vector<Item> drawn;
  std::ranges::sample(items, std::back_inserter(drawn), static_cast<std::ptrdiff_t>(most), random);
  return drawn;
}
// Whether all is explored of what a run of seconds draws a selection of.
bool explores_all();

// COMMONHOLD_REPLAY in the environment, "NAME | SCHEDULE": that schedule alone is run, of the exploration with that name.
struct Replay {
  std::string name, schedule;
};
const Replay* wanted_replay();  // nullptr: none

struct ExplorationReport {
  std::string name;
  std::size_t schedules = 0, deaths = 0;
  double seconds = 0;
  std::uint64_t seed = 0;
  std::vector<std::string> failures;  // each begins with its schedule
  bool skipped = false;               // a schedule of something else is replayed
  bool ok() const { return failures.empty() && (schedules > 0 || skipped); }
  std::string line() const;
};

// Whether a schedule of something else is to be replayed.
inline bool is_skipped(const std::string& name) {
  return wanted_replay() != nullptr && wanted_replay()->name != name;
}
inline ExplorationReport skipped_report(const std::string& name) {
  ExplorationReport report;
  report.name = name;
  report.skipped = true;
  return report;
}

class Exploration {
 public:
  // The stage is saved as each run is to find it.
  Exploration(KillStage& stage, const std::string& name, std::vector<Operation> operations,
              const Observation& observation, std::uint64_t seed, std::size_t most_failures);

  // Runs one schedule; a failure goes into the report.
  Outcome run(const Schedule& schedule);
  // Two that must have the same outcome.
  void compare(const Schedule& one, const Schedule& other);
  // What is wrong with it, "" for nothing.
  std::string judge(const Schedule& schedule, const Outcome& outcome);
  bool goes_on() const { return report_.failures.size() < most_failures_; }
  Actors& actors() { return actors_; }
  // Runs it, says on standard output what came of it, and finishes.
  ExplorationReport replay(const std::string& schedule);
  // Puts the stage back as well.
  ExplorationReport finish();

 private:
  KillStage& stage_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::size_t most_failures_;
  ExplorationReport report_;
  Actors actors_;
  Orders orders_;
};

}  // namespace commonhold::test
