// Waiting for the first of many things: connections with something to receive, processes that end, results of a pool's
// tasks, descriptors.
//
//   for (std::size_t ready : commonhold::wait({first, second, worker})) ...
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include <commonhold/async_result.h>
#include <commonhold/connection.h>
#include <commonhold/detail/lock_calls.h>
#include <commonhold/process.h>

namespace commonhold {

class Listener;

// Anything that can be waited for. It must outlive the call, and stay open.
class Waitable {
 public:
  Waitable(const Connection& connection) : descriptor_(connection.fileno()) {}  // the end of file is ready, too
  Waitable(const Process& process) : descriptor_(process.sentinel()) {}         // ready once it ended
  Waitable(const Listener& listener);                                           // ready when accept() has somebody
  template <typename R, bool kMany>
  Waitable(const AsyncResult<R, kMany>& result) : descriptor_(result.fileno()) {}  // once it is ready()
  Waitable(int descriptor) : descriptor_(descriptor) {}                            // that poll finds readable
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
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
