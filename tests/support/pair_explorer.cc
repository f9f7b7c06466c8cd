#include "support/pair_explorer.h"

#include <dlfcn.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <random>
#include <string_view>

#include "support/soaking.h"

namespace commonhold::test {

namespace {

constexpr std::size_t kMostOfRows = 1'000;
constexpr std::size_t kFewest = 4;  // schedules with a second preemption after each first one, or they are drawn unseen
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

// All, and of more than a soak goes through the long rows are thinned out.
std::vector<std::size_t> points_of(const KillTrace& trace) {
  std::vector<std::size_t> points = trace.switch_points();
  if (!soaking() || points.size() > kMostOfRows) thin_out_rows(trace, points);
  return points;
}

void interrupt_once(Exploration& exploration, const PairPlan& plan, std::mt19937_64& random) {
  for (std::size_t x : {0, 1}) {
    const Step on{x, Kind::kOn}, dies{x, Kind::kKill}, time{x, Kind::kTime}, others{1 - x, Kind::kOn};
    for (const std::size_t k : drawn_of(points_of(exploration.actors().trace(x)), plan.most_points, random)) {
      const Step to{x, Kind::kTo, k};
      if (!exploration.goes_on()) return;
      const bool minds_time = exploration.run({to, others, on}).minds_time;
      if (minds_time) (void)exploration.run({to, others, time, on});
      (void)exploration.run({to, others, dies});
      (void)exploration.run({to, dies, others});
    }
  }
}

// Whether it is of the library, or of the test; what is in others, such as malloc, says nothing of shared memory.
bool is_own_code(std::uint64_t rip) {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(rip), &info) == 0 || info.dli_fname == nullptr) return false;
  const std::string_view file(info.dli_fname);
  return file.find("/lib/") == file.npos && file.find("/lib64/") == file.npos;
}

// Between two switch points nothing happens that another process could see.
void interrupt_between(Exploration& exploration, const PairPlan& plan, std::mt19937_64& random) {
  for (std::size_t x : {0, 1}) {
    const std::vector<std::size_t> points = exploration.actors().trace(x).switch_points();
    for (std::size_t n = 0; n < plan.between && exploration.goes_on(); ++n) {
      const std::size_t k = std::uniform_int_distribution<std::size_t>(0, points.back())(random);
      const std::size_t next = *std::ranges::lower_bound(points, k);
      const std::uint64_t rip = exploration.actors().trace(x).rip(k);
      if (next == k || is_done_at_once(rip) || !is_own_code(rip)) continue;
      exploration.compare({{x, Kind::kTo, k}, {1 - x, Kind::kOn}, {x, Kind::kOn}},
                          {{x, Kind::kTo, next}, {1 - x, Kind::kOn}, {x, Kind::kOn}});
    }
  }
}

// What comes after X stopped at its instruction k.
class SecondPreemptions {
 public:
  SecondPreemptions(Exploration& exploration, std::size_t x) : exploration_(exploration), x_(x), y_(1 - x) {}

  const std::vector<Schedule>& after(std::size_t k) {
    const auto [found, fresh] = known_.try_emplace(k);
    if (fresh) find(k, found->second);
    return found->second;
  }

 private:
  void find(std::size_t k, std::vector<Schedule>& all) {
    const Step to{x_, Kind::kTo, k}, x_on{x_, Kind::kOn}, y_on{y_, Kind::kOn}, x_dies{x_, Kind::kKill},
        y_dies{y_, Kind::kKill}, y_rests{y_, Kind::kTime};
    const Outcome alone = exploration_.run({to, {y_, Kind::kAccess, effort().accesses}, x_on, y_on});
    for (std::size_t j = 1; j <= alone.accesses[y_]; ++j) {
      const Step then{y_, Kind::kAccess, j};
      all.push_back({to, then, x_on, y_on});
      if (alone.minds_time) all.push_back({to, then, x_on, y_rests, y_on});
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
      for (const std::size_t i : {1, 2, 3, 4, 6, 8, 12, 16}) {
        all.push_back({to, y_on, then, {y_, Kind::kAccess, i}, x_on, y_on});
      }
    }
  }

  Exploration& exploration_;
  std::size_t x_, y_;
  std::map<std::size_t, std::vector<Schedule>> known_;
};

void run_all(Exploration& exploration, const std::vector<Schedule>& schedules) {
  for (const Schedule& schedule : schedules) {
    if (exploration.goes_on()) (void)exploration.run(schedule);
  }
}

bool has_death(const Schedule& schedule) {
  return std::ranges::any_of(schedule, [](const Step& step) { return step.kind == Kind::kKill; });
}

void interrupt_twice(Exploration& exploration, const PairPlan& plan, std::mt19937_64& random) {
  for (std::size_t x : {0, 1}) {
    const std::vector<std::size_t> points = points_of(exploration.actors().trace(x));
    SecondPreemptions second(exploration, x);
    const std::size_t most = plan.most_twice / 2;
    const std::size_t all_known = std::max(most / kFewest, plan.all_deaths / 2 / kFewest);
    if (points.size() <= all_known) {
      std::vector<Schedule> all;
      for (const std::size_t k : points) std::ranges::copy(second.after(k), std::back_inserter(all));
      const auto deaths = std::partition(all.begin(), all.end(), [](const Schedule& one) { return !has_death(one); });
      if (static_cast<std::size_t>(all.end() - deaths) <= plan.all_deaths / 2) {
        run_all(exploration, {deaths, all.end()});
        all.erase(deaths, all.end());
      }
      run_all(exploration, drawn_of(all, most, random));
      continue;
    }
    for (std::size_t n = 0; n < most && exploration.goes_on(); ++n) {
      const auto& schedules = second.after(points[random() % points.size()]);
      if (!schedules.empty()) (void)exploration.run(schedules[random() % schedules.size()]);
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
  interrupt_between(exploration, plan, random);
  interrupt_twice(exploration, plan, random);
  return exploration.finish();
}

std::string replay_pair(KillStage& stage, const PairPlan& plan, const std::string& line) {
  Exploration exploration(stage, plan.name, {plan.first, plan.second}, plan.observation, plan.seed, plan.most_failures);
  const Schedule schedule = parse_schedule(line);
  return exploration.judge(schedule, exploration.actors().run(schedule));
}

}  // namespace commonhold::test
