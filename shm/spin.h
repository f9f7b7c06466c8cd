// Looking again and again for some microseconds before sleeping: what another running process is about to do is seen
// without a system call on either side.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace commonhold::shm {

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// A cheap clock for short waits; its ticks are a third to a half of a nanosecond where there is one.
inline std::uint64_t ticks() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) * 5 / 2;
#endif
}

// About 0.4 microseconds between two looks, 10 in all. Each look takes the cache line away from the one who is to write
// it: one who looked all the time would get items one by one, at the price of a cache line's journey each, where he now
// finds ten. Measured: 10 million items a second with no pause, 30 to 40 with this one.
inline constexpr std::uint64_t kLookEvery = 1100;
inline constexpr std::uint64_t kLookFor = 24 * kLookEvery;

// Cleared by tests that need the same path each time, or go through every step of it.
inline std::atomic<bool> spinning{true};

// Whether a loop that has looked so often looks once more before it sleeps.
inline bool looks_again(int looked, int most) {
  constexpr int kMostInTests = 2;
  return looked < most && (looked < kMostInTests || spinning.load(std::memory_order_relaxed));
}

template <typename Ready>
bool spin_until(Ready&& ready, std::uint64_t every = kLookEvery) {
  if (!spinning.load(std::memory_order_relaxed)) return false;
  for (std::uint64_t looked = 0; looked < kLookFor; looked += every) {
    std::uint64_t start = ticks();
    do relax();
    while (ticks() - start < every);
    if (ready()) return true;
  }
  return false;
}

// How long the next one should wait for a look, after one that found `found` items: a few at a time are a stream that
// comes slower than it is taken, and a longer pause lets more of them come at once. A single one is an answer, which
// should be seen soon.
constexpr std::uint64_t next_pause(std::uint64_t pause, std::uint64_t found) {
  if (found <= 1 || pause < kLookEvery) return kLookEvery;
  if (found < 24) return pause < 4 * kLookEvery ? pause * 2 : pause;
  return found > 96 && pause > kLookEvery ? pause / 2 : pause;
}

}  // namespace commonhold::shm
