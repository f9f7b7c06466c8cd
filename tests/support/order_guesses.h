// Orders that a run is likely to be equal to.
#pragma once

#include <cstddef>
#include <vector>

#include "support/schedule.h"

namespace commonhold::test {

// What became of a call, a process or the clock in a run.
struct RunEvent {
  enum class What : char { kBegan, kFellAsleep, kReturned, kDied, kTimePassed };
  What what;
  std::size_t actor;
};

// The calls one after the other as they returned; then as they fell asleep and returned (a call that slept is two steps
// there); then the same with those that others overtook done where they began, each of them or not; and a call that died
// done where it began, or where it died.
std::vector<Schedule> order_guesses(const std::vector<RunEvent>& events);

}  // namespace commonhold::test
