#include "shm/gate.h"

#include <climits>

namespace commonhold::shm {

namespace {
std::atomic<std::int64_t> longest_sleep{1'000'000'000};
}

std::int64_t longest_sleep_ns() {
  return longest_sleep.load(std::memory_order_relaxed);
}

void set_longest_sleep_for_test(std::int64_t ns) {
  longest_sleep.store(ns, std::memory_order_relaxed);
}

void wake_some(Gate& gate, int count, std::atomic<std::uint32_t>* watchers) {
  const std::uint32_t wanted = gate.wanted.exchange(0, std::memory_order_seq_cst);
  gate.event.fetch_add(1, std::memory_order_seq_cst);
  if ((wanted & kWatches) != 0 && watchers != nullptr) wake_watchers(*watchers);
  // Also when the flag is clear by now: another waker cleared it, who wakes for his own change alone. Where there was
  // one there may be more: the last sleeper costs one call that finds nobody.
  if (futex_wake(gate.event, count) > 0) gate.wanted.fetch_or(kSleeps, std::memory_order_seq_cst);
}

void wake_watchers(std::atomic<std::uint32_t>& futex) {
  futex.fetch_add(1, std::memory_order_seq_cst);
  futex_wake_all(futex);
}

void wake_all(Gate& gate) {
  gate.event.fetch_add(1, std::memory_order_seq_cst);
  futex_wake_all(gate.event);
}

}  // namespace commonhold::shm
