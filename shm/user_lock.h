// The lock that users hold: a lock word with what its next owner should know.
//
//   died:  | 63: to be told | 62 ... 32: how many owners died | 31 ... 0: pid of the last one, 0 once it was told |
//
// INVARIANT: recovery stores `died` before it frees the word, so the next owner sees it. Each death makes another word,
// so that who ends a poison ends the one that it knows of, and no later one.
//
// Fencing tokens are drawn by the owners that ask for one, not by each acquisition: anybody may unlock, so an owner
// that counted while it acquired could store its count after others had held the lock, and a token would come twice.
// A token is drawn by one atomic increment and given out only if the caller owns the word before and after it.
#pragma once

#include "shm/deadline.h"
#include "shm/layout.h"
#include "shm/lock_fast.h"
#include "shm/object_address.h"
#include "shm/status.h"

namespace commonhold::shm {

struct UserLockControl {
  LockWord word;
  AtomicWord
      fence;        // how many tokens were drawn; raised by owners. A death may leave it too high: a token that is lost
  AtomicWord died;  // written by recovery, and by those who are told or who end the poison; see above
  Word options;     // kPoisons, kHandedOver; written once
  AtomicWord depth;  // of an RLock, see rlock.h; 0 otherwise
  AtomicWord drawn;  // the owner's token once it drew one: thread index + 1 in bits 51-63, the token below. Cleared by
                     // each new owner, so an owner that finds its own thread there has drawn it since it acquired;
                     // a late clearing only makes it draw another
  Word unused[2];
};
static_assert(sizeof(UserLockControl) == 64);

inline constexpr Word kPoisons = 1;     // after a death acquiring fails with kPoisoned until mark_consistent
inline constexpr Word kHandedOver = 2;  // other threads unlock it: an owner that acquires again waits for them

class UserLock {
 public:
  explicit UserLock(const ObjectAddress& where);
  UserLock(Segment& segment, UserLockControl& control) : segment_(&segment), control_(&control) {}

  // Takes it when it is free and nothing is to be said about it.
  bool take_free(ThreadContext& me) const {
    if ((control_->options & kPoisons) != 0 || !take_free_lock(me, control_->word)) [[unlikely]]
      return false;
    control_->drawn.store(0, std::memory_order_relaxed);
    return true;
  }
  // kOk, kTimedOut, or kPoisoned (then the lock is not held, and `died` gets the pid of the owner that died).
  // kDeadlock: the caller owns it, waits for ever, and nobody else is to unlock it.
  Status acquire(ThreadContext& me, Deadline deadline = Deadline::never(), std::uint32_t* died = nullptr) const {
    return take_free(me) ? Status::kOk : acquire_taken(me, deadline, died);
  }
  // By anybody; kNotHeld when free.
  Status release(ThreadContext& me) const {
    if (!owns_lock(me, control_->word)) [[unlikely]]
      return unlock(me, control_->word);
    return release_own(me);
  }
  // The same for who owned it when he looked.
  Status release_own(ThreadContext& me) const {
    return free_own_lock(me, control_->word) ? Status::kOk : Status::kNotHeld;
  }
  // Takes it whatever happened to its owners: after kPoisoned it is held as after kOk.
  Status reacquire(ThreadContext& me, std::uint32_t* died = nullptr) const;

  bool locked() const;
  bool held_by(const ThreadContext& me) const { return owns_lock(me, control_->word); }
  std::uint32_t holder_pid() const;  // 0 when free
  // The pid of the last owner that died holding the lock, 0 for none. Kept until take_died(), or for a lock that
  // poisons until mark_consistent().
  std::uint32_t died_pid() const;
  std::uint32_t take_died() const;
  // By anybody. Ends the poison of the death that the calling thread was told of last, by kPoisoned or take_died(); of
  // any where it was told of none. False: another owner has died since, and the lock is still poisoned.
  bool mark_consistent() const;
  // Above those of all owners before; the same each time while the caller holds the lock, or higher where a former
  // owner, unlocked by another, finishes its acquisition meanwhile. 0: the caller does not hold it.
  std::uint64_t fencing_token(const ThreadContext& me) const;

  UserLockControl& control() const { return *control_; }

  static Status create(ThreadContext& me, std::uint32_t object, Word options, Offset& control);
  // Also wakes all who wait in conditions on this lock: the dead owner may not have told them what it changed.
  static void repair(ThreadContext& me, const ObjectAddress& where, LockWord& held);
  static void repair_control(ThreadContext& me, UserLockControl& control);
  static void each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word));

 private:
  Status acquire_taken(ThreadContext& me, Deadline deadline, std::uint32_t* died) const;
  Status taken(std::uint32_t* died) const;

  Segment* segment_;
  UserLockControl* control_;
};

}  // namespace commonhold::shm
