// The uncontended paths of a lock word in their caller's code, for locks that are taken once in every call of a user:
// the same steps as lock() and unlock(). They make no call but at their end, so that their callers need no stack.
#pragma once

#include "shm/lock_word.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

// Takes the lock when it is free. False also when the thread's slot has no room left: lock() does that.
inline bool take_free_lock(ThreadContext& me, LockWord& word) {
  if (!me.has_room()) [[unlikely]]
    return false;
  me.announce(word);
  std::uint32_t free = 0;
  // SYNC POINT: lock.
  if (word.state.compare_exchange_strong(free, me.owner(), std::memory_order_acq_rel, std::memory_order_relaxed)) {
    return true;
  }
  me.retract_last();
  return false;
}

inline bool owns_lock(const ThreadContext& me, const LockWord& word) {
  return (word.state.load(std::memory_order_relaxed) & ~kLockWaiters) == me.owner();
}

// REQUIRES: the caller owned it when it looked. False: somebody else has freed it since, and nobody taken it.
inline bool free_own_lock(ThreadContext& me, LockWord& word) {
  std::uint32_t before = word.state.exchange(0, std::memory_order_release);
  if ((before & kLockWaiters) != 0) [[unlikely]] {
    wake_waiter(me, word);
    return true;
  }
  me.retract(word);
  return before != 0;
}

// Frees at the end of a scope what take_free_lock() took at its start. REQUIRES: the scope announces and retracts in
// pairs.
class TakenLock {
 public:
  [[gnu::always_inline]] TakenLock(ThreadContext& me, LockWord& word) : me_(me), word_(word) {}
  [[gnu::always_inline]] ~TakenLock() {
    std::uint32_t before = word_.state.exchange(0, std::memory_order_release);
    if ((before & kLockWaiters) != 0) [[unlikely]] {
      wake_waiter(me_, word_);
    } else {
      me_.retract_last();
    }
  }
  TakenLock(const TakenLock&) = delete;
  TakenLock& operator=(const TakenLock&) = delete;

 private:
  ThreadContext& me_;
  LockWord& word_;
};

}  // namespace commonhold::shm
