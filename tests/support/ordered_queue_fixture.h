// What the tests of ordered queues share.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "shm/any_queue.h"
#include "support/test_segment.h"

namespace commonhold::test {

inline shm::ObjectAddress make_ordered_queue(const TestSegment& segment, shm::QueueMode mode, bool redeliver,
                                             std::uint64_t limit = 0) {
  std::uint64_t order = mode == shm::QueueMode::kFifo ? 0 : static_cast<std::uint64_t>(mode);
  return segment.make({shm::ObjectKind::kPriorityQueue, "", "queue", {0, limit, order, redeliver ? 1u : 0u}});
}

inline std::string what_is_wrong(const TestSegment& segment, const shm::OrderedQueue& queue) {
  return queue.audit(segment.me()).error;
}

inline shm::Status put(const TestSegment& segment, const shm::OrderedQueue& queue, std::string_view item,
                       std::uint64_t priority = 0, shm::Deadline deadline = shm::Deadline::already()) {
  return queue.put(segment.me(), text(item), priority, deadline);
}

// The item, or "!" and why there is none.
inline std::string got(const TestSegment& segment, const shm::OrderedQueue& queue,
                       shm::Deadline deadline = shm::Deadline::already()) {
  std::string item;
  shm::Status status = queue.get(segment.me(), item, nullptr, deadline);
  return status == shm::Status::kOk ? item : std::string("!") + shm::to_string(status);
}

}  // namespace commonhold::test
