// Where threads of any process sleep until something changes: flags that say who may be there, and a futex.
//
//   sleeper: event -> seen; wanted |= 1; look again; sleep while event == seen
//   waker:   change; (full barrier) wanted? then wanted = 0; event + 1; wake; somebody was there: wanted |= 1
//
// INVARIANT: a sleeper's flag is clear only when nobody sleeps, or when a waker is between its two stores. A waker that
// dies there, or before its wake-up, is found by its announcement, and recovery wakes everybody (wake_all). A sleeper
// wakes by itself once a second, so nothing depends on that.
//
// Who watches the object (watch.h) has a flag of his own and sleeps on another futex, so that no sleeper's wake-up goes
// to him. It is told once for each time that he set the flag.
#pragma once

#include <atomic>
#include <cstdint>

#include "shm/deadline.h"
#include "shm/futex.h"

namespace commonhold::shm {

struct Gate {
  std::atomic<std::uint32_t> wanted;  // 0, or kSleeps, kWatches; set by those who come, cleared by wakers
  std::atomic<std::uint32_t> event;   // raised by wakers before they wake
};
static_assert(sizeof(Gate) == 8);

inline constexpr std::uint32_t kSleeps = 1, kWatches = 2;

// How long a sleeper sleeps at most: a second. Changed by tests of what else wakes it.
std::int64_t longest_sleep_ns();
void set_longest_sleep_for_test(std::int64_t ns);

// Sleeps until somebody wakes, `deadline`, or a second; not at all when ready() after the mark was set.
template <typename Ready>
void sleep_at(Gate& gate, Deadline deadline, Ready&& ready) {
  std::uint32_t seen = gate.event.load(std::memory_order_seq_cst);
  gate.wanted.fetch_or(kSleeps, std::memory_order_seq_cst);  // SYNC POINT: wanted; before the look at what it waits for
  if (ready()) return;
  (void)futex_wait(gate.event, seen, deadline.left_ns(longest_sleep_ns()));
}

// `watchers`: their futex, where the gate can be watched.
void wake_some(Gate& gate, int count, std::atomic<std::uint32_t>* watchers);
void wake_all(Gate& gate);
void wake_watchers(std::atomic<std::uint32_t>& futex);

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
