#include "shm/ordered_queue.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "shm/recovery.h"
#include "support/ordered_queue_fixture.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::QueueMode;
using shm::Status;

// The number of an object that there is not: what it owns nobody else can have.
constexpr std::uint32_t kNobody = 54'321;

TEST_CASE("an ordered queue gives first in first out, last in first out, or the lowest priority first") {
  for (QueueMode mode : {QueueMode::kFifo, QueueMode::kLifo, QueueMode::kPriority}) {
    TestSegment segment;
    shm::OrderedQueue queue(make_ordered_queue(segment, mode, mode == QueueMode::kFifo));
    struct Item {
      std::string value;
      std::uint64_t priority;
    };
    std::vector<Item> expected;
    std::uint64_t seed = std::random_device()();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    for (int i = 0; i < 5000; ++i) {
      if (expected.empty() || random() % 5 < 3) {
        Item item{std::to_string(i) + std::string(random() % 100, 'x'), random() % 10};
        REQUIRE(put(segment, queue, item.value, item.priority) == Status::kOk);
        if (mode == QueueMode::kLifo) {
          expected.insert(expected.begin(), item);
        } else if (mode == QueueMode::kFifo) {
          expected.push_back(item);
        } else {  // behind its equals
          auto after = std::upper_bound(expected.begin(), expected.end(), item,
                                        [](auto& a, auto& b) { return a.priority < b.priority; });
          expected.insert(after, item);
        }
      } else {
        REQUIRE(got(segment, queue) == expected.front().value);
        expected.erase(expected.begin());
      }
      REQUIRE(queue.size() == expected.size());
    }
    REQUIRE(what_is_wrong(segment, queue) == "");
    for (auto& item : expected) REQUIRE(got(segment, queue) == item.value);
    REQUIRE(got(segment, queue) == "!timed out");
    REQUIRE(what_is_wrong(segment, queue) == "");
  }
}

TEST_CASE("an ordered queue of a limit is full at it, and tasks are counted") {
  TestSegment segment;
  shm::OrderedQueue queue(make_ordered_queue(segment, QueueMode::kLifo, false, 2));
  REQUIRE(queue.task_done(segment.me()) == Status::kNotHeld);
  REQUIRE(put(segment, queue, "a") == Status::kOk);
  REQUIRE(put(segment, queue, "b") == Status::kOk);
  REQUIRE(put(segment, queue, "c") == Status::kTimedOut);
  REQUIRE(put(segment, queue, "c", 0, Deadline::after(5ms)) == Status::kTimedOut);
  REQUIRE(queue.unfinished() == 2);
  REQUIRE(got(segment, queue) == "b");
  REQUIRE(queue.task_done(segment.me()) == Status::kOk);
  REQUIRE(queue.join(segment.me(), Deadline::after(5ms)) == Status::kTimedOut);
  REQUIRE(queue.task_done(segment.me()) == Status::kOk);
  REQUIRE(queue.join(segment.me(), Deadline::already()) == Status::kOk);
  REQUIRE(queue.task_done(segment.me()) == Status::kNotHeld);
}

TEST_CASE("an item whose consumer died before task_done is delivered again, before all others") {
  TestSegment segment;
  shm::OrderedQueue queue(make_ordered_queue(segment, QueueMode::kFifo, true));
  for (const char* item : {"first", "second", "third", "fourth"}) REQUIRE(put(segment, queue, item) == Status::kOk);
  pid_t consumer = spawn([&] {
    if (got(segment, queue) != "first" || got(segment, queue) != "second") _exit(1);
    if (queue.task_done(segment.me()) != Status::kOk) _exit(2);  // of the first
    if (got(segment, queue) != "third") _exit(3);
    raise(SIGKILL);
  });
  REQUIRE(wait_for(consumer) == -SIGKILL);
  REQUIRE(queue.size() == 1);
  REQUIRE(queue.unfinished() == 3);
  REQUIRE(shm::recover_all_dead(*segment, segment.me()) == 1);
  REQUIRE(queue.size() == 3);
  REQUIRE(got(segment, queue) == "second");
  REQUIRE(got(segment, queue) == "third");
  REQUIRE(got(segment, queue) == "fourth");
  REQUIRE(queue.unfinished() == 3);
  for (int i = 0; i < 3; ++i) REQUIRE(queue.task_done(segment.me()) == Status::kOk);
  REQUIRE(queue.join(segment.me(), Deadline::already()) == Status::kOk);
  REQUIRE(queue.task_done(segment.me()) == Status::kNotHeld);
  REQUIRE(what_is_wrong(segment, queue) == "");
}

TEST_CASE("after a death at its lock a wait for an ordered queue's item still ends at its deadline") {
  for (QueueMode mode : {QueueMode::kFifo, QueueMode::kLifo, QueueMode::kPriority}) {
    TestSegment segment;
    auto where = make_ordered_queue(segment, mode, mode == QueueMode::kFifo);
    shm::OrderedQueue queue(where);
    pid_t victim = spawn([&] {
      shm::OrderedQueue::each_lock(where, &segment, [](void* context, shm::LockWord& word) {
        if (!try_lock(static_cast<TestSegment*>(context)->me(), word)) _exit(1);
      });
      raise(SIGKILL);
    });
    REQUIRE(wait_for(victim) == -SIGKILL);
    REQUIRE(shm::recover_all_dead(*segment, segment.me()) == 1);
    pid_t waiter = spawn([&] {
      alarm(10);
      if (got(segment, queue, Deadline::after(2ms)) != "!timed out") _exit(1);
    });
    REQUIRE(wait_for(waiter) == 0);
    REQUIRE(what_is_wrong(segment, queue) == "");
  }
}

TEST_CASE("items of a thread that ends are delivered again, and another thread of the process can mark them done") {
  TestSegment segment;
  shm::OrderedQueue queue(make_ordered_queue(segment, QueueMode::kFifo, true));
  REQUIRE(put(segment, queue, "a") == Status::kOk);
  REQUIRE(put(segment, queue, "b") == Status::kOk);
  std::thread([&] {
    REQUIRE(got(segment, queue) == "a");
    REQUIRE(got(segment, queue) == "b");
    std::thread([&] { REQUIRE(queue.task_done(segment.me()) == Status::kOk); }).join();
  }).join();
  REQUIRE(queue.size() == 1);
  REQUIRE(got(segment, queue) == "b");
  REQUIRE(queue.task_done(segment.me()) == Status::kOk);
}

TEST_CASE("a sleeping consumer is woken for an item that is delivered again") {
  TestSegment segment;
  shm::OrderedQueue queue(make_ordered_queue(segment, QueueMode::kFifo, true));
  REQUIRE(put(segment, queue, "item") == Status::kOk);
  pid_t consumer = spawn([&] {
    if (got(segment, queue) != "item") _exit(1);
    std::this_thread::sleep_for(50ms);
    raise(SIGKILL);
  });
  while (queue.size() != 0) std::this_thread::yield();
  std::string item;
  std::thread waiter([&] { item = got(segment, queue, Deadline::never()); });
  REQUIRE(wait_for(consumer) == -SIGKILL);
  REQUIRE(shm::recover_all_dead(*segment, segment.me()) == 1);
  waiter.join();
  REQUIRE(item == "item");
}

TEST_CASE("consumers that are killed one after another lose no item that is to be delivered again") {
  TestSegment segment;
  shm::OrderedQueue queue(make_ordered_queue(segment, QueueMode::kFifo, true));
  constexpr int kItems = 3000;
  struct Done {
    std::atomic<std::uint8_t> times[kItems];
    std::atomic<bool> began;
  };
  Shared<Done> done;
  for (int i = 0; i < kItems; ++i) REQUIRE(put(segment, queue, std::to_string(i)) == Status::kOk);
  std::uint64_t seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (int death = 0; death < 100; ++death) {
    done->began = false;
    pid_t consumer = spawn([&] {
      auto& me = segment.me();
      for (std::string item;;) {
        if (queue.get(me, item, nullptr, Deadline::already()) != Status::kOk) break;
        done->began = true;
        done->times[std::stoi(item)].fetch_add(1);
        if (queue.task_done(me) != Status::kOk) _exit(1);
      }
      done->began = true;
      pause();
    });
    while (!done->began) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
    kill(consumer, SIGKILL);
    REQUIRE(wait_for(consumer) == -SIGKILL);
    REQUIRE(shm::recover_all_dead(*segment, segment.me()) == 1);
    REQUIRE(what_is_wrong(segment, queue) == "");
  }
  for (std::string item; queue.get(segment.me(), item, nullptr, Deadline::already()) == Status::kOk;) {
    done->times[std::stoi(item)].fetch_add(1);
    REQUIRE(queue.task_done(segment.me()) == Status::kOk);
  }
  REQUIRE(queue.unfinished() == 0);
  int again = 0;
  for (auto& times : done->times) {
    REQUIRE(times >= 1);
    again += times - 1;
  }
  REQUIRE(again <= 100);  // one consumer worked on one item at a time
}

TEST_CASE("a full segment refuses an ordered put, and what was there comes out") {
  for (QueueMode mode : {QueueMode::kFifo, QueueMode::kLifo, QueueMode::kPriority}) {
    for (bool redeliver : {false, true}) {
      for (std::size_t size : {10, 1000}) {
        if (mode == QueueMode::kFifo && !redeliver) continue;  // that is a ring
        INFO("mode " << static_cast<int>(mode) << (redeliver ? " redelivering, " : ", ") << size << " bytes");
        TestSegment segment(2u << 20);
        shm::OrderedQueue queue(make_ordered_queue(segment, mode, redeliver));
        std::uint64_t count = 0;
        while (put(segment, queue, std::string(size, 'x'), count % 7) == Status::kOk) ++count;
        shm::Offset rest = 0;
        while (shm::take_chunk(segment.me(), shm::ChunkOwner(kNobody, 0), 1024, rest) == Status::kOk) {
        }
        while (put(segment, queue, std::string(size, 'x'), count % 7) == Status::kOk) ++count;
        REQUIRE(put(segment, queue, std::string(size, 'x')) == Status::kOutOfMemory);
        REQUIRE(what_is_wrong(segment, queue) == "");
        REQUIRE(queue.size() == count);
        for (; count != 0; --count) {
          REQUIRE(got(segment, queue) == std::string(size, 'x'));
          REQUIRE(queue.task_done(segment.me()) == Status::kOk);
        }
        REQUIRE(what_is_wrong(segment, queue) == "");
      }
    }
  }
}
