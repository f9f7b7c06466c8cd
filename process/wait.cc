#include <commonhold/listener.h>
#include <commonhold/wait.h>
#include <errno.h>

#include <algorithm>
#include <chrono>

#include "process/readiness.h"
#include "process/wire.h"

namespace commonhold {

Waitable::Waitable(const Listener& listener) : descriptor_(listener.fileno()) {}

namespace detail {

int wait_ready(std::span<pollfd> descriptors, std::int64_t wait) {
  using Clock = std::chrono::steady_clock;
  const auto end = wait == kForever ? Clock::time_point::max() : Clock::now() + std::chrono::nanoseconds(wait);
  for (;;) {
    int milliseconds = -1;
    if (wait != kForever) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
      milliseconds = static_cast<int>(std::clamp<std::int64_t>(left, 0, 1 << 30));
    }
    const int ready = poll(descriptors.data(), descriptors.size(), milliseconds);
    if (ready > 0) return ready;
    if (ready < 0 && errno != EINTR) throw_wire_error("waiting", errno);
    if (wait != kForever && Clock::now() >= end) return 0;
  }
}

std::vector<std::size_t> wait_for_any(std::span<const Waitable> objects, std::int64_t wait) {
  std::vector<pollfd> polled;
  for (const Waitable& object : objects) {
    if (object.descriptor() < 0) throw ValueError("wait() for the descriptor " + std::to_string(object.descriptor()));
    polled.push_back({object.descriptor(), POLLIN, 0});
  }
  std::vector<std::size_t> ready;
  if (wait_ready(polled, wait) == 0) return ready;
  for (std::size_t i = 0; i < polled.size(); ++i) {
    if ((polled[i].revents & POLLNVAL) != 0) {
      throw Closed("wait() for the descriptor " + std::to_string(polled[i].fd) + ", which is closed");
    }
    if (polled[i].revents != 0) ready.push_back(i);
  }
  return ready;
}

}  // namespace detail

}  // namespace commonhold
