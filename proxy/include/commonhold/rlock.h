// RLock: a lock that its owner may take again; it is free after as many releases.
//
//   auto lock = manager.rlock();
//   std::scoped_lock outer(lock);
//   {
//     std::scoped_lock inner(lock);   // the same thread: no wait
//   }
//
// An RLock is a reference: copies mean the same lock, and const ones can be locked. The owner is a thread of a process;
// it alone may release it: NotHeld, which names the owner, for anybody else. A forked child owns nothing of its
// parent's.
//
// When the owner's process or thread dies, however deep it held the lock: the lock is free within milliseconds, and the
// next owner can see it with owner_died(). {.poison = true} as for Lock: acquiring then throws Poisoned until somebody
// has called mark_consistent(). A stopped owner (SIGSTOP, a debugger) keeps its lock. {.handover = true} is a
// ValueError: nobody else may release it.
//
// Thread safety: any thread of any process. Uncontended or repeated locking and unlocking make no system call.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include <commonhold/detail/signature.h>
#include <commonhold/detail/sync_calls.h>
#include <commonhold/lock.h>
#include <commonhold/watch.h>

namespace commonhold {

class RLock {
 public:
  // ---- as std::recursive_timed_mutex; lock throws Poisoned

  void lock() const { detail::rlock_acquire(*handle_, detail::kForever); }
  bool try_lock() const { return detail::rlock_acquire(*handle_, 0); }
  template <typename Rep, typename Period>
  bool try_lock_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return detail::rlock_acquire(*handle_, detail::to_wait(timeout));
  }
  template <typename Clock, typename Duration>
  bool try_lock_until(const std::chrono::time_point<Clock, Duration>& when) const {
    return detail::rlock_acquire(*handle_, detail::to_wait(when));
  }
  void unlock() const { detail::rlock_release(*handle_); }

  // ---- as in Python

  bool acquire() const { return detail::rlock_acquire(*handle_, detail::kForever); }
  template <typename Rep, typename Period>
  bool acquire(const std::chrono::duration<Rep, Period>& timeout) const {
    return try_lock_for(timeout);
  }
  void release() const { unlock(); }

  // ---- who holds it, and who did

  bool locked() const { return detail::rlock_is_locked(*handle_); }
  // By the calling thread.
  bool held() const { return detail::rlock_is_mine(*handle_); }
  // How many releases its owner has still to make; 0 when it is free.
  std::uint64_t depth() const { return detail::rlock_depth(*handle_); }
  // The owner's process id; nothing when it is free.
  std::optional<int> holder() const {
    const int pid = detail::rlock_holder(*handle_);
    return pid == 0 ? std::nullopt : std::optional(pid);
  }
  // REQUIRES: the caller holds the lock. The process id of the owner that died holding it; told once.
  std::optional<int> owner_died() const {
    const int pid = detail::rlock_take_died(*handle_);
    return pid == 0 ? std::nullopt : std::optional(pid);
  }
  // What the lock guards is repaired: a poisoned lock can be acquired again. Ends the poison of the death that the
  // calling thread was told of last, by Poisoned or owner_died(). False: another owner has died since, and acquiring
  // throws Poisoned again.
  bool mark_consistent() const { return detail::rlock_mark_consistent(*handle_); }
  // As Lock's; the same at every level.
  std::uint64_t fencing_token() const { return detail::rlock_fencing_token(*handle_); }

  // <rlock "stock" held by process 4711, depth 2>
  friend std::ostream& operator<<(std::ostream& out, const RLock& lock);
  friend bool operator==(const RLock& a, const RLock& b) { return a.handle_ == b.handle_; }
  bool same_as(const RLock& other) const { return *this == other; }
  static constexpr bool kComparedByIdentity = true;  // so std::hash and < are there, too (identity.h)

  // ---- waiting for several objects (wait.h), in an event loop (watch.h)

  // A wait for it is true while the lock is free. Nothing is locked: another may be faster, so try_lock() it then.
  Watch watch() const { return detail::watch(handle_); }

  // ---- the object

  std::string name() const { return detail::name_of(*handle_); }
  std::string token() const { return detail::token_of(*handle_); }
  // What it was made with.
  LockOptions options() const { return {.poison = detail::argument_of(*handle_, 0) != 0}; }
  static detail::ObjectRequest request() { return {detail::ObjectKind::kRLock, "rlock"}; }
  // ValueError with handover: its owner alone may release it.
  static detail::ObjectRequest request(const LockOptions& options) {
    if (options.handover) detail::refuse_handover();
    return {.kind = detail::ObjectKind::kRLock, .signature = "rlock", .arguments = {options.poison}, .compared = 1};
  }

 private:
  friend struct detail::Access;
  explicit RLock(detail::ObjectHandle handle) : handle_(std::move(handle)) {}
  detail::ObjectHandle handle_;
};

}  // namespace commonhold
