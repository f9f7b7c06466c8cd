// A condition variable's wait, for as long as the calls of this library say it (lock_calls.h).
#pragma once

#include <commonhold/detail/lock_calls.h>
#include <commonhold/detail/stopping.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace commonhold::detail {

// False: not ready() in time. Throws Stopped: in a StopScope the wait looks for a stop every few milliseconds, for nothing
// wakes the condition variable then.
template <typename Ready>
bool wait_until(std::condition_variable& changed, std::unique_lock<std::mutex>& guard, std::int64_t wait, Ready ready) {
  using Clock = std::chrono::steady_clock;
  if (wait != 0 && in_stop_scope()) {
    const auto end = wait == kForever ? Clock::time_point::max() : Clock::now() + std::chrono::nanoseconds(wait);
    for (;;) {
      if (changed.wait_until(guard, std::min(end, Clock::now() + std::chrono::milliseconds(5)), ready)) return true;
      end_if_stopped("waiting for a result");
      if (Clock::now() >= end) return false;
    }
  }
  if (wait == kForever) {
    changed.wait(guard, ready);
    return true;
  }
  return changed.wait_until(guard, Clock::now() + std::chrono::nanoseconds(wait), ready);
}

}  // namespace commonhold::detail
