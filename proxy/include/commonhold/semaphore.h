// Semaphore and BoundedSemaphore: at most so many at a time, between threads and processes, whoever dies.
//
//   auto booths = manager.semaphore(4);
//   booths.acquire();                       // or try_acquire(), try_acquire_for(10ms), std::scoped_lock guard(booths)
//   ...
//   booths.release();
//
// Names as in Python (acquire, release, get_value) and as in std::counting_semaphore (try_acquire_for, release(n),
// max). A proxy is a reference: copies mean the same semaphore, and const ones can be acquired. Anybody may release:
// what the process holds goes first; a release beyond that makes a new permit. A BoundedSemaphore never has more
// permits than at its start: releasing more is a ValueError that changes nothing.
//
// When a process dies: what it acquired and did not release itself comes back, exactly, within milliseconds; for a
// BoundedSemaphore up to its start value. A process that ends in order (it returned, or called exit in a Process) keeps
// to Python's rule: what it acquired and did not release is used up. Where a semaphore counts things that are made and
// used up and not permits that are lent, make it with {.items = true}: then nothing comes back from the dead either. A
// process gets back at most 1,048,575 permits. A stopped process (SIGSTOP) keeps what it holds.
//
// Thread safety: any thread of any process. Threads of one process hold in common. Acquiring a free permit and
// releasing it make no system call.
#pragma once

#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>
#include <utility>

#include <commonhold/detail/lock_calls.h>
#include <commonhold/detail/object_handle.h>
#include <commonhold/detail/semaphore_calls.h>
#include <commonhold/errors.h>
#include <commonhold/watch.h>

namespace commonhold {

struct SemaphoreOptions {
  bool items = false;  // it counts items that are used up: what a dead process acquired does not come back
};

namespace detail {

class AnySemaphore {
 public:
  // ---- as in Python. The durations' forms give false when the time passed

  bool acquire() const { return acquire_within(kForever); }
  template <typename Rep, typename Period>
  bool acquire(const std::chrono::duration<Rep, Period>& timeout) const {
    return try_acquire_for(timeout);
  }
  // n of 1 or more, all at once. ValueError above max(): the value is unchanged.
  void release(std::int64_t n = 1) const {
    check(*handle_);
    if (n != 1 || !view_.give()) semaphore_release(*handle_, n);
  }
  std::int64_t get_value() const { return semaphore_value(*handle_); }

  // ---- as std::counting_semaphore

  bool try_acquire() const { return acquire_within(0); }
  template <typename Rep, typename Period>
  bool try_acquire_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return acquire_within(to_wait(timeout));
  }
  template <typename Clock, typename Duration>
  bool try_acquire_until(const std::chrono::time_point<Clock, Duration>& when) const {
    return acquire_within(to_wait(when));
  }
  // What the value never exceeds: 2^31 - 1, or a BoundedSemaphore's start value.
  std::int64_t max() const { return semaphore_limit(*handle_); }

  // What it was made with.
  std::int64_t initial_value() const { return static_cast<std::int64_t>(argument_of(*handle_, 0)); }
  SemaphoreOptions options() const { return {.items = argument_of(*handle_, 2) != 0}; }

  // ---- for std::scoped_lock and std::unique_lock

  void lock() const { (void)acquire(); }
  bool try_lock() const { return try_acquire(); }
  template <typename Rep, typename Period>
  bool try_lock_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return try_acquire_for(timeout);
  }
  template <typename Clock, typename Duration>
  bool try_lock_until(const std::chrono::time_point<Clock, Duration>& when) const {
    return try_acquire_until(when);
  }
  void unlock() const { release(); }

  // What this process holds: what would come back if it died now. 0 with {.items = true}.
  std::int64_t held() const { return semaphore_held(*handle_); }

  // ---- waiting for several objects (wait.h), in an event loop (watch.h)

  // A wait for it is true while there is a permit. None is taken: another may be faster, so try_acquire() it then.
  Watch watch() const { return detail::watch(handle_); }

  // ---- the object

  std::string name() const { return name_of(*handle_); }
  std::string token() const { return token_of(*handle_); }

 protected:
  explicit AnySemaphore(ObjectHandle handle) : handle_(std::move(handle)), view_(semaphore_view(*handle_)) {}
  bool acquire_within(std::int64_t wait) const {
    check(*handle_);
    return view_.take() || semaphore_acquire(*handle_, wait);
  }
  static ObjectRequest semaphore_request(const char* signature, std::int64_t start, bool bounded) {
    if (start < 0 || start > kMostPermits) throw_bad_start(start);
    return {ObjectKind::kSemaphore, signature, {static_cast<std::uint64_t>(start), bounded}};
  }
  static ObjectRequest with(ObjectRequest request, const SemaphoreOptions* options) {
    request.compared = 1;
    if (options != nullptr) request.arguments[2] = options->items, request.compared |= 1u << 2;
    return request;
  }
  ObjectHandle handle_;
  SemaphoreView view_;
};

}  // namespace detail

class Semaphore : public detail::AnySemaphore {
 public:
  // <semaphore "booths" value=3>
  friend std::ostream& operator<<(std::ostream& out, const Semaphore& semaphore);
  friend bool operator==(const Semaphore& a, const Semaphore& b) { return a.handle_ == b.handle_; }
  bool same_as(const Semaphore& other) const { return *this == other; }
  static constexpr bool kComparedByIdentity = true;  // so std::hash and < are there, too (identity.h)
  static detail::ObjectRequest request() { return semaphore_request("semaphore", 1, false); }
  static detail::ObjectRequest request(std::int64_t start) {
    return with(semaphore_request("semaphore", start, false), nullptr);
  }
  static detail::ObjectRequest request(std::int64_t start, const SemaphoreOptions& options) {
    return with(semaphore_request("semaphore", start, false), &options);
  }

 private:
  friend struct detail::Access;
  using AnySemaphore::AnySemaphore;
};

class BoundedSemaphore : public detail::AnySemaphore {
 public:
  // <bounded_semaphore value=3 max=4>
  friend std::ostream& operator<<(std::ostream& out, const BoundedSemaphore& semaphore);
  friend bool operator==(const BoundedSemaphore& a, const BoundedSemaphore& b) { return a.handle_ == b.handle_; }
  bool same_as(const BoundedSemaphore& other) const { return *this == other; }
  static constexpr bool kComparedByIdentity = true;  // so std::hash and < are there, too (identity.h)
  static detail::ObjectRequest request() { return semaphore_request("bounded_semaphore", 1, true); }
  static detail::ObjectRequest request(std::int64_t start) {
    return with(semaphore_request("bounded_semaphore", start, true), nullptr);
  }
  static detail::ObjectRequest request(std::int64_t start, const SemaphoreOptions& options) {
    return with(semaphore_request("bounded_semaphore", start, true), &options);
  }

 private:
  friend struct detail::Access;
  using AnySemaphore::AnySemaphore;
};

}  // namespace commonhold
