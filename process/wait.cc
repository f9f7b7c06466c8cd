#include <commonhold/detail/stopping.h>
#include <commonhold/listener.h>
#include <commonhold/wait.h>
#include <errno.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "process/readiness.h"
#include "process/wire.h"

namespace commonhold {

Waitable::Waitable(const Listener& listener) : descriptor_(listener.fileno()) {}

namespace detail {

namespace {

using Clock = std::chrono::steady_clock;

int poll_until(std::span<pollfd> descriptors, std::int64_t wait) {
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

}  // namespace

int wait_ready(std::span<pollfd> descriptors, std::int64_t wait) {
  if (wait != 0 && in_stop_scope()) {
    std::vector<pollfd> all(descriptors.begin(), descriptors.end());
    all.push_back({stop_descriptor(), POLLIN, 0});
    int ready = poll_until(all, wait);
    std::copy(all.begin(), all.end() - 1, descriptors.begin());
    if (all.back().revents != 0) --ready;
    if (ready == 0) end_if_stopped("a wait");
    return ready;
  }
  return poll_until(descriptors, wait);
}

namespace {

std::int64_t left_until(Clock::time_point end, std::int64_t wait) {
  if (wait == kForever || wait == 0) return wait;
  return std::max<std::int64_t>(std::chrono::nanoseconds(end - Clock::now()).count(), 0);
}

// One round: the places that are ready, of descriptors and of objects. `watches` wait for the objects; while there are
// none, nobody sleeps.
std::vector<std::size_t> look_or_sleep(std::span<const Waitable> objects, std::vector<std::optional<Watch>>& watches,
                                       std::int64_t wait) {
  std::vector<std::size_t> ready;
  std::vector<pollfd> polled;
  bool any_object = false;
  for (std::size_t i = 0; i < objects.size(); ++i) {
    const WaitedObject* object = objects[i].object();
    if (object == nullptr && objects[i].descriptor() < 0) {
      throw ValueError("wait() for the descriptor " + std::to_string(objects[i].descriptor()));
    }
    if (object != nullptr && object->ready()) any_object = true;
    polled.push_back({object == nullptr ? objects[i].descriptor() : watches[i] ? watches[i]->fd() : -1, POLLIN, 0});
  }
  if (wait_ready(polled, any_object ? 0 : wait) == 0 && !any_object) return ready;
  for (std::size_t i = 0; i < polled.size(); ++i) {
    if ((polled[i].revents & POLLNVAL) != 0) {
      throw Closed("wait() for the descriptor " + std::to_string(polled[i].fd) + ", which is closed");
    }
    if (const WaitedObject* object = objects[i].object()) {
      if (polled[i].revents != 0) (void)watches[i]->wait(std::chrono::seconds(0));
      if (object->ready()) ready.push_back(i);
    } else if (polled[i].revents != 0) {
      ready.push_back(i);
    }
  }
  return ready;
}

}  // namespace

std::vector<std::size_t> wait_for_any(std::span<const Waitable> objects, std::int64_t wait) {
  const auto end = wait == kForever ? Clock::time_point::max() : Clock::now() + std::chrono::nanoseconds(wait);
  std::vector<std::optional<Watch>> watches(objects.size());
  const bool has_objects =
      std::any_of(objects.begin(), objects.end(), [](auto& one) { return one.object() != nullptr; });
  if (has_objects) {
    auto ready = look_or_sleep(objects, watches, 0);
    if (!ready.empty() || wait == 0) return ready;
    // What becomes ready from here on is seen by a watch, or by the look of the first round.
    for (std::size_t i = 0; i < objects.size(); ++i) {
      if (objects[i].object() != nullptr) watches[i] = objects[i].object()->watch();
    }
  }
  for (;;) {
    const std::int64_t left = left_until(end, wait);
    auto ready = look_or_sleep(objects, watches, left);
    if (!ready.empty() || (wait != kForever && left == 0)) return ready;
  }
}

}  // namespace detail

}  // namespace commonhold
