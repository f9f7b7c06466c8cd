// RWLock: one writer or many readers, between threads and processes, whoever dies.
//
//   auto lock = manager.rwlock();
//   {
//     std::shared_lock reading(lock);  // or lock.try_lock_shared_for(10ms); lock.acquire_shared(), release_shared()
//     ...
//   }
//   std::scoped_lock writing(lock);    // or lock.try_lock_for(10ms); lock.acquire(), lock.release(): as Lock
//
// An RWLock is a reference: copies mean the same lock, and const ones can be locked. The owner is the thread: it
// alone unlocks, else NotHeld. It may share the lock again while it shares it. Asking to write while sharing, or for
// anything while writing, is a UsageError: the thread would wait for itself for ever (try_lock and try_lock_shared
// just give false).
//
// Fair: new readers wait once a writer waits, and writers and readers who wait are served alike.
//
// When a reader or writer dies (or its thread ends): it no longer holds the lock, within milliseconds, and the next
// writer can ask whether a writer died: `if (auto pid = lock.owner_died()) repair();`. A stopped one (SIGSTOP) keeps
// it.
//
// Thread safety: any thread of any process; a thread shares at most 16 locks. Uncontended locking makes no system call,
// and readers touch no common cache line.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include <commonhold/detail/lock_calls.h>
#include <commonhold/detail/object_handle.h>
#include <commonhold/detail/semaphore_calls.h>
#include <commonhold/errors.h>

namespace commonhold {

class RWLock {
 public:
  // ---- writing, as std::shared_timed_mutex

  void lock() const { (void)detail::rwlock_acquire(*handle_, detail::kForever); }
  bool try_lock() const { return detail::rwlock_acquire(*handle_, 0); }
  template <typename Rep, typename Period>
  bool try_lock_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return detail::rwlock_acquire(*handle_, detail::to_wait(timeout));
  }
  template <typename Clock, typename Duration>
  bool try_lock_until(const std::chrono::time_point<Clock, Duration>& when) const {
    return detail::rwlock_acquire(*handle_, detail::to_wait(when));
  }
  void unlock() const { detail::rwlock_release(*handle_); }

  // ---- reading, as std::shared_timed_mutex

  void lock_shared() const { (void)detail::rwlock_acquire_shared(*handle_, detail::kForever); }
  bool try_lock_shared() const { return detail::rwlock_acquire_shared(*handle_, 0); }
  template <typename Rep, typename Period>
  bool try_lock_shared_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return detail::rwlock_acquire_shared(*handle_, detail::to_wait(timeout));
  }
  template <typename Clock, typename Duration>
  bool try_lock_shared_until(const std::chrono::time_point<Clock, Duration>& when) const {
    return detail::rwlock_acquire_shared(*handle_, detail::to_wait(when));
  }
  void unlock_shared() const { detail::rwlock_release_shared(*handle_); }

  // ---- in Python's words

  bool acquire() const { return detail::rwlock_acquire(*handle_, detail::kForever); }
  template <typename Rep, typename Period>
  bool acquire(const std::chrono::duration<Rep, Period>& timeout) const {
    return try_lock_for(timeout);
  }
  void release() const { unlock(); }
  bool acquire_shared() const { return detail::rwlock_acquire_shared(*handle_, detail::kForever); }
  template <typename Rep, typename Period>
  bool acquire_shared(const std::chrono::duration<Rep, Period>& timeout) const {
    return try_lock_shared_for(timeout);
  }
  void release_shared() const { unlock_shared(); }

  // ---- who holds it

  // By the calling thread, for writing; for reading.
  bool held() const { return detail::rwlock_is_mine(*handle_); }
  bool held_shared() const { return detail::rwlock_is_shared_by_me(*handle_); }
  // The writer's process id; nothing when nobody writes.
  std::optional<int> holder() const {
    const int pid = detail::rwlock_writer(*handle_);
    return pid == 0 ? std::nullopt : std::optional(pid);
  }
  // How many threads share it.
  int readers() const { return detail::rwlock_readers(*handle_); }
  // REQUIRES: the caller writes. The process id of the writer that died writing; told once.
  std::optional<int> owner_died() const {
    const int pid = detail::rwlock_take_died(*handle_);
    return pid == 0 ? std::nullopt : std::optional(pid);
  }

  // <rwlock "table" written by process 4711>, <rwlock "table" shared by 3 threads>, <rwlock "table" free>
  friend std::ostream& operator<<(std::ostream& out, const RWLock& lock);
  friend bool operator==(const RWLock& a, const RWLock& b) { return a.handle_ == b.handle_; }
  bool same_as(const RWLock& other) const { return *this == other; }
  static constexpr bool kComparedByIdentity = true;  // so std::hash and < are there, too (identity.h)

  // ---- the object

  std::string name() const { return detail::name_of(*handle_); }
  std::string token() const { return detail::token_of(*handle_); }
  static detail::ObjectRequest request() { return {detail::ObjectKind::kRwLock, "rwlock"}; }

 private:
  friend struct detail::Access;
  explicit RWLock(detail::ObjectHandle handle) : handle_(std::move(handle)) {}
  detail::ObjectHandle handle_;
};

}  // namespace commonhold
