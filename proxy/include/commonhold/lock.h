// Lock: mutual exclusion between threads and processes, whoever dies.
//
//   auto lock = manager.lock();
//   {
//     std::scoped_lock guard(lock);  // or std::unique_lock; lock.try_lock_for(10ms); lock.acquire(), lock.release()
//     ...
//   }
//
// A Lock is a reference: copies mean the same lock, and const ones can be locked. It has no recursion: an owner that
// locks again, without a timeout, gets a UsageError instead of waiting for itself for ever (try_lock() is false, and
// so is try_lock_for() when its time has passed). Anybody may unlock it, as in Python; of a free lock that is NotHeld.
// A lock that is used as a signal, locked here and unlocked by another thread, is made with {.handover = true}: then
// an owner that locks it again waits for that thread.
//
// When the owner's process or thread dies: the lock is free within milliseconds, and the next owner can see it:
//
//   std::scoped_lock guard(lock);
//   if (auto pid = lock.owner_died()) repair();   // told once, to the first owner who asks
//
// A lock made with {.poison = true} goes further: acquiring it throws Poisoned until somebody has called
// mark_consistent(). A stopped owner (SIGSTOP, a debugger) keeps its lock.
//
// Thread safety: any thread of any process. An uncontended lock and unlock make no system call.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include <commonhold/detail/lock_calls.h>
#include <commonhold/detail/object_handle.h>
#include <commonhold/detail/signature.h>
#include <commonhold/errors.h>
#include <commonhold/watch.h>

namespace commonhold {

struct LockOptions {
  bool poison = false;    // when an owner dies, acquiring throws Poisoned until mark_consistent()
  bool handover = false;  // other threads unlock it (a signal): an owner that locks it again waits for them
};

class Lock {
 public:
  // ---- as std::timed_mutex; lock throws Poisoned

  void lock() const { detail::lock_acquire(*handle_, detail::kForever); }
  bool try_lock() const { return detail::lock_acquire(*handle_, 0); }
  template <typename Rep, typename Period>
  bool try_lock_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return detail::lock_acquire(*handle_, detail::to_wait(timeout));
  }
  template <typename Clock, typename Duration>
  bool try_lock_until(const std::chrono::time_point<Clock, Duration>& when) const {
    return detail::lock_acquire(*handle_, detail::to_wait(when));
  }
  void unlock() const { detail::lock_release(*handle_); }

  // ---- as in Python

  bool acquire() const { return detail::lock_acquire(*handle_, detail::kForever); }
  template <typename Rep, typename Period>
  bool acquire(const std::chrono::duration<Rep, Period>& timeout) const {
    return try_lock_for(timeout);
  }
  void release() const { unlock(); }

  // ---- who holds it, and who did

  bool locked() const { return detail::lock_is_locked(*handle_); }
  // By the calling thread.
  bool held() const { return detail::lock_is_mine(*handle_); }
  // The owner's process id; nothing when it is free.
  std::optional<int> holder() const {
    const int pid = detail::lock_holder(*handle_);
    return pid == 0 ? std::nullopt : std::optional(pid);
  }
  // REQUIRES: the caller holds the lock. The process id of the owner that died holding it; told once.
  std::optional<int> owner_died() const {
    const int pid = detail::lock_take_died(*handle_);
    return pid == 0 ? std::nullopt : std::optional(pid);
  }
  // What the lock guards is repaired: a poisoned lock can be acquired again. Ends the poison of the death that the
  // calling thread was told of last, by Poisoned or owner_died(). False: another owner has died since, and acquiring
  // throws Poisoned again.
  bool mark_consistent() const { return detail::lock_mark_consistent(*handle_); }
  // Above the tokens of all owners before (a later call of the same owner gives the same, or a higher one): pass it on
  // to what the owner writes to, so that it can refuse a former owner that comes late. NotHeld unless the calling thread
  // holds the lock.
  std::uint64_t fencing_token() const { return detail::lock_fencing_token(*handle_); }

  // <lock "stock" held by process 4711>
  friend std::ostream& operator<<(std::ostream& out, const Lock& lock);
  friend bool operator==(const Lock& a, const Lock& b) { return a.handle_ == b.handle_; }
  bool same_as(const Lock& other) const { return *this == other; }
  static constexpr bool kComparedByIdentity = true;  // so std::hash and < are there, too (identity.h)

  // ---- waiting for several objects (wait.h), in an event loop (watch.h)

  // A wait for it is true while the lock is free. Nothing is locked: another may be faster, so try_lock() it then.
  Watch watch() const { return detail::watch(handle_); }

  // ---- the object

  std::string name() const { return detail::name_of(*handle_); }
  std::string token() const { return detail::token_of(*handle_); }
  // What it was made with.
  LockOptions options() const {
    return {.poison = detail::argument_of(*handle_, 0) != 0, .handover = detail::argument_of(*handle_, 1) != 0};
  }
  static detail::ObjectRequest request() { return {detail::ObjectKind::kLock, "lock"}; }
  static detail::ObjectRequest request(const LockOptions& options) {
    return {.kind = detail::ObjectKind::kLock,
            .signature = "lock",
            .arguments = {options.poison, options.handover},
            .compared = 3};
  }

 private:
  friend struct detail::Access;
  explicit Lock(detail::ObjectHandle handle) : handle_(std::move(handle)) {}
  detail::ObjectHandle handle_;
};

// The lock that every Value and Array carries: BasicLockable, Lockable and TimedLockable as Lock, without its reports.
class InnerLock {
 public:
  explicit InnerLock(detail::Object* object = nullptr) : object_(object) {}
  void lock() const { detail::inner_acquire(*object_, detail::kForever); }
  bool try_lock() const { return detail::inner_acquire(*object_, 0); }
  template <typename Rep, typename Period>
  bool try_lock_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return detail::inner_acquire(*object_, detail::to_wait(timeout));
  }
  template <typename Clock, typename Duration>
  bool try_lock_until(const std::chrono::time_point<Clock, Duration>& when) const {
    return detail::inner_acquire(*object_, detail::to_wait(when));
  }
  void unlock() const { detail::inner_release(*object_); }

 private:
  detail::Object* object_;  // kept by the proxy that this is a part of
};

}  // namespace commonhold
