// Watch: waiting for a change of a dict or of one of its keys, a set or one element, a namespace or one attribute, a
// list, a value, an array or a queue.
//
//   auto watch = settings.watch("colour");        // or settings.watch(), list.watch(), value.watch(), ...
//   for (;;) {
//     use(settings.get("colour", "red"));
//     watch.wait();                               // or watch.wait(1s): false when nothing changed in that time
//   }
//
// Every change after watch() ends the next wait(), also one that came before the wait() and one that was taken back.
// wait() true means: something changed since watch(), or since the last wait() that gave true; look at the object to
// see what. Several changes may end one wait. Seldom a wait ends without a change: after a process died that may have
// made one, or when several watched keys of a dict changed at once.
//
// For an event loop: watch.fd() is readable (poll, epoll) from a change on until wait(0s) takes note of it:
//
//   epoll_ctl(epoll, EPOLL_CTL_ADD, watch.fd(), &event);  ...  if (watch.wait(0s)) reload();
//
// The first fd() of a process starts a thread that sleeps for all of its descriptors, and ends with the last of them.
//
// A writer pays one look at a flag when nobody watches, and one wake-up after each wait of a watcher. When a process
// dies: a watcher leaves nothing but a flag, which costs one writer one needless wake-up; a writer's last change is
// told within milliseconds (without a server, and for fd(), within a second).
//
// Locks, semaphores, events and barriers have a watch() too, for a wait that is over as long as a call for the object would
// not wait: wait() and fd() are then ready again and again, until the object is taken.
//
// What a program stores through an array's span() tells nobody, until it calls the array's notify().
//
// Thread safety: any thread; a wait() that gives true takes the change from other threads that wait on the same Watch
// or on a copy of it, which is the same. A forked child's copy goes on by itself; its fd() is another one.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include <commonhold/detail/call.h>
#include <commonhold/detail/item.h>
#include <commonhold/detail/lock_calls.h>
#include <commonhold/detail/object_handle.h>
#include <commonhold/detail/present.h>

namespace commonhold {

class Watch;

namespace detail {

struct WatchState;  // proxy/watch_hub.h
enum class WatchedSide : std::uint8_t { kAll, kItems, kRoom };
// `key` for a dict's key, else nullptr; `side` of a queue.
COMMONHOLD_CALL std::shared_ptr<WatchState> watch_object(const ObjectHandle& object, const Item* key, WatchedSide side);
COMMONHOLD_CALL bool watch_wait(WatchState& watch, std::int64_t wait);
COMMONHOLD_CALL int watch_fd(const std::shared_ptr<WatchState>& watch);
Watch watch(const ObjectHandle& object, const Item* key = nullptr, WatchedSide side = WatchedSide::kAll);

}  // namespace detail

class Watch {
 public:
  // For as long as it takes; true.
  bool wait() const { return detail::watch_wait(state(), detail::kForever); }
  // False: nothing changed in this time. 0s: only looks.
  template <typename Rep, typename Period>
  bool wait(const std::chrono::duration<Rep, Period>& timeout) const {
    return detail::watch_wait(state(), detail::to_wait(timeout));
  }
  template <typename Clock, typename Duration>
  bool wait_until(const std::chrono::time_point<Clock, Duration>& when) const {
    return detail::watch_wait(state(), detail::to_wait(when));
  }
  // A descriptor for poll and epoll, open as long as a copy of this Watch lives. Read nothing from it, do not close it.
  // SystemError when none can be had.
  int fd() const {
    (void)state();
    return detail::watch_fd(state_);
  }

 private:
  friend Watch detail::watch(const detail::ObjectHandle& object, const detail::Item* key, detail::WatchedSide side);
  explicit Watch(std::shared_ptr<detail::WatchState> state) : state_(std::move(state)) {}
  // UsageError for one that was moved from.
  detail::WatchState& state() const { return detail::present(state_, "a Watch"); }
  std::shared_ptr<detail::WatchState> state_;
};

inline Watch detail::watch(const ObjectHandle& object, const Item* key, WatchedSide side) {
  return Watch(watch_object(object, key, side));
}

}  // namespace commonhold
