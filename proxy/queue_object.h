// A queue as this process uses it.
#pragma once

#include <atomic>
#include <cstdint>

#include "proxy/object.h"
#include "shm/any_queue.h"
#include "shm/deadline.h"

namespace commonhold::detail {

// What this process keeps beside a queue. A forked child inherits it, closed queues included.
template <>
struct Aside<shm::AnyQueue> {
  shm::Cancel closed;
  std::atomic<std::uint32_t> usual_size{64};  // of items, for allocating before the lock is taken
};

inline shm::AnyQueue& queue_of(Object& queue) {
  return structure_of<shm::AnyQueue>(queue);
}
inline Aside<shm::AnyQueue>& aside_of(Object& queue) {
  return static_cast<ObjectOf<shm::AnyQueue>&>(queue).aside;
}

}  // namespace commonhold::detail
