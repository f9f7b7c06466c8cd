// Condition: threads and processes wait under a lock until another tells them that something has changed.
//
//   auto filled = manager.condition();          // with an RLock of its own
//   {
//     std::unique_lock guard(filled);           // a condition locks and unlocks its lock
//     filled.wait_for([&] { return !items.empty(); });
//     ...
//   }
//   {
//     std::scoped_lock guard(filled);
//     items.push_back(7);
//     filled.notify();
//   }
//
// Several conditions may share a Lock or RLock, which they keep alive:
//
//   auto lock = manager.lock();
//   auto filled = manager.condition(lock), emptied = manager.condition(lock);
//   std::unique_lock guard(lock);
//   filled.wait(guard, [&] { return !items.empty(); });
//
// wait() and notify() are for the lock's holder: NotHeld otherwise. wait() gives the lock up however deep it is held,
// and has it again, as deep, when it returns or throws. notify(n) tells the n that have waited longest, and nobody when
// nobody waits; one whose time passed or who died takes nothing from the others.
//
// When a process dies: as a waiter that was told and had not got the lock yet, its notification goes to the next who
// waited when it was given. As the holder of the lock, all who wait under that lock are woken, for nobody knows what it
// had changed: their wait() returns true, and owner_died() tells. So wait in a loop, or with a predicate. If the lock
// poisons, wait() throws Poisoned, with the lock held.
//
// Thread safety: any thread of any process. notify() makes no system call when nobody waits.
#pragma once

#include <chrono>
#include <concepts>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

#include <commonhold/detail/signature.h>
#include <commonhold/detail/sync_calls.h>
#include <commonhold/rlock.h>

namespace commonhold {

namespace detail {
// What holds the condition's lock: std::unique_lock of a Condition, Lock or RLock, or one of these itself.
template <typename Guard>
concept LockGuard = requires(Guard& guard) {
  guard.lock();
  guard.unlock();
};
}  // namespace detail

class Condition {
 public:
  // ---- its lock: BasicLockable, Lockable and TimedLockable; lock throws Poisoned, unlock NotHeld

  void lock() const { detail::condition_acquire(*handle_, detail::kForever); }
  bool try_lock() const { return detail::condition_acquire(*handle_, 0); }
  template <typename Rep, typename Period>
  bool try_lock_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return detail::condition_acquire(*handle_, detail::to_wait(timeout));
  }
  template <typename Clock, typename Duration>
  bool try_lock_until(const std::chrono::time_point<Clock, Duration>& when) const {
    return detail::condition_acquire(*handle_, detail::to_wait(when));
  }
  void unlock() const { detail::condition_release(*handle_); }
  bool acquire() const { return detail::condition_acquire(*handle_, detail::kForever); }
  template <typename Rep, typename Period>
  bool acquire(const std::chrono::duration<Rep, Period>& timeout) const {
    return try_lock_for(timeout);
  }
  void release() const { unlock(); }
  bool held() const { return detail::condition_is_mine(*handle_); }
  // REQUIRES: the caller holds the lock. The process id of the lock's owner that died holding it; told once.
  std::optional<int> owner_died() const {
    const int pid = detail::condition_take_died(*handle_);
    return pid == 0 ? std::nullopt : std::optional(pid);
  }

  // ---- as in Python. True: told. False: the time passed; zero or less gives the lock up once and waits no further

  bool wait() const { return detail::condition_wait(*handle_, detail::kForever); }
  template <typename Rep, typename Period>
  bool wait(const std::chrono::duration<Rep, Period>& timeout) const {
    return detail::condition_wait(*handle_, detail::to_wait(timeout));
  }
  // Waits until predicate() is true, and returns what it returned last. It is called here, with the lock held; what it
  // throws leaves this call, with the lock held.
  template <std::invocable Predicate>
  auto wait_for(Predicate&& predicate) const {
    auto result = std::invoke(predicate);
    while (!static_cast<bool>(result)) {
      detail::condition_wait(*handle_, detail::kForever);
      result = std::invoke(predicate);
    }
    return result;
  }
  // ... or until the time, one for all waits together, has passed.
  template <std::invocable Predicate, typename Rep, typename Period>
  auto wait_for(Predicate&& predicate, const std::chrono::duration<Rep, Period>& timeout) const {
    return wait_by(predicate, detail::to_wait(timeout));
  }

  // ---- as std::condition_variable_any. The guard is of this condition's lock; it still holds it afterwards

  template <detail::LockGuard Guard>
  void wait(Guard&) const {
    wait();
  }
  template <detail::LockGuard Guard, std::predicate Predicate>
  void wait(Guard&, Predicate predicate) const {
    while (!predicate()) wait();
  }
  template <detail::LockGuard Guard, typename Rep, typename Period>
  std::cv_status wait_for(Guard&, const std::chrono::duration<Rep, Period>& timeout) const {
    return wait(timeout) ? std::cv_status::no_timeout : std::cv_status::timeout;
  }
  template <detail::LockGuard Guard, typename Rep, typename Period, std::predicate Predicate>
  bool wait_for(Guard&, const std::chrono::duration<Rep, Period>& timeout, Predicate predicate) const {
    return wait_by(predicate, detail::to_wait(timeout));
  }
  template <detail::LockGuard Guard, typename Clock, typename Duration>
  std::cv_status wait_until(Guard&, const std::chrono::time_point<Clock, Duration>& when) const {
    return detail::condition_wait(*handle_, detail::to_wait(when)) ? std::cv_status::no_timeout
                                                                   : std::cv_status::timeout;
  }
  template <detail::LockGuard Guard, typename Clock, typename Duration, std::predicate Predicate>
  bool wait_until(Guard&, const std::chrono::time_point<Clock, Duration>& when, Predicate predicate) const {
    return wait_by(predicate, detail::to_wait(when));
  }

  // ---- telling. Those who are told go on when the caller has released the lock

  // The `count` that have waited longest; zero or less: nobody.
  void notify(std::int64_t count = 1) const {
    detail::condition_notify(*handle_, count > 0 ? static_cast<std::uint64_t>(count) : 0);
  }
  void notify_one() const { notify(1); }
  void notify_all() const { detail::condition_notify(*handle_, std::numeric_limits<std::uint64_t>::max()); }

  // How many wait and were not told yet, at this moment.
  std::uint64_t n_waiting() const { return detail::condition_waiting(*handle_); }

  // <condition "filled" held by process 4711, 2 waiting>
  friend std::ostream& operator<<(std::ostream& out, const Condition& condition);
  friend bool operator==(const Condition& a, const Condition& b) { return a.handle_ == b.handle_; }
  bool same_as(const Condition& other) const { return *this == other; }
  static constexpr bool kComparedByIdentity = true;  // so std::hash and < are there, too (identity.h)

  // ---- the object

  std::string name() const { return detail::name_of(*handle_); }
  std::string token() const { return detail::token_of(*handle_); }
  static detail::ObjectRequest request() { return {detail::ObjectKind::kCondition, "condition", {}}; }
  static detail::ObjectRequest request(const Lock& lock) { return on(detail::Access::handle(lock)); }
  static detail::ObjectRequest request(const RLock& lock) { return on(detail::Access::handle(lock)); }

 private:
  friend struct detail::Access;
  explicit Condition(detail::ObjectHandle handle) : handle_(std::move(handle)) {}
  static detail::ObjectRequest on(const detail::ObjectHandle& lock) { return detail::condition_on(*lock); }
  template <typename Predicate>
  auto wait_by(Predicate&& predicate, std::int64_t wait) const {
    auto result = std::invoke(predicate);
    if (wait == detail::kForever) {
      while (!static_cast<bool>(result)) {
        detail::condition_wait(*handle_, detail::kForever);
        result = std::invoke(predicate);
      }
      return result;
    }
    const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(wait);
    while (!static_cast<bool>(result)) {
      const std::int64_t left = detail::to_wait(end - std::chrono::steady_clock::now());
      if (left == 0) break;
      detail::condition_wait(*handle_, left);
      result = std::invoke(predicate);
    }
    return result;
  }
  detail::ObjectHandle handle_;
};

}  // namespace commonhold
