// Process-shared futexes: sleep on a word in the segment, wake sleepers.
#pragma once

#include <atomic>
#include <cstdint>

namespace commonhold::shm {

enum class FutexWait { kWoken, kChanged, kTimedOut };

// Sleeps while *word == expected, for at most `timeout_ns`. Spurious wake-ups are reported as kWoken.
FutexWait futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t timeout_ns);

// The same, whoever wants to stop this thread (wait_stop.h).
FutexWait sleep_on_futex(const std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t timeout_ns);

// Wakes at most `count` sleepers and gives how many it woke.
int futex_wake(const std::atomic<std::uint32_t>& word, int count);
// The low half of a word as a futex; the kernel alone looks at it as such. Little-endian.
inline const std::atomic<std::uint32_t>& low_half(const std::atomic<std::uint64_t>& word) {
  return *static_cast<const std::atomic<std::uint32_t>*>(static_cast<const void*>(&word));
}

void futex_wake_all(const std::atomic<std::uint32_t>& word);

}  // namespace commonhold::shm
