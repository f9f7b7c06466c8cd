// One operation interrupted at each of its accesses to shared memory, at all of them or at the last ones, by another: for
// faults that show at one instruction, which a selection that is drawn misses.
#pragma once

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "interleave/pair_fixture.h"
#include "support/soaking.h"

namespace commonhold::test {

inline constexpr std::size_t kAllAccesses = std::numeric_limits<std::size_t>::max();

// What becomes of the one that is interrupted: it goes on after the other, or stays stopped for long, so that the other
// does what it does after a time; it dies after the other, or before it.
enum class Interrupted : std::uint8_t { kGoesOn, kStaysLong, kDies, kDiesFirst };

struct EachAccess {
  std::string name;
  Operation interrupted, other;
  Observation observation;
  std::vector<Interrupted> ends{Interrupted::kGoesOn};
  std::size_t last = kAllAccesses;  // so many of its last accesses
  // Of more than these, as a copy of a large value has them, some are left out.
  std::size_t most = soaking() ? 1'000 : 100;
};

// The switch points of a trace: of a long row of accesses by one instruction, as of a loop over a table, the ends and
// the middle; of more than `most` then the first and the last ones and a few between.
inline std::vector<std::size_t> accesses_of(const KillTrace& trace, std::size_t most) {
  constexpr std::size_t kLongRow = 16;
  const std::vector<std::size_t> all = trace.switch_points();
  const auto rip = [&](std::size_t i) { return all[i] < trace.size() ? trace.rip(all[i]) : 0; };
  std::vector<std::size_t> points, kept;
  for (std::size_t i = 0, end = 0; i < all.size(); i = end) {
    for (end = i + 1; end < all.size() && rip(end) == rip(i);) ++end;
    for (std::size_t one = i; one < end; ++one) {
      if (end - i < kLongRow || one == i || one == i + (end - i) / 2 || one + 1 == end) points.push_back(all[one]);
    }
  }
  if (points.size() <= most) return points;
  const std::size_t first = most * 6 / 10, between = most / 10, last = most - first - between;
  const std::size_t step = std::max<std::size_t>((points.size() - first - last) / between, 1);
  for (std::size_t i = 0; i < points.size(); ++i) {
    const bool is_between = i >= first && i + last < points.size();
    if (!is_between || (i - first) % step == 0) kept.push_back(points[i]);
  }
  return kept;
}

// What explore(exploration) runs of these operations, or the schedule of them that is to be replayed. REQUIRES: the stage
// is saved.
template <typename Explore>
void explore_schedules(KillStage& stage, const std::string& name, const std::vector<Operation>& operations,
                       const Observation& observation, PairTotals& totals, Explore&& explore) {
  constexpr std::size_t kMostFailures = 3;
  if (is_skipped(name)) return;
  Exploration exploration(stage, name, operations, observation, Catch::rngSeed(), kMostFailures);
  ExplorationReport report;
  if (wanted_replay() != nullptr) {
    report = exploration.replay(wanted_replay()->schedule);
  } else {
    explore(exploration);
    report = exploration.finish();
  }
  totals.add(report);
  INFO(report.line());
  CHECK(report.ok());
}

// REQUIRES: the stage is saved.
inline void explore_each_access(KillStage& stage, const EachAccess& plan, PairTotals& totals) {
  using Kind = Step::Kind;
  const auto interrupt = [&](Exploration& exploration) {
    const std::vector<std::size_t> points = accesses_of(exploration.actors().trace(0), plan.most);
    for (std::size_t i = points.size() - std::min(points.size(), plan.last); i < points.size(); ++i) {
      const Step to{0, Kind::kTo, points[i]}, on{0, Kind::kOn}, time{0, Kind::kTime}, dies{0, Kind::kKill},
          other{1, Kind::kOn};
      for (const Interrupted end : plan.ends) {
        if (!exploration.goes_on()) break;
        if (end == Interrupted::kGoesOn) (void)exploration.run({to, other, on});
        if (end == Interrupted::kStaysLong) (void)exploration.run({to, other, time, on});
        if (end == Interrupted::kDies) (void)exploration.run({to, other, dies});
        if (end == Interrupted::kDiesFirst) (void)exploration.run({to, dies, other});
      }
    }
  };
  explore_schedules(stage, plan.name + ": " + plan.interrupted.name + " / " + plan.other.name,
                    {plan.interrupted, plan.other}, plan.observation, totals, interrupt);
}

}  // namespace commonhold::test
