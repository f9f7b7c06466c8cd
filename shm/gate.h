// Where threads of any process sleep until something changes: a flag that says somebody may sleep, and a futex.
//
//   sleeper: event -> seen; wanted = 1; look again; sleep while event == seen
//   waker:   change; (full barrier) wanted? then wanted = 0; event + 1; wake; somebody was there: wanted = 1
//
// INVARIANT: `wanted` is 0 only when nobody sleeps, or when a waker is between its two stores. A waker that dies there,
// or before its wake-up, is found by its announcement, and recovery wakes everybody (wake_all). A sleeper wakes by
// itself once a second, so nothing depends on that.
#pragma once

#include <atomic>
#include <cstdint>

#include "shm/deadline.h"
#include "shm/futex.h"

namespace commonhold::shm {

struct Gate {
  std::atomic<std::uint32_t> wanted;  // written by sleepers (1) and wakers
  std::atomic<std::uint32_t> event;   // raised by wakers before they wake
};
static_assert(sizeof(Gate) == 8);

inline constexpr std::int64_t kLongestSleepNs = 1'000'000'000;

// Sleeps until somebody wakes, `deadline`, or a second; not at all when ready() after the mark was set.
template <typename Ready>
void sleep_at(Gate& gate, Deadline deadline, Ready&& ready) {
  std::uint32_t seen = gate.event.load(std::memory_order_seq_cst);
  gate.wanted.store(1, std::memory_order_seq_cst);  // SYNC POINT: wanted; before the look at what it waits for
  if (ready()) return;
  (void)futex_wait(gate.event, seen, deadline.left_ns(kLongestSleepNs));
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
