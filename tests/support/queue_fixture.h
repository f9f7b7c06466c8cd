// What the tests of queues share: making one, and its state as its users see it.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "shm/queue.h"
#include "support/test_segment.h"

namespace commonhold::test {

// While it lives nobody who sleeps at a queue looks by himself: a wake-up that is lost stays lost.
struct NoLookingByItself {
  NoLookingByItself() { shm::set_longest_sleep_for_test(3'600'000'000'000); }
  ~NoLookingByItself() { shm::set_longest_sleep_for_test(1'000'000'000); }
};

// Items of `item_bytes` bytes, 0 for any size; at most `limit`, 0 for no limit.
inline shm::ObjectAddress make_queue(const TestSegment& segment, std::uint64_t item_bytes, std::uint64_t limit = 0) {
  return segment.make({shm::ObjectKind::kQueue, "", "queue", {item_bytes, limit}});
}

inline std::string sized(std::string text, std::uint64_t item_bytes) {
  if (item_bytes != 0) text.resize(item_bytes, '.');
  return text;
}

inline std::string what_is_wrong(const TestSegment& segment, const shm::Queue& queue) {
  return queue.audit(segment.me()).error;
}

inline std::string state_of(const shm::Queue& queue) {
  return fmt::format("{} unfinished {} ended {}", fmt::join(queue.items_for_test(), "|"), queue.unfinished(),
                     static_cast<int>(queue.ended()));
}

}  // namespace commonhold::test
