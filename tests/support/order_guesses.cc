#include "support/order_guesses.h"

#include <optional>

namespace commonhold::test {

namespace {

using What = RunEvent::What;
constexpr std::size_t kMostGuesses = 64;

// A call's first step, which can stand in several places: behind one of these events, or where nullopt stands, nowhere.
struct Movable {
  std::size_t actor;
  std::vector<std::optional<std::size_t>> places;
};

std::optional<Step> step_of(const RunEvent& event) {
  switch (event.what) {
    case What::kBegan:
      return std::nullopt;
    case What::kFellAsleep:
    case What::kReturned:
      return Step{event.actor, Step::Kind::kCall};
    case What::kDied:
      return Step{event.actor, Step::Kind::kKill};
    case What::kTimePassed:
      return Step{event.actor, Step::Kind::kTime};
  }
  return std::nullopt;
}

std::vector<Movable> movables_of(const std::vector<RunEvent>& events) {
  std::vector<Movable> movables;
  for (std::size_t begin = 0; begin < events.size(); ++begin) {
    if (events[begin].what != What::kBegan) continue;
    bool overtaken = false;
    std::size_t end = begin + 1;
    for (; end < events.size(); ++end) {
      const bool own = events[end].actor == events[begin].actor && events[end].what != What::kTimePassed;
      if (own) break;
      overtaken = overtaken || events[end].what != What::kBegan;
    }
    if (end == events.size()) continue;
    if (events[end].what == What::kDied) {
      movables.push_back({events[begin].actor, {std::nullopt, begin, end - 1}});
    } else if (overtaken) {
      movables.push_back({events[begin].actor, {end, begin}});
    }
  }
  return movables;
}

// `place[i]`: which of its places the i-th movable step has.
Schedule order_of(const std::vector<RunEvent>& events, const std::vector<Movable>& movables,
                  const std::vector<std::size_t>& place) {
  std::vector<std::vector<Step>> behind(events.size());
  for (std::size_t at = 0; at < events.size(); ++at) {
    if (const auto step = step_of(events[at])) behind[at].push_back(*step);
  }
  for (std::size_t i = 0; i < movables.size(); ++i) {
    const auto& [actor, places] = movables[i];
    if (places.front()) behind[*places.front()].clear();
    if (places[place[i]]) behind[*places[place[i]]].push_back({actor, Step::Kind::kCall});
  }
  Schedule order;
  for (const auto& steps : behind) order.insert(order.end(), steps.begin(), steps.end());
  return order;
}

}  // namespace

std::vector<Schedule> order_guesses(const std::vector<RunEvent>& events) {
  std::vector<Schedule> guesses(1);
  for (const RunEvent& event : events) {
    const auto step = step_of(event);
    if (step && event.what != What::kFellAsleep) guesses.front().push_back(*step);
  }
  const std::vector<Movable> movables = movables_of(events);
  std::vector<std::size_t> place(movables.size(), 0);
  while (guesses.size() < kMostGuesses) {
    guesses.push_back(order_of(events, movables, place));
    std::size_t next = 0;
    while (next < place.size() && ++place[next] == movables[next].places.size()) place[next++] = 0;
    if (next == place.size()) break;
  }
  return guesses;
}

}  // namespace commonhold::test
