// A queue as this process uses it.
#pragma once

#include <atomic>
#include <cstdint>

#include "proxy/object.h"
#include "shm/queue.h"

namespace commonhold::detail {

// What this process keeps beside a queue. A forked child inherits it, closed queues included.
template <>
struct Aside<shm::Queue> {
  std::atomic<bool> closed{false};
  std::atomic<std::uint32_t> usual_size{64};  // of items, for allocating before the lock is taken
};

inline shm::Queue& queue_of(Object& queue) {
  return structure_of<shm::Queue>(queue);
}
inline Aside<shm::Queue>& aside_of(Object& queue) {
  return static_cast<ObjectOf<shm::Queue>&>(queue).aside;
}

}  // namespace commonhold::detail
