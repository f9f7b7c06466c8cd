#include "support/triple_explorer.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <random>

namespace commonhold::test {

namespace {

using Kind = Step::Kind;
using Permutation = std::array<std::size_t, 3>;

Schedule joined(const Schedule& steps, const Schedule& more) {
  Schedule all;
  all.reserve(steps.size() + more.size());
  for (const Schedule* part : {&steps, &more}) std::ranges::copy(*part, std::back_inserter(all));
  return all;
}

Exploration exploration_of(KillStage& stage, const TriplePlan& plan) {
  return {stage, plan.name, plan.operations, plan.observation, plan.seed, plan.most_failures};
}

// The schedules of one beginning and one order of the three, with X stopped before its i-th access.
class InterruptedTriple {
 public:
  InterruptedTriple(Exploration& exploration, const Schedule& beginning, const Permutation& who)
      : exploration_(exploration), beginning_(beginning), x_(who[0]), y_(who[1]), z_(who[2]) {
    accesses_ = count({}, x_, {on(x_), on(y_), on(z_)});
  }
  std::size_t accesses() const { return accesses_; }

  std::vector<Schedule> once(std::size_t i) const {
    const Step to{x_, Kind::kAccess, i};
    return {whole({to, on(y_), on(z_), on(x_)}), whole({to, on(y_), on(z_), {x_, Kind::kTime}, on(x_)}),
            whole({to, on(y_), on(z_), {x_, Kind::kKill}}), whole({to, {x_, Kind::kKill}, on(y_), on(z_)})};
  }
  // With Y stopped as well, before each of its accesses.
  std::vector<Schedule> twice(std::size_t i) const {
    const Step to{x_, Kind::kAccess, i};
    std::vector<Schedule> all;
    const std::size_t second = count({to}, y_, {on(z_), on(x_), on(y_)});
    for (std::size_t j = 1; j <= second; ++j) {
      const Step then{y_, Kind::kAccess, j};
      all.push_back(whole({to, then, on(z_), on(y_), on(x_)}));
      all.push_back(whole({to, then, on(z_), on(x_), on(y_)}));
      all.push_back(whole({to, then, {y_, Kind::kKill}, on(z_), on(x_)}));
      all.push_back(whole({to, then, {x_, Kind::kKill}, on(z_), on(y_)}));
      all.push_back(whole({to, then, on(z_), {x_, Kind::kTime}, on(y_), on(x_)}));
    }
    return all;
  }

 private:
  static Step on(std::size_t actor) { return {actor, Kind::kOn}; }
  Schedule whole(const Schedule& steps) const { return joined(beginning_, steps); }
  // How many accesses the actor makes from there, until it ends or sleeps.
  std::size_t count(const Schedule& before, std::size_t actor, const Schedule& after) const {
    const Schedule counted = joined(before, {{actor, Kind::kAccess, effort().accesses}});
    return exploration_.run(whole(joined(counted, after))).accesses[actor];
  }

  Exploration& exploration_;
  const Schedule& beginning_;
  std::size_t x_, y_, z_, accesses_ = 0;
};

void run_all(Exploration& exploration, const std::vector<Schedule>& schedules) {
  for (const Schedule& schedule : schedules) {
    if (exploration.goes_on()) (void)exploration.run(schedule);
  }
}

// A share of the schedules, drawn.
void run_some(Exploration& exploration, const InterruptedTriple& triple, std::size_t most, std::mt19937_64& random) {
  for (std::size_t n = 0; n < most && exploration.goes_on(); ++n) {
    const std::size_t i = std::uniform_int_distribution<std::size_t>(1, triple.accesses())(random);
    const auto all = random() % 2 == 0 ? triple.once(i) : triple.twice(i);
    if (!all.empty()) (void)exploration.run(all[random() % all.size()]);
  }
}

}  // namespace

ExplorationReport explore_triple(KillStage& stage, const TriplePlan& plan) {
  if (is_skipped(plan.name)) return skipped_report(plan.name);
  Exploration exploration = exploration_of(stage, plan);
  if (wanted_replay() != nullptr) return exploration.replay(wanted_replay()->schedule);
  std::mt19937_64 random(plan.seed);
  const std::size_t share = std::max<std::size_t>(plan.most_schedules / (6 * plan.beginnings.size()), 1);
  for (const std::string& line : plan.beginnings) {
    const Schedule beginning = parse_schedule(line);
    Permutation who{0, 1, 2};
    do {
      const InterruptedTriple triple(exploration, beginning, who);
      constexpr std::size_t kOfOne = 4 + 5 * 20;  // schedules for each i, about
      if (triple.accesses() == 0) continue;
      if (triple.accesses() * kOfOne > share) {
        run_some(exploration, triple, share, random);
        continue;
      }
      for (std::size_t i = 1; i <= triple.accesses(); ++i) {
        run_all(exploration, triple.once(i));
        run_all(exploration, triple.twice(i));
      }
    } while (std::next_permutation(who.begin(), who.end()));
  }
  return exploration.finish();
}

std::string replay_triple(KillStage& stage, const TriplePlan& plan, const std::string& line) {
  Exploration exploration = exploration_of(stage, plan);
  const Schedule schedule = parse_schedule(line);
  return exploration.judge(schedule, exploration.actors().run(schedule));
}

}  // namespace commonhold::test
