// The lock that its owner may take again: a user lock that counts.
//
// INVARIANT: the owner alone writes `depth`, after it took the word and before it frees it: 0 on a free lock, at least
// 1 on a held one, but for the few instructions in between. A death leaves any depth on a held word; recovery stores
// 0 before it frees the word.
#pragma once

#include "shm/user_lock.h"

namespace commonhold::shm {

class RLock {
 public:
  explicit RLock(const ObjectAddress& where) : lock_(where) {}
  RLock(Segment& segment, UserLockControl& control) : lock_(segment, control) {}

  // Takes it when it is the caller's or free, and nothing is to be said about it.
  bool take_own_or_free(ThreadContext& me) const {
    if (lock_.held_by(me)) {
      set_depth(depth() + 1);
    } else if (lock_.take_free(me)) [[likely]] {
      set_depth(1);
    } else {
      return false;
    }
    return true;
  }
  // As UserLock::acquire, but for the owner, which has it.
  Status acquire(ThreadContext& me, Deadline deadline = Deadline::never(), std::uint32_t* died = nullptr) const {
    if (take_own_or_free(me)) [[likely]]
      return Status::kOk;
    Status status = lock_.acquire(me, deadline, died);
    if (status == Status::kOk) set_depth(1);
    return status;
  }

  // By the owner alone; kNotHeld for anybody else.
  Status release(ThreadContext& me) const {
    if (!lock_.held_by(me)) [[unlikely]]
      return Status::kNotHeld;
    return release_own(me);
  }
  // REQUIRES: the caller owns it.
  Status release_own(ThreadContext& me) const {
    std::uint64_t before = depth();
    set_depth(before - 1);
    if (before <= 1) (void)free_own_lock(me, lock_.control().word);  // nobody else frees it
    return Status::kOk;
  }

  // How often its owner holds it; 0 when free.
  std::uint64_t depth() const { return lock_.control().depth.load(std::memory_order_relaxed); }

  // What every user lock has: who holds it, who died with it.
  const UserLock& base() const { return lock_; }

 private:
  void set_depth(std::uint64_t depth) const { lock_.control().depth.store(depth, std::memory_order_relaxed); }
  UserLock lock_;
};

}  // namespace commonhold::shm
