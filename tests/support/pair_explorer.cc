#include "support/pair_explorer.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <random>

#include "support/code_location.h"

namespace commonhold::test {

namespace {

constexpr std::size_t kMostOfEvery = 5'000;
using Kind = Step::Kind;

// Of a long row of accesses by one instruction, as of a loop that copies bytes, the ends and the middle stay.
void thin_out_rows(const KillTrace& trace, std::vector<std::size_t>& points) {
  constexpr std::size_t kLongRow = 16;
  const auto rip = [&](std::size_t i) { return points[i] < trace.size() ? trace.rip(points[i]) : 0; };
  std::vector<std::size_t> kept;
  for (std::size_t i = 0, end = 0; i < points.size(); i = end) {
    for (end = i + 1; end < points.size() && rip(end) == rip(i);) ++end;
    if (end - i < kLongRow) {
      for (; i < end; ++i) kept.push_back(points[i]);
    } else {
      for (const std::size_t one : {i, i + 1, i + (end - i) / 2, end - 2, end - 1}) kept.push_back(points[one]);
    }
  }
  points = std::move(kept);
}

std::vector<std::size_t> points_of(const KillTrace& trace, const PairPlan& plan, std::mt19937_64& random) {
  std::vector<std::size_t> points;
  if (plan.every && trace.size() <= kMostOfEvery) {
    points.resize(trace.size() + 1);
    std::iota(points.begin(), points.end(), 0);
  } else {
    for (const auto& marks : {trace.accesses(), trace.syscalls()})
      points.insert(points.end(), marks.begin(), marks.end());
    points.push_back(trace.size());
    std::sort(points.begin(), points.end());
    points.erase(std::unique(points.begin(), points.end()), points.end());
    thin_out_rows(trace, points);
  }
  if (points.size() > plan.most_points) {
    std::vector<std::size_t> drawn;
    std::sample(points.begin(), points.end(), std::back_inserter(drawn), plan.most_points, random);
    points = std::move(drawn);
  }
  return points;
}

void interrupt_once(Exploration& exploration, const PairPlan& plan, std::mt19937_64& random) {
  for (std::size_t x : {0, 1}) {
    const Step on{x, Kind::kOn}, dies{x, Kind::kKill}, time{x, Kind::kTime}, others{1 - x, Kind::kOn};
    for (const std::size_t k : points_of(exploration.actors().trace(x), plan, random)) {
      const Step to{x, Kind::kTo, k};
      for (const Schedule& schedule :
           {Schedule{to, others, on}, {to, others, time, on}, {to, others, dies}, {to, dies, others}}) {
        if (exploration.goes_on()) (void)exploration.run(schedule);
      }
    }
  }
}

// What comes after X stopped at its i-th access.
class SecondPreemptions {
 public:
  SecondPreemptions(Exploration& exploration, std::size_t x) : exploration_(exploration), x_(x), y_(1 - x) {}

  const std::vector<Schedule>& after(std::size_t i) {
    const auto [found, fresh] = known_.try_emplace(i);
    if (fresh) find(i, found->second);
    return found->second;
  }

 private:
  void find(std::size_t i, std::vector<Schedule>& all) {
    const Step to{x_, Kind::kAccess, i}, x_on{x_, Kind::kOn}, y_on{y_, Kind::kOn}, x_dies{x_, Kind::kKill},
        y_dies{y_, Kind::kKill}, y_rests{y_, Kind::kTime};
    const Outcome alone = exploration_.run({to, {y_, Kind::kAccess, effort().accesses}, x_on, y_on});
    for (std::size_t j = 1; j <= alone.accesses[y_]; ++j) {
      const Step then{y_, Kind::kAccess, j};
      all.push_back({to, then, x_on, y_on});
      all.push_back({to, then, x_on, y_rests, y_on});
      all.push_back({to, then, y_dies, x_on});
      all.push_back({to, then, x_dies, y_on});
    }
    const Outcome resumed = exploration_.run({to, y_on, {x_, Kind::kAccess, effort().accesses}, y_on, x_on});
    for (std::size_t j = 1; j <= resumed.accesses[x_]; ++j) {
      const Step then{x_, Kind::kAccess, j};
      all.push_back({to, y_on, then, x_dies, y_on});
      if (!alone.slept[y_]) continue;
      all.push_back({to, y_on, then, y_on, x_on});
      all.push_back({to, y_on, then, y_dies, x_on});
    }
  }

  Exploration& exploration_;
  std::size_t x_, y_;
  std::map<std::size_t, std::vector<Schedule>> known_;
};

void interrupt_twice(Exploration& exploration, const PairPlan& plan, std::mt19937_64& random) {
  constexpr std::size_t kEndings = 4;
  std::size_t accesses[2];
  for (std::size_t x : {0, 1}) accesses[x] = exploration.run({{x, Kind::kAccess, effort().accesses}}).accesses[x];
  for (std::size_t x : {0, 1}) {
    SecondPreemptions second(exploration, x);
    if (accesses[x] == 0) continue;
    if (2 * kEndings * accesses[0] * accesses[1] <= plan.most_twice) {
      for (std::size_t i = 1; i <= accesses[x]; ++i) {
        for (const Schedule& schedule : second.after(i)) {
          if (exploration.goes_on()) (void)exploration.run(schedule);
        }
      }
    } else {
      for (std::size_t n = 0; n < plan.most_twice / 2 && exploration.goes_on(); ++n) {
        const auto& all = second.after(std::uniform_int_distribution<std::size_t>(1, accesses[x])(random));
        if (!all.empty()) (void)exploration.run(all[random() % all.size()]);
      }
    }
  }
}

}  // namespace

PairReport explore_pair(KillStage& stage, const PairPlan& plan) {
  if (is_skipped(plan.name)) return skipped_report(plan.name);
  Exploration exploration(stage, plan.name, {plan.first, plan.second}, plan.observation, plan.seed, plan.most_failures);
  if (wanted_replay() != nullptr) return exploration.replay(wanted_replay()->schedule);
  std::mt19937_64 random(plan.seed);
  interrupt_once(exploration, plan, random);
  interrupt_twice(exploration, plan, random);
  return exploration.finish();
}

std::string replay_pair(KillStage& stage, const PairPlan& plan, const std::string& line) {
  Exploration exploration(stage, plan.name, {plan.first, plan.second}, plan.observation, plan.seed, plan.most_failures);
  const Schedule schedule = parse_schedule(line);
  return exploration.judge(schedule, exploration.actors().run(schedule));
}

}  // namespace commonhold::test
