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
#pragma once

#include <atomic>
#include <cstdint>

#include "shm/deadline.h"
#include "shm/futex.h"

namespace commonhold::shm {

struct Gate {
  std::atomic<std::uint32_t> wanted;  // raised by sleepers, made 0 by wakers; any death leaves it too high at most
  std::atomic<std::uint32_t> event;   // raised by wakers before they wake
};
static_assert(sizeof(Gate) == 8);

// How long a sleeper sleeps before it looks by itself: a second, except for tests of what else wakes it.
std::int64_t longest_sleep_ns();
void set_longest_sleep_for_test(std::int64_t longest_ns);

inline void raise_wanted(Gate& gate) {
  std::uint32_t now = gate.wanted.load(std::memory_order_relaxed);
  while (!gate.wanted.compare_exchange_weak(now, now + 1 != 0 ? now + 1 : 1, std::memory_order_seq_cst)) {
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

void wake_some(Gate& gate, int count);
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
inline void open_gate(Gate& gate, int count) {
  if (gate.wanted.load(std::memory_order_seq_cst) != 0) [[unlikely]]  // SYNC POINT: wanted
    wake_some(gate, count);
}

}  // namespace commonhold::shm
