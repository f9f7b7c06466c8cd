// How long an operation that is in time, or without a wait, may be held up by a process that is stopped: what its
// documentation promises, for Operation::waits_at_most.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>

#include "support/actors.h"

namespace commonhold::test {

// What an operation "in time" gives as its time.
inline constexpr std::chrono::milliseconds kShortWait{10};

constexpr std::int64_t waits(std::chrono::nanoseconds time) {
  return time.count();
}
inline constexpr std::int64_t kNoWait = 0;
inline constexpr std::int64_t kShortWaitAtMost = waits(2 * kShortWait);
// A semaphore's acquisition grants whoever is in the middle of a change of it 0.2 s.
inline constexpr std::int64_t kSemaphoreWithoutWait = waits(std::chrono::milliseconds(200));
inline constexpr std::int64_t kSemaphoreInTime = kSemaphoreWithoutWait + kShortWaitAtMost;
// A queue's attempt without a wait grants whoever holds the queue a second.
inline constexpr std::int64_t kQueueWithoutWait = waits(std::chrono::seconds(1));

// The operation, which may wait so long in all its calls together.
inline Operation bounded(Operation operation, std::int64_t waits_at_most) {
  operation.waits_at_most = waits_at_most;
  return operation;
}

// Two who wait in a condition for a time each, and whom nobody notifies: each had the lock again at the end of its
// time, in either order, or sleeps still. (In a sequential order the time of both is over at once, and the one that
// began first comes first; one that was held up before it slept comes later, or has time left.)
inline bool wait_in_vain(const Outcome& outcome) {
  const std::string over = "ok, timed out, ok", asleep = "(asleep)";
  const auto sleepers = std::count(outcome.results.begin(), outcome.results.begin() + 2, asleep);
  const auto others = std::count(outcome.results.begin(), outcome.results.begin() + 2, over);
  return sleepers + others == 2 && outcome.contents.starts_with(std::to_string(sleepers) + " wait");
}

}  // namespace commonhold::test
