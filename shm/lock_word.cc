#include "shm/lock_word.h"

#include "shm/futex.h"
#include "shm/liveness.h"
#include "shm/recovery.h"
#include "shm/spin.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

namespace {

// How often a waiter looks before it sleeps: about as long as a short critical section elsewhere takes.
constexpr int kSpins = 100;
// A sleeper looks after its holder at least this often, so a death is noticed even when no server is left to act on it.
std::atomic<std::int64_t> holder_check_ns{100'000'000};

// SYNC POINT: lock: acquire here, release in unlock and release_for_dead.
bool take(std::atomic<std::uint32_t>& state, std::uint32_t owner) {
  std::uint32_t free = 0;
  return state.compare_exchange_strong(free, owner, std::memory_order_acq_rel, std::memory_order_relaxed);
}

// REQUIRES: the word is announced.
Status wait_for_lock(ThreadContext& me, LockWord& word, Deadline deadline) {
  auto& state = word.state;
  for (int i = 0; looks_again(i, kSpins); ++i) {
    if (state.load(std::memory_order_relaxed) == 0 && take(state, me.owner())) return Status::kOk;
    if ((state.load(std::memory_order_relaxed) & kLockWaiters) != 0) break;  // others sleep: queue behind them
    relax();
  }
  const ThreadContext::Waiting waiting(me, word);
  // By the clock: a process that signals interrupt all the time never sees a wait time out.
  const std::chrono::nanoseconds interval{holder_check_ns.load(std::memory_order_relaxed)};
  for (Deadline check = Deadline::after(interval);;) {
    std::uint32_t seen = state.load(std::memory_order_relaxed);
    if ((seen & ~kLockWaiters) == 0) {  // the bit alone is garbage
      // With the waiter bit: others may sleep, and the unlock that woke us has cleared their bit. SYNC POINT: lock.
      if (state.compare_exchange_strong(seen, me.owner() | kLockWaiters, std::memory_order_acq_rel,
                                        std::memory_order_relaxed)) {
        return Status::kOk;
      }
      continue;
    }
    if ((seen & kLockWaiters) == 0 && !state.compare_exchange_weak(seen, seen | kLockWaiters)) continue;
    if (deadline.passed()) return Status::kTimedOut;  // the bit is set, so those who sleep on are not forgotten
    (void)futex_wait(state, seen | kLockWaiters, deadline.left_ns(check.left_ns(interval.count())));
    if (check.passed()) {
      if (!recover_dead_holder(me, word)) (void)free_unheld_lock(me, word);
      check = Deadline::after(interval);
    }
  }
}

}  // namespace

void set_holder_check_for_test(std::chrono::nanoseconds interval) {
  holder_check_ns.store(interval.count(), std::memory_order_relaxed);
}

Status lock(ThreadContext& me, LockWord& word, Deadline deadline) {
  me.announce(word);
  if (take(word.state, me.owner())) [[likely]]
    return Status::kOk;
  Status status = deadline.is_already() ? Status::kTimedOut : wait_for_lock(me, word, deadline);
  if (status != Status::kOk) me.retract(word);
  return status;
}

bool try_lock(ThreadContext& me, LockWord& word) {
  return lock(me, word, Deadline::already()) == Status::kOk;
}

Status unlock(ThreadContext& me, LockWord& word) {
  std::uint32_t holder = word.state.load(std::memory_order_relaxed) & ~kLockWaiters;
  bool own = holder == me.owner();
  if (!own) {
    if (holder == 0) return Status::kNotHeld;
    me.announce(word);  // the holder has announced it already; we might die between freeing and waking
  }
  std::uint32_t before = word.state.exchange(0, std::memory_order_release);
  if ((before & kLockWaiters) != 0) [[unlikely]]
    futex_wake(word.state, 1);
  me.retract(word);
  return before == 0 ? Status::kNotHeld : Status::kOk;
}

void wake_waiter(ThreadContext& me, LockWord& word) {
  futex_wake(word.state, 1);
  me.retract(word);
}

void release_for_dead(LockWord& word, std::uint32_t dead_owner) {
  std::uint32_t state = word.state.load(std::memory_order_relaxed);
  while ((state & ~kLockWaiters) == dead_owner &&
         !word.state.compare_exchange_weak(state, 0, std::memory_order_release, std::memory_order_relaxed)) {
  }
  futex_wake(word.state, 1);
}

Status lock_announced(ThreadContext& me, LockWord& word, Deadline deadline) {
  if (take(word.state, me.owner())) [[likely]]
    return Status::kOk;
  return wait_for_lock(me, word, deadline);
}

void unlock_announced(LockWord& word) {
  std::uint32_t before = word.state.exchange(0, std::memory_order_release);
  if ((before & kLockWaiters) != 0) [[unlikely]]
    futex_wake(word.state, 1);
}

}  // namespace commonhold::shm
