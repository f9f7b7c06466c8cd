// Holds a lock for a scope, if it got it before a deadline.
#pragma once

#include "shm/lock_word.h"

namespace commonhold::shm {

class TimedLockGuard {
 public:
  TimedLockGuard(ThreadContext& me, LockWord& word, Deadline deadline)
      : me_(me), word_(word), held_(lock(me, word, deadline) == Status::kOk) {}
  ~TimedLockGuard() {
    if (held_) (void)unlock(me_, word_);
  }
  TimedLockGuard(const TimedLockGuard&) = delete;
  TimedLockGuard& operator=(const TimedLockGuard&) = delete;
  explicit operator bool() const { return held_; }

 private:
  ThreadContext& me_;
  LockWord& word_;
  bool held_;
};

}  // namespace commonhold::shm
