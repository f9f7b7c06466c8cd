// A turn at a queue's lock, and waiting for one that is worth taking.
#pragma once

#include <chrono>

#include "shm/gate.h"
#include "shm/lock_word.h"
#include "shm/sleep_notice.h"
#include "shm/spin.h"
#include "shm/thread_context.h"
#include "shm/words.h"

namespace commonhold::shm {

// What one attempt grants a lock's holder: far more than any turn takes, unless its process is stopped.
inline constexpr std::chrono::milliseconds kPatience{1000};

// Called by a thread that may have been woken at `gate` and returns without having taken or put anything: wakes another
// waiter while ready() holds.
template <typename Ready>
void pass_on(Gate& gate, Ready&& ready) {
  if (ready()) open_gate(gate, 1);
}

// Whether a turn that ended so is the end of a call that did nothing, beside others who sleep for the same. Not so of
// kRetry and kExists, after which the caller goes on, nor of kClosed, which all who sleep were woken for.
inline bool ends_in_vain(Status status) {
  return status != Status::kOk && status != Status::kRetry && status != Status::kExists && status != Status::kClosed &&
         status != Status::kTimedOut;
}

// allocate(), between two turns at a queue. A wake-up is another's when there is no memory.
template <typename Queue, typename Allocate>
void allocate_between_turns(const Queue& queue, Allocate&& allocate) {
  try {
    allocate();
  } catch (...) {
    queue.pass_on_items();
    throw;
  }
}

// As lock(), but one attempt waits for a lock that is about to be freed.
inline Status take_turn(ThreadContext& me, LockWord& word, Deadline deadline) {
  if (try_lock(me, word)) [[likely]]
    return Status::kOk;
  return lock(me, word, deadline.is_already() ? Deadline::after(kPatience) : deadline);
}

// The same for one who may have been woken at `gate`: when his time passes, and ready() still holds, the wake-up is
// another's.
template <typename Ready>
Status take_turn(ThreadContext& me, LockWord& word, Deadline deadline, Gate& gate, Ready&& ready) {
  Status status = take_turn(me, word, deadline);
  if (status != Status::kOk) pass_on(gate, ready);
  return status;
}

// Frees the lock, then wakes whom the change concerns. The lock stays announced until then: a death on the way is found
// by it, and recovery wakes them.
template <typename Wake>
void end_turn(ThreadContext& me, LockWord& word, Wake&& wake) {
  unlock_announced(word);
  barrier_after_exchange();
  wake();
  me.retract(word);
}

// Waits until ready() may be true; false when the deadline has passed, even where ready() is true: a caller that gets
// nothing although ready() says so does not wait past its deadline. A sleeper says where it sleeps: one that was woken
// and dies before it did anything, however late, has swallowed a wake-up, and so every death wakes all
// (sleep_notice.h).
template <typename Ready>
bool wait_at(ThreadContext& me, Gate& gate, Deadline deadline, Ready&& ready, std::uint64_t look_every = kLookEvery) {
  if (deadline.passed()) return false;
  if (spin_until(ready, look_every)) return true;
  if (deadline.passed()) return false;
  const SleepNotice notice(me, gate.event);
  sleep_at(gate, deadline, [&] { return ready() || deadline.is_cancelled(); });
  return true;
}

// A word that only the lock's holders write.
inline Word own(const AtomicWord& word) {
  return word.load(std::memory_order_relaxed);
}

}  // namespace commonhold::shm
