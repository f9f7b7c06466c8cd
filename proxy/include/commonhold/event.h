// Event: a flag that any number of threads and processes wait for.
//
//   auto ready = manager.event();
//   ready.set();                 // wakes all who wait
//   ready.wait();                // returns at once from now on, until somebody calls clear()
//   if (!ready.wait(500ms)) ...  // false: it was not set in that time
//
// A wait is true when set() happened since it began, even if clear() followed at once.
//
// An Event is a reference: copies mean the same event. A waiter that dies leaves nothing; one who dies in set() has set
// it, and then all who wait are woken, or has not.
//
// Thread safety: any thread of any process. Nothing makes a system call when nobody waits.
#pragma once

#include <chrono>
#include <ostream>
#include <string>
#include <utility>

#include <commonhold/detail/signature.h>
#include <commonhold/detail/sync_calls.h>
#include <commonhold/watch.h>

namespace commonhold {

class Event {
 public:
  bool is_set() const { return detail::event_is_set(*handle_); }
  void set() const { detail::event_set(*handle_); }
  void clear() const { detail::event_clear(*handle_); }

  bool wait() const { return detail::event_wait(*handle_, detail::kForever); }
  // Zero or less: whether it is set, without waiting.
  template <typename Rep, typename Period>
  bool wait(const std::chrono::duration<Rep, Period>& timeout) const {
    return detail::event_wait(*handle_, detail::to_wait(timeout));
  }
  template <typename Rep, typename Period>
  bool wait_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return wait(timeout);
  }
  template <typename Clock, typename Duration>
  bool wait_until(const std::chrono::time_point<Clock, Duration>& when) const {
    return detail::event_wait(*handle_, detail::to_wait(when));
  }

  // <event "ready" set>
  friend std::ostream& operator<<(std::ostream& out, const Event& event);
  friend bool operator==(const Event& a, const Event& b) { return a.handle_ == b.handle_; }
  bool same_as(const Event& other) const { return *this == other; }
  static constexpr bool kComparedByIdentity = true;  // so std::hash and < are there, too (identity.h)

  // ---- waiting for several objects (wait.h), in an event loop (watch.h)

  // A wait for it is true while the event is set, and when it was set since the last one.
  Watch watch() const { return detail::watch(handle_); }

  // ---- the object

  std::string name() const { return detail::name_of(*handle_); }
  std::string token() const { return detail::token_of(*handle_); }
  static detail::ObjectRequest request() { return {detail::ObjectKind::kEvent, "event", {}}; }

 private:
  friend struct detail::Access;
  explicit Event(detail::ObjectHandle handle) : handle_(std::move(handle)) {}
  detail::ObjectHandle handle_;
};

}  // namespace commonhold
