#include "support/exploration.h"

#include <fmt/format.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <stdexcept>

#include "support/code_location.h"
#include "support/soaking.h"

namespace commonhold::test {

Effort effort() {
  if (const char* points = std::getenv("COMMONHOLD_POINTS"); points != nullptr) {
    const std::size_t count = std::strtoul(points, nullptr, 10);
    return {.points = count,
            .between = 1 + count / 8,
            .twice = 2 * count,
            .deaths = 0,
            .of_three = 20 * count,
            .accesses = 1'000};
  }
  if (soaking()) {
    return {.points = 1'000'000, .between = 8, .twice = 200, .deaths = 2'000, .of_three = 8'000, .accesses = 1'000};
  }
  return {.points = 6, .between = 1, .twice = 6, .deaths = 0, .of_three = 60, .accesses = 200};
}

bool explores_all() {
  return soaking() || std::getenv("COMMONHOLD_POINTS") != nullptr;
}

const Replay* wanted_replay() {
  static const std::unique_ptr<const Replay> replay = [] {
    const char* text = std::getenv("COMMONHOLD_REPLAY");
    if (text == nullptr || *text == '\0') return std::unique_ptr<const Replay>();
    const std::string line(text);
    const std::size_t bar = line.rfind(" | ");
    if (bar == std::string::npos) {
      throw std::invalid_argument("COMMONHOLD_REPLAY is \"NAME | SCHEDULE\", and not \"" + line + "\"");
    }
    return std::make_unique<const Replay>(Replay{line.substr(0, bar), line.substr(bar + 3)});
  }();
  return replay.get();
}

std::string ExplorationReport::line() const {
  std::string text = fmt::format("{}: {} schedules, {} deaths, {} failures, {:.0f} schedules/s", name, schedules,
                                 deaths, failures.size(), seconds > 0 ? static_cast<double>(schedules) / seconds : 0);
  for (const std::string& failure : failures) text += "\n    " + failure;
  if (!failures.empty()) {
    std::string environment;
    for (const char* variable : {"COMMONHOLD_SOAK", "COMMONHOLD_POINTS"}) {
      if (const char* value = std::getenv(variable)) environment += fmt::format("{}={} ", variable, value);
    }
    text +=
        fmt::format("\n    {}./dev test interleave --seed {} -- --replay \"{} | SCHEDULE\"", environment, seed, name);
  }
  return text;
}

Exploration::Exploration(KillStage& stage, const std::string& name, std::vector<Operation> operations,
                         const Observation& observation, std::uint64_t seed, std::size_t most_failures)
    : stage_(stage),
      most_failures_(most_failures),
      actors_(stage, std::move(operations), observation, name),
      orders_(actors_) {
  report_.name = name;
  report_.seed = seed;
}

Outcome Exploration::run(const Schedule& schedule) {
  Outcome outcome = actors_.run(schedule);
  ++report_.schedules;
  for (const bool died : outcome.died) report_.deaths += died;
  if (std::string wrong = judge(schedule, outcome); !wrong.empty()) report_.failures.push_back(std::move(wrong));
  return outcome;
}

void Exploration::compare(const Schedule& one, const Schedule& other) {
  const Outcome outcome = run(one), same = run(other);
  if (outcome.results == same.results && outcome.contents == same.contents) return;
  report_.failures.push_back(fmt::format("{} and {} end differently: {} and {}", to_string(one), to_string(other),
                                         orders_.describe(outcome), orders_.describe(same)));
}

std::string Exploration::judge(const Schedule& schedule, const Outcome& outcome) {
  std::string wrong = orders_.judge(schedule, outcome);
  for (std::size_t i = 0; i < actors_.size() && wrong.empty(); ++i) {
    if (outcome.waited[i] > actors_.operation(i).waits_at_most) {
      wrong = fmt::format("{} waited {} us for a process that was stopped", actors_.operation(i).name,
                          outcome.waited[i] / 1000);
    }
  }
  if (wrong.empty()) return wrong;
  std::string text = to_string(schedule) + ": " + wrong;
  for (const Step& step : schedule) {
    const KillTrace& trace = actors_.trace(step.actor);
    if (step.kind != Step::Kind::kTo || step.count >= trace.size()) continue;
    text += fmt::format("\n      {} is held up at {}", static_cast<char>('A' + step.actor),
                        describe_code(trace.rip(step.count)));
  }
  return text;
}

ExplorationReport Exploration::replay(const std::string& line) {
  const Schedule schedule = parse_schedule(line);
  const Outcome outcome = run(schedule);
  const std::string& name = report_.name;
  std::cout << (report_.failures.empty() ? fmt::format("replayed {} | {}: sound\n", name, to_string(schedule))
                                         : fmt::format("replayed {} | {}\n", name, report_.failures.front()))
            << std::flush;
  return finish();
}

ExplorationReport Exploration::finish() {
  if (!orders_.wrong().empty()) report_.failures.push_back("one after the other: " + orders_.wrong());
  report_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  stage_.restore();
  return std::move(report_);
}

}  // namespace commonhold::test
