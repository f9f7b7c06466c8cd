#include "shm/gate.h"

#include <climits>

namespace commonhold::shm {

namespace {
std::atomic<std::int64_t> longest_ns{1'000'000'000};
}

std::int64_t longest_sleep_ns() {
  return longest_ns.load(std::memory_order_relaxed);
}

void set_longest_sleep_for_test(std::int64_t longest) {
  longest_ns.store(longest, std::memory_order_relaxed);
}

void wake_some(Gate& gate, int count, std::atomic<std::uint32_t>* watchers) {
  std::uint32_t there = gate.wanted.load(std::memory_order_seq_cst);
  if ((there & kWatches) != 0 && watchers != nullptr) {
    there = gate.wanted.fetch_and(~kWatches, std::memory_order_seq_cst) & ~kWatches;
    wake_watchers(*watchers);
    if (there == 0) return;  // nobody sleeps
  }
  gate.event.fetch_add(1, std::memory_order_seq_cst);
  // Where all that were asked for woke there may be more: the last sleeper costs one call that finds nobody.
  if (futex_wake(gate.event, count) < count) {
    gate.wanted.compare_exchange_strong(there, there & kWatches, std::memory_order_seq_cst);
  }
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
