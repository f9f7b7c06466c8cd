// A turn at a queue's lock, and waiting for one that is worth taking.
#pragma once

#include <chrono>

#include "shm/gate.h"
#include "shm/lock_word.h"
#include "shm/spin.h"
#include "shm/thread_context.h"
#include "shm/words.h"

namespace commonhold::shm {

// What one attempt grants a lock's holder: far more than any turn takes, unless its process is stopped.
inline constexpr std::chrono::milliseconds kPatience{1000};

// As lock(), but one attempt waits for a lock that is about to be freed.
inline Status take_turn(ThreadContext& me, LockWord& word, Deadline deadline) {
  if (try_lock(me, word)) [[likely]]
    return Status::kOk;
  return lock(me, word, deadline.is_already() ? Deadline::after(kPatience) : deadline);
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

// Waits until ready() may be true, then calls then(), and gives what that gives; kTimedOut when the deadline has passed
// before. One who sleeps announces the lock that he will take until then() has it: when he dies recovery wakes the
// others, so that a wake-up that he had swallowed is not lost.
template <typename Ready, typename Then>
Status wait_at(ThreadContext& me, Gate& gate, LockWord& word, Deadline deadline, Ready&& ready, Then&& then,
               std::uint64_t look_every = kLookEvery) {
  if (deadline.is_already()) return Status::kTimedOut;
  if (spin_until(ready, look_every)) return then();
  if (deadline.passed()) return Status::kTimedOut;
  me.announce(word);
  sleep_at(gate, deadline, ready);
  Status status = then();
  me.retract(word);
  return status;
}

// Waits until ready() is true, which everybody is woken for.
template <typename Ready>
Status wait_for_all(ThreadContext& me, Gate& gate, LockWord& word, Deadline deadline, Ready&& ready) {
  while (!ready()) {
    Status status = wait_at(me, gate, word, deadline, ready, [] { return Status::kOk; });
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

// A word that only the lock's holders write.
inline Word own(const AtomicWord& word) {
  return word.load(std::memory_order_relaxed);
}

}  // namespace commonhold::shm
