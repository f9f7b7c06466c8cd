// Many items put into an ordered queue, or taken out of it, in one call.
#include <algorithm>
#include <chrono>
#include <numeric>
#include <random>

#include "shm/recovery.h"
#include "support/ordered_queue_fixture.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::QueueMode;
using shm::Status;

namespace {

Status put_all(const TestSegment& segment, const shm::OrderedQueue& queue, const std::vector<std::string>& values,
               Deadline deadline = Deadline::already()) {
  std::vector<shm::Item> items;
  for (auto& value : values) items.push_back(text(value));
  std::uint64_t done = 0;
  Status status = queue.put_many(segment.me(), items, deadline, done);
  if (status == Status::kOk) REQUIRE(done == items.size());
  return status;
}

std::vector<std::string> take(const TestSegment& segment, const shm::OrderedQueue& queue, std::uint64_t most) {
  std::vector<std::string> values;
  (void)queue.get_many(segment.me(), most, values, Deadline::already());
  return values;
}

}  // namespace

TEST_CASE("bulk calls of an ordered queue do what single ones would") {
  std::uint64_t seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (QueueMode mode : {QueueMode::kFifo, QueueMode::kLifo, QueueMode::kPriority}) {
    for (bool redeliver : {false, true}) {
      if (mode == QueueMode::kFifo && !redeliver) continue;  // that is a ring
      TestSegment segment;
      shm::OrderedQueue queue(make_ordered_queue(segment, mode, redeliver));
      struct Item {
        std::string value;
        std::uint64_t priority;
      };
      std::vector<Item> expected;
      auto insert = [&](const Item& item) {
        auto after = mode == QueueMode::kLifo ? expected.begin()
                     : mode == QueueMode::kFifo
                         ? expected.end()
                         : std::upper_bound(expected.begin(), expected.end(), item,
                                            [](auto& a, auto& b) { return a.priority < b.priority; });
        expected.insert(after, item);
      };
      for (int i = 0; i < 400; ++i) {
        const std::size_t count = random() % (i % 40 == 0 ? 300 : 12);
        switch (random() % 4) {
          case 0: {
            Item item{std::to_string(i), random() % 10};
            REQUIRE(put(segment, queue, item.value, item.priority) == Status::kOk);
            insert(item);
            break;
          }
          case 1: {
            std::vector<std::string> values(count);
            for (auto& value : values) value = std::to_string(random()) + std::string(random() % 200, 'x');
            REQUIRE(put_all(segment, queue, values) == Status::kOk);
            for (auto& value : values) insert({value, 0});
            break;
          }
          case 2: {
            std::vector<std::string> taken = take(segment, queue, count);
            REQUIRE(taken.size() == std::min(count, expected.size()));
            for (auto& value : taken) {
              REQUIRE(value == expected.front().value);
              expected.erase(expected.begin());
              if (redeliver) REQUIRE(queue.task_done(segment.me()) == Status::kOk);
            }
            break;
          }
          default:
            if (expected.empty()) break;
            REQUIRE(got(segment, queue) == expected.front().value);
            expected.erase(expected.begin());
            if (redeliver) REQUIRE(queue.task_done(segment.me()) == Status::kOk);
        }
        REQUIRE(queue.size() == expected.size());
        if (i % 50 == 0) REQUIRE(what_is_wrong(segment, queue) == "");
      }
      REQUIRE(what_is_wrong(segment, queue) == "");
    }
  }
}

TEST_CASE("what a bulk take took comes again when its consumer dies, and is taken together with the rest") {
  TestSegment segment;
  shm::OrderedQueue queue(make_ordered_queue(segment, QueueMode::kFifo, true));
  std::vector<std::string> values(100);
  for (int i = 0; i < 100; ++i) values[static_cast<std::size_t>(i)] = std::to_string(i);
  REQUIRE(put_all(segment, queue, values) == Status::kOk);
  pid_t consumer = spawn([&] {
    if (take(segment, queue, 60).size() != 60) _exit(1);
    if (queue.task_done(segment.me()) != Status::kOk) _exit(2);
    raise(SIGKILL);
  });
  REQUIRE(wait_for(consumer) == -SIGKILL);
  REQUIRE(shm::recover_all_dead(*segment, segment.me()) == 1);
  REQUIRE(queue.size() == 99);
  std::vector<std::string> again = take(segment, queue, 80);  // 59 that come again, 21 that do not
  REQUIRE(again == std::vector<std::string>(values.begin() + 1, values.begin() + 81));
  REQUIRE(queue.size() == 19);
  REQUIRE(queue.unfinished() == 99);
  for (int i = 0; i < 80; ++i) REQUIRE(queue.task_done(segment.me()) == Status::kOk);
  REQUIRE(what_is_wrong(segment, queue) == "");
}

TEST_CASE("items that were seen are taken as long as they are the first, and not else") {
  for (bool redeliver : {false, true}) {
    TestSegment segment;
    auto& me = segment.me();
    shm::OrderedQueue queue(make_ordered_queue(segment, QueueMode::kLifo, redeliver));
    REQUIRE(put_all(segment, queue, {"a", "b", "c", "d"}) == Status::kOk);
    shm::CopiedItems seen;
    REQUIRE(queue.peek_many(me, 3, seen, Deadline::already()) == Status::kOk);
    REQUIRE(seen.count() == 3);
    REQUIRE(seen.bytes(0) == "d");
    REQUIRE(queue.size() == 4);
    REQUIRE(put(segment, queue, "e") == Status::kOk);
    std::uint64_t count = 3;
    REQUIRE(queue.take_seen(me, seen.numbers, count) == Status::kMismatch);
    REQUIRE(count == 0);
    REQUIRE(queue.peek_many(me, 3, seen, Deadline::already()) == Status::kOk);
    count = 2;
    REQUIRE(queue.take_seen(me, seen.numbers, count) == Status::kOk);
    REQUIRE(count == 2);
    REQUIRE(got(segment, queue) == "c");
    REQUIRE(what_is_wrong(segment, queue) == "");
  }
}

TEST_CASE("a full segment refuses a bulk put into an ordered queue as a whole, and bulk takes empty it") {
  for (bool redeliver : {false, true}) {
    TestSegment segment(4u << 20);
    shm::OrderedQueue queue(make_ordered_queue(segment, QueueMode::kLifo, redeliver));
    std::uint64_t count = 0;
    for (std::string value(100, 'v'); put(segment, queue, value) == Status::kOk;) ++count;
    std::vector<std::string> many(1000, std::string(1000, 'm'));
    REQUIRE(put_all(segment, queue, many) == Status::kOutOfMemory);
    REQUIRE(queue.size() == count);
    REQUIRE(what_is_wrong(segment, queue) == "");
    while (count != 0) {
      std::vector<std::string> taken = take(segment, queue, 700);
      REQUIRE(!taken.empty());
      count -= taken.size();
      for (std::size_t i = 0; i < taken.size() && redeliver; ++i) {
        REQUIRE(queue.task_done(segment.me()) == Status::kOk);
      }
    }
    REQUIRE(queue.size() == 0);
    REQUIRE(what_is_wrong(segment, queue) == "");
  }
}

TEST_CASE("a bulk put into a bounded ordered queue goes on as room comes, until its deadline") {
  TestSegment segment;
  shm::OrderedQueue queue(make_ordered_queue(segment, QueueMode::kLifo, false, 4));
  std::vector<std::string> values(10, "v");
  std::vector<shm::Item> items(10, text("v"));
  std::uint64_t done = 0;
  REQUIRE(queue.put_many(segment.me(), items, Deadline::after(2ms), done) == Status::kTimedOut);
  REQUIRE(done == 4);
  pid_t consumer = spawn([&] {
    for (int taken = 0; taken < 14; ++taken) {
      if (got(segment, queue, Deadline::after(10s)) != "v") _exit(1);
    }
  });
  REQUIRE(put_all(segment, queue, values, Deadline::after(10s)) == Status::kOk);
  REQUIRE(wait_for(consumer) == 0);
}
