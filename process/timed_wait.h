// A condition variable's wait, for as long as the calls of this library say it (lock_calls.h).
#pragma once

#include <commonhold/detail/lock_calls.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace commonhold::detail {

// False: not ready() in time.
template <typename Ready>
bool wait_until(std::condition_variable& changed, std::unique_lock<std::mutex>& guard, std::int64_t wait, Ready ready) {
  if (wait == kForever) {
    changed.wait(guard, ready);
    return true;
  }
  return changed.wait_until(guard, std::chrono::steady_clock::now() + std::chrono::nanoseconds(wait), ready);
}

}  // namespace commonhold::detail
