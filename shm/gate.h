// Where threads of any process sleep until something changes: a word that says somebody may sleep, and a futex.
//
//   sleeper: event -> seen; wanted + 1; look again; sleep while event == seen
//   waker:   change; (full barrier) wanted -> there, not 0? then event + 1; wake; fewer slept than wanted to be woken:
//            wanted from `there` to 0, if it is `there` still
//
// INVARIANT: `wanted` is 0 only when nobody sleeps or is about to. Whoever raised it before the waker read `there` has
// seen the event before it was raised: he was woken, or will not fall asleep. Whoever raises it later keeps it from
// becoming 0. A waker that dies before its wake-up is found by its announcement, and recovery wakes everybody
// (wake_all). A sleeper wakes by itself once a second, so nothing depends on that.
//
// Who watches the object (watch.h) has a flag of his own in `wanted` and sleeps on another futex, so that no sleeper's
// wake-up goes to him. A waker clears the flag, then raises that futex; he is told once for each time that he set it.
#pragma once

#include <atomic>
#include <cstdint>

#include "shm/deadline.h"
#include "shm/futex.h"

namespace commonhold::shm {

struct Gate {
  // Bits 0-30 raised by sleepers, made 0 by wakers; any death leaves it too high at most. Bit 31: kWatches.
  std::atomic<std::uint32_t> wanted;
  std::atomic<std::uint32_t> event;  // raised by wakers before they wake
};
static_assert(sizeof(Gate) == 8);

// How long a sleeper sleeps before it looks by itself: a second, except for tests of what else wakes it.
std::int64_t longest_sleep_ns();
void set_longest_sleep_for_test(std::int64_t longest_ns);

inline constexpr std::uint32_t kWatches = std::uint32_t{1} << 31;

inline void raise_wanted(Gate& gate) {
  std::uint32_t now = gate.wanted.load(std::memory_order_relaxed);
  auto raised = [](std::uint32_t from) {
    return (from & kWatches) | ((from + 1) << 1 != 0 ? (from + 1) & ~kWatches : 1);
  };
  while (!gate.wanted.compare_exchange_weak(now, raised(now), std::memory_order_seq_cst)) {
  }
}

// Sleeps until somebody wakes, `deadline`, or a second; not at all when ready() after the mark was set.
template <typename Ready>
void sleep_at(Gate& gate, Deadline deadline, Ready&& ready) {
  std::uint32_t seen = gate.event.load(std::memory_order_seq_cst);
  raise_wanted(gate);  // SYNC POINT: wanted; before the look at what it waits for
  if (ready()) return;
  (void)futex_wait(gate.event, seen, deadline.left_ns(longest_sleep_ns()));
}

// `watchers`: their futex, where the gate can be watched.
void wake_some(Gate& gate, int count, std::atomic<std::uint32_t>* watchers);
void wake_watchers(std::atomic<std::uint32_t>& futex);
void wake_all(Gate& gate);

// After an exchange that freed a lock, which is a full barrier on x86-64: what was stored before is seen by whoever
// looks after it set its mark.
inline void barrier_after_exchange() {
#if defined(__x86_64__)
  std::atomic_signal_fence(std::memory_order_seq_cst);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

// REQUIRES: the change was made, and a full barrier lies behind it.
inline void open_gate(Gate& gate, int count, std::atomic<std::uint32_t>* watchers = nullptr) {
  if (gate.wanted.load(std::memory_order_seq_cst) != 0) [[unlikely]]  // SYNC POINT: wanted
    wake_some(gate, count, watchers);
}

}  // namespace commonhold::shm
