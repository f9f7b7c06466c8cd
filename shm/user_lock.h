// The lock that users hold: a lock word with what its next owner should know.
//
// INVARIANT: recovery stores `died` before it frees the word, so the next owner sees it.
#pragma once

#include "shm/deadline.h"
#include "shm/layout.h"
#include "shm/lock_fast.h"
#include "shm/object_address.h"
#include "shm/status.h"

namespace commonhold::shm {

struct UserLockControl {
  LockWord word;
  AtomicWord fence;  // raised by each new owner: a token that orders owners
  AtomicWord died;   // pid of an owner that died holding the lock, bit 63 set; cleared by the owner that was told
  Word poisons;      // 1: after a death acquiring fails with kPoisoned until mark_consistent; written once
  AtomicWord depth;  // of an RLock, see rlock.h; 0 otherwise
  Word unused[3];
};
static_assert(sizeof(UserLockControl) == 64);

class UserLock {
 public:
  explicit UserLock(const ObjectAddress& where);
  UserLock(Segment& segment, UserLockControl& control) : segment_(&segment), control_(&control) {}

  // Takes it when it is free and nothing is to be said about it.
  bool take_free(ThreadContext& me) const {
    if (control_->poisons != 0 || !take_free_lock(me, control_->word)) [[unlikely]]
      return false;
    // Only the holder writes it.
    control_->fence.store(control_->fence.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return true;
  }
  // kOk, kTimedOut, or kPoisoned (then the lock is not held).
  Status acquire(ThreadContext& me, Deadline deadline = Deadline::never()) const {
    return take_free(me) ? Status::kOk : acquire_taken(me, deadline);
  }
  // By anybody; kNotHeld when free.
  Status release(ThreadContext& me) const {
    if (!owns_lock(me, control_->word)) [[unlikely]]
      return unlock(me, control_->word);
    release_own(me);
    return Status::kOk;
  }
  // REQUIRES: the caller owns it.
  void release_own(ThreadContext& me) const { free_own_lock(me, control_->word); }
  // Takes it whatever happened to its owners: after kPoisoned it is held as after kOk.
  Status reacquire(ThreadContext& me) const;

  bool locked() const;
  bool held_by(const ThreadContext& me) const { return owns_lock(me, control_->word); }
  std::uint32_t holder_pid() const;  // 0 when free
  // The pid of the last owner that died holding the lock, 0 for none. Kept until take_died(), or for a lock that
  // poisons until mark_consistent().
  std::uint32_t died_pid() const;
  std::uint32_t take_died() const;
  void mark_consistent() const;  // by anybody; ends the poison
  // Rises with every acquisition. REQUIRES: the caller holds the lock.
  std::uint64_t fencing_token() const;

  UserLockControl& control() const { return *control_; }

  static Status create(ThreadContext& me, std::uint32_t object, bool poisons, Offset& control);
  // Also wakes all who wait in conditions on this lock: the dead owner may not have told them what it changed.
  static void repair(ThreadContext& me, const ObjectAddress& where, LockWord& held);
  static void repair_control(ThreadContext& me, UserLockControl& control);
  static void each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word));

 private:
  Status acquire_taken(ThreadContext& me, Deadline deadline) const;

  Segment* segment_;
  UserLockControl* control_;
};

}  // namespace commonhold::shm
