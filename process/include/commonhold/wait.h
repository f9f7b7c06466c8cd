// Waiting for the first of many things: connections with something to receive, processes that end, results of a pool's
// tasks, events, locks, semaphores, barriers, queues with an item, changes (watch.h), descriptors.
//
//   for (std::size_t ready : commonhold::wait({first, second, worker, stop_event, orders})) ...
//
// What is ready is not taken: others may be faster, so take it by a call that does not wait (try_lock, try_get, ...).
//
// Thread safety: any thread. Stopped: a StopScope ended the wait (stop.h).
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include <commonhold/async_result.h>
#include <commonhold/connection.h>
#include <commonhold/detail/lock_calls.h>
#include <commonhold/process.h>
#include <commonhold/watch.h>

namespace commonhold {

class Listener;

namespace detail {

// Whether a call for the object would not wait.
template <typename T>
bool would_not_wait(const T& object) {
  if constexpr (requires { object.is_set(); }) {
    return object.is_set();
  } else if constexpr (requires { object.locked(); }) {
    return !object.locked();
  } else if constexpr (requires { object.get_value(); }) {
    return object.get_value() > 0;
  } else if constexpr (requires { object.n_waiting(); }) {
    return object.n_waiting() + 1 >= object.parties() || object.broken();
  } else {
    return object.closed() || !object.empty();
  }
}

template <typename T>
concept SyncObject = requires(const T& object) {
  { object.watch() } -> std::same_as<Watch>;
}
&&(
    requires(const T& object) { object.is_set(); } || requires(const T& object) { object.locked(); } ||
    requires(const T& object) {
      object.get_value();
      object.release();
    } ||
    requires(const T& object) { object.n_waiting(); } || requires(const T& object) { object.watch_items(); });

// An object as wait() sees it. `watch` comes into being when it must be waited for.
struct WaitedObject {
  std::function<bool()> ready;
  std::function<Watch()> watch;
};

}  // namespace detail

// Anything that can be waited for. It must outlive the call, and stay open.
class Waitable {
 public:
  Waitable(const Connection& connection) : descriptor_(connection.fileno()) {}  // the end of file is ready, too
  Waitable(const Process& process) : descriptor_(process.sentinel()) {}         // ready once it ended
  Waitable(const Listener& listener);                                           // ready when accept() has somebody
  template <typename R, bool kMany>
  Waitable(const AsyncResult<R, kMany>& result) : descriptor_(result.fileno()) {}  // once it is ready()
  Waitable(const Watch& watch) : descriptor_(watch.fd()) {}                        // until its wait(0s) is true
  Waitable(int descriptor) : descriptor_(descriptor) {}                            // that poll finds readable
  // Event: it is set. Lock, RLock: free. Semaphore: a permit is there. Barrier: all others have come. Queue: an item is
  // there, or nothing will come any more.
  template <detail::SyncObject T>
  Waitable(const T& object)
      : object_(std::make_shared<detail::WaitedObject>([object] { return detail::would_not_wait(object); },
                                                       [object] { return watch_of(object); })) {}

  int descriptor() const { return descriptor_; }  // -1 for an object
  const detail::WaitedObject* object() const { return object_.get(); }

 private:
  template <typename T>
  static Watch watch_of(const T& object) {
    if constexpr (requires { object.watch_items(); }) {
      return object.watch_items();
    } else {
      return object.watch();
    }
  }

  int descriptor_ = -1;
  std::shared_ptr<detail::WaitedObject> object_;
};

namespace detail {
std::vector<std::size_t> wait_for_any(std::span<const Waitable> objects, std::int64_t wait);
}

// The places, in `objects`, of those that are ready; at least one. Nothing is taken from them.
inline std::vector<std::size_t> wait(std::span<const Waitable> objects) {
  return detail::wait_for_any(objects, detail::kForever);
}
inline std::vector<std::size_t> wait(std::initializer_list<Waitable> objects) {
  return detail::wait_for_any({objects.begin(), objects.size()}, detail::kForever);
}
// None when nothing was ready in time. Without objects it sleeps.
template <typename Rep, typename Period>
std::vector<std::size_t> wait_for(std::span<const Waitable> objects,
                                  const std::chrono::duration<Rep, Period>& timeout) {
  return detail::wait_for_any(objects, detail::to_wait(timeout));
}
template <typename Rep, typename Period>
std::vector<std::size_t> wait_for(std::initializer_list<Waitable> objects,
                                  const std::chrono::duration<Rep, Period>& timeout) {
  return detail::wait_for_any({objects.begin(), objects.size()}, detail::to_wait(timeout));
}

}  // namespace commonhold
