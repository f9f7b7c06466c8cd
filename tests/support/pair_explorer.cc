#include "support/pair_explorer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <numeric>
#include <random>

#include "support/code_location.h"

namespace commonhold::test {

namespace {

constexpr std::size_t kMostOfEvery = 5'000;
using Kind = Step::Kind;
const std::string kTimedOut(shm::to_string(shm::Status::kTimedOut));

// What is allowed: the outcomes of the orders in which their calls can be done one after the other, without a
// preemption, where time passes, or one dies, between two of them, as in the schedule that is judged.
class Orders {
 public:
  explicit Orders(Actors& actors) {
    Schedule order;
    for (std::size_t i : {0, 1}) order.insert(order.end(), actors.operation(i).calls.size(), {i, Kind::kCall});
    const auto lower = [](const Step& a, const Step& b) { return a.actor < b.actor; };
    do {
      if (both_.empty()) {
        for (std::size_t x : {0, 1}) without_[x] = actors.run(with(order, 0, {x, Kind::kKill}));
        before_ = actors.run({{0, Kind::kKill}, {1, Kind::kKill}});
      }
      add(actors, both_, order);
      for (std::size_t at = 0; at <= order.size(); ++at) {
        add(actors, in_time_, with(order, at, {0, Kind::kTime}));
        for (std::size_t x : {0, 1}) add(actors, after_death_of_[x], with(order, at, {x, Kind::kKill}));
      }
    } while (std::next_permutation(order.begin(), order.end(), lower));
    for (const Outcome& order : both_) add(in_time_, order);
  }
  // Of a sequential run.
  const std::string& wrong() const { return wrong_; }

  std::string judge(const Schedule& schedule, const Outcome& outcome) const {
    if (!outcome.wrong.empty()) return outcome.wrong;
    const bool passed = std::ranges::any_of(schedule, [](const Step& step) { return step.kind == Kind::kTime; });
    const std::vector<Outcome>* allowed = passed ? &in_time_ : &both_;
    for (std::size_t x : {0, 1}) {
      if (outcome.died[x]) allowed = &after_death_of_[x];
    }
    if (std::ranges::any_of(*allowed, [&](const Outcome& order) { return fits(outcome, order); })) return {};
    // A call that times out while another process is stopped in the middle has no effect.
    for (std::size_t x : {0, 1}) {
      if (passed && outcome.results[x] == kTimedOut && fits(outcome, without_[x], x)) return {};
    }
    if (passed && outcome.results[0] == kTimedOut && outcome.results[1] == kTimedOut &&
        outcome.contents == before_.contents) {
      return {};
    }
    std::string text = "the outcome is that of no order: " + describe(outcome);
    for (const Outcome& order : *allowed) text += "\n      allowed: " + describe(order);
    return text;
  }

 private:
  static Schedule with(Schedule order, std::size_t at, Step step) {
    order.insert(order.begin() + static_cast<std::ptrdiff_t>(at), step);
    return order;
  }
  void add(Actors& actors, std::vector<Outcome>& outcomes, const Schedule& schedule) {
    const Outcome outcome = actors.run(schedule);
    if (wrong_.empty() && !outcome.wrong.empty()) wrong_ = to_string(schedule) + ": " + outcome.wrong;
    add(outcomes, outcome);
  }
  static void add(std::vector<Outcome>& outcomes, const Outcome& outcome) {
    const bool known = std::ranges::any_of(outcomes, [&](const Outcome& one) { return fits(outcome, one); });
    if (!known) outcomes.push_back(outcome);
  }
  // `but`: whose result is not compared.
  static bool fits(const Outcome& outcome, const Outcome& order, std::size_t but = kMostActors) {
    if (outcome.contents != order.contents) return false;
    for (std::size_t i : {0, 1}) {
      if (i != but && !outcome.died[i] && outcome.results[i] != order.results[i]) return false;
    }
    return true;
  }
  static std::string describe(const Outcome& outcome) {
    auto result = [&](std::size_t i) { return outcome.died[i] ? std::string("(died)") : outcome.results[i]; };
    return fmt::format("A: {}, B: {}, then {}", result(0), result(1), outcome.contents);
  }
  std::vector<Outcome> both_, in_time_, after_death_of_[2];
  Outcome without_[2];  // where one died before it began
  Outcome before_;      // where both did
  std::string wrong_;
};

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

std::string judge(const Actors& actors, const Orders& orders, const Schedule& schedule, const Outcome& outcome) {
  std::string wrong = orders.judge(schedule, outcome);
  for (std::size_t i = 0; i < actors.size() && wrong.empty(); ++i) {
    if (outcome.waited[i] > actors.operation(i).waits_at_most) {
      wrong = fmt::format("{} waited {} us for a process that was stopped", actors.operation(i).name,
                          outcome.waited[i] / 1000);
    }
  }
  if (wrong.empty()) return wrong;
  std::string text = to_string(schedule) + ": " + wrong;
  for (const Step& step : schedule) {
    const KillTrace& trace = actors.trace(step.actor);
    if (step.kind != Kind::kTo || step.instructions >= trace.size()) continue;
    text += fmt::format("\n      {} is held up at {}", static_cast<char>('A' + step.actor),
                        describe_code(trace.rip(step.instructions)));
  }
  return text;
}

std::vector<Schedule> schedules_at(std::size_t interrupted, std::size_t k, bool deaths) {
  const std::size_t other = 1 - interrupted;
  const Step to{interrupted, Kind::kTo, k}, dies{interrupted, Kind::kKill}, on{interrupted, Kind::kOn},
      time{interrupted, Kind::kTime}, others{other, Kind::kOn};
  std::vector<Schedule> all{{to, others, on}, {to, others, time, on}};
  if (deaths) {
    all.push_back({to, others, dies});
    all.push_back({to, dies, others});
  }
  return all;
}

}  // namespace

std::size_t points_by_default() {
  if (const char* points = std::getenv("COMMONHOLD_POINTS"); points != nullptr)
    return std::strtoul(points, nullptr, 10);
  return soaking() ? 1'000'000 : 10;
}

std::string PairReport::line() const {
  std::string text = fmt::format("{}: {} schedules, {} deaths, {} failures, {:.0f} schedules/s", name, schedules,
                                 deaths, failures.size(), seconds > 0 ? static_cast<double>(schedules) / seconds : 0);
  for (const std::string& failure : failures) text += "\n    " + failure;
  return text;
}

PairReport explore_pair(KillStage& stage, const PairPlan& plan) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  PairReport report;
  report.name = plan.name;
  Actors actors(stage, {plan.first, plan.second}, plan.observation);
  const Orders orders(actors);
  if (!orders.wrong().empty()) report.failures.push_back("one after the other: " + orders.wrong());
  std::mt19937_64 random(plan.seed);
  for (std::size_t interrupted : {0, 1}) {
    for (const std::size_t k : points_of(actors.trace(interrupted), plan, random)) {
      for (const Schedule& schedule : schedules_at(interrupted, k, plan.deaths)) {
        if (report.failures.size() >= plan.most_failures) break;
        const Outcome outcome = actors.run(schedule);
        ++report.schedules;
        for (const bool died : outcome.died) report.deaths += died;
        if (std::string wrong = judge(actors, orders, schedule, outcome); !wrong.empty()) {
          report.failures.push_back(std::move(wrong));
        }
      }
    }
  }
  report.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  stage.restore();
  return report;
}

std::string replay_pair(KillStage& stage, const PairPlan& plan, const std::string& line) {
  Actors actors(stage, {plan.first, plan.second}, plan.observation);
  const Orders orders(actors);
  const Schedule schedule = parse_schedule(line);
  return judge(actors, orders, schedule, actors.run(schedule));
}

}  // namespace commonhold::test
