// Waiting for changes of arrays and queues: each is seen, and no wake-up is lost.
#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "shm/any_queue.h"
#include "shm/array.h"
#include "shm/recovery.h"
#include "shm/references.h"
#include "shm/sleep_notice.h"
#include "shm/watch.h"
#include "support/ordered_queue_fixture.h"
#include "support/process_shared.h"
#include "support/queue_fixture.h"
#include "support/watching.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::QueueSide;
using shm::Status;
using shm::Watcher;

namespace {

std::unique_ptr<Watcher> watch(const TestSegment& segment, const shm::ObjectAddress& queue, QueueSide side) {
  Status status = Status::kOk;
  auto watcher = shm::watch_queue(segment.me(), queue, side, status);
  require_ok(status);
  return watcher;
}

shm::ObjectAddress make_array(const TestSegment& segment, std::uint64_t count, std::uint64_t element_bytes) {
  return segment.make({shm::ObjectKind::kArray, "", "array", {count, element_bytes}});
}

Status put(const shm::AnyQueue& queue, shm::ThreadContext& me, std::string_view item) {
  return queue.is_ring() ? queue.ring().put(me, text(item), Deadline::already())
                         : queue.ordered().put(me, text(item), 0, Deadline::already());
}
Status get(const shm::AnyQueue& queue, shm::ThreadContext& me) {
  std::string item;
  return queue.is_ring() ? queue.ring().get(me, item, Deadline::already())
                         : queue.ordered().get(me, item, nullptr, Deadline::already());
}

// Every kind of queue, with and without a limit.
std::vector<shm::ObjectAddress> make_queues(const TestSegment& segment) {
  using Mode = shm::QueueMode;
  return {make_queue(segment, 0), make_queue(segment, 0, 3), make_ordered_queue(segment, Mode::kLifo, false),
          make_ordered_queue(segment, Mode::kPriority, false, 3), make_ordered_queue(segment, Mode::kFifo, true, 3)};
}

}  // namespace

TEST_CASE("a watched queue tells what was put, what was taken, and its end, each to those who asked for it") {
  TestSegment segment;
  auto& me = segment.me();
  for (const shm::ObjectAddress& where : make_queues(segment)) {
    shm::AnyQueue queue(where);
    auto items = watch(segment, where, QueueSide::kItems), room = watch(segment, where, QueueSide::kRoom),
         both = watch(segment, where, QueueSide::kBoth);
    auto told = [&] { return std::array{changed(segment, *items), changed(segment, *room), changed(segment, *both)}; };
    for (int round = 0; round < 3; ++round) {
      REQUIRE(told() == std::array{false, false, false});
      require_ok(put(queue, me, "a"));
      REQUIRE(told() == std::array{true, false, true});
      require_ok(get(queue, me));
      REQUIRE(told() == std::array{false, true, true});
      // What failed or only looked is no change, nor is task_done.
      REQUIRE(get(queue, me) == Status::kTimedOut);
      require_ok(queue.visit([&](auto& found) { return found.task_done(me); }));
    }
    // There and back is a change all the same.
    require_ok(put(queue, me, "a"));
    require_ok(get(queue, me));
    REQUIRE(told() == std::array{true, true, true});
    require_ok(queue.visit([&](auto& found) { return found.shut_down(me, false); }));
    REQUIRE(told() == std::array{true, true, true});
    REQUIRE(told() == std::array{false, false, false});
  }
}

TEST_CASE("an item that comes again because its consumer died is told") {
  TestSegment segment;
  auto& me = segment.me();
  auto where = make_ordered_queue(segment, shm::QueueMode::kFifo, true);
  shm::AnyQueue queue(where);
  require_ok(put(queue, me, "a"));
  auto items = watch(segment, where, QueueSide::kItems);
  pid_t child = spawn([&] {
    require_ok(get(queue, segment.me()));
    kill(getpid(), SIGKILL);
  });
  REQUIRE(wait_for(child) == -SIGKILL);
  REQUIRE_FALSE(changed(segment, *items));
  REQUIRE(shm::recover_all_dead(*segment, me) == 1);
  REQUIRE(changed(segment, *items));
  REQUIRE(got(segment, queue.ordered()) == "a");
}

TEST_CASE("who watches a queue takes no wake-up from those who wait in it") {
  shm::set_sleeper_check_for_test(3600'000'000'000);
  TestSegment segment;
  for (const shm::ObjectAddress& where : make_queues(segment)) {
    shm::AnyQueue queue(where);
    std::vector<std::unique_ptr<Watcher>> watchers;
    for (int i = 0; i < 3; ++i) watchers.push_back(watch(segment, where, QueueSide::kBoth));
    constexpr int kItems = 300;
    Shared<std::atomic<int>> taken, followed;
    pid_t watcher = spawn([&] {
      auto own = watch(segment, where, QueueSide::kItems);
      while (taken->load() < kItems) {
        if (shm::wait_for_change(segment.me(), *own, Deadline::after(10ms)) == Status::kOk) followed->fetch_add(1);
      }
      segment->leave();
    });
    std::vector<pid_t> consumers;
    for (int i = 0; i < 2; ++i) {
      consumers.push_back(spawn([&] {
        std::string item;
        while (queue.visit([&](auto& found) -> bool {
          if constexpr (requires { found.get(segment.me(), item, Deadline::never()); }) {
            return found.get(segment.me(), item, Deadline::never()) == Status::kOk;
          } else {
            return found.get(segment.me(), item, nullptr, Deadline::never()) == Status::kOk;
          }
        })) {
          taken->fetch_add(1);
        }
        segment->leave();
      }));
    }
    auto end = std::chrono::steady_clock::now() + 60s;
    for (int i = 0; i < kItems; ++i) {
      require_ok(put(queue, segment.me(), "x"));
      // A lost wake-up would cost a second each time.
      while (taken->load() <= i && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(50us);
      if (i % 7 == 0) {
        for (auto& other : watchers) (void)changed(segment, *other);
      }
    }
    REQUIRE(taken->load() == kItems);
    require_ok(queue.visit([&](auto& found) { return found.shut_down(segment.me(), false); }));
    for (pid_t consumer : consumers) REQUIRE(wait_for(consumer) == 0);
    REQUIRE(wait_for(watcher) == 0);
    CHECK(followed->load() > 0);
  }
  shm::set_sleeper_check_for_test(100'000'000);
}

TEST_CASE("a watched array tells stores, slices and fills of all sizes of elements, and no look at them") {
  TestSegment segment;
  auto& me = segment.me();
  for (std::uint64_t bytes : {1, 4, 8, 24}) {
    auto where = make_array(segment, 100, bytes);
    shm::Array array(where);
    Status status = Status::kOk;
    auto watcher = shm::watch_array(me, where, status);
    require_ok(status);
    std::vector<char> element(bytes, 'e'), ten(10 * bytes, 't');
    std::vector<std::function<Status()>> changes{
        [&] { return array.store(me, 3, element.data()); },
        [&] { return array.write(me, 5, 10, ten.data()); },
        [&] { return array.fill(me, 0, 100, element.data()); },
        [&] {
          array.data()[7] = std::byte{1};  // as a program that writes through the span and says so
          array.changed();
          return Status::kOk;
        },
    };
    for (auto& change : changes) {
      REQUIRE_FALSE(changed(segment, *watcher));
      require_ok(change());
      REQUIRE(changed(segment, *watcher));
    }
    require_ok(array.load(me, 3, element.data()));
    require_ok(array.read(me, 3, 10, ten.data()));
    REQUIRE(array.store(me, 100, element.data()) == Status::kOutOfRange);
    array.data()[8] = std::byte{1};  // nobody is told
    REQUIRE_FALSE(changed(segment, *watcher));
  }
}

TEST_CASE("a process that dies tells those who watch an array that it used, and nobody else") {
  TestSegment segment;
  auto& me = segment.me();
  auto used = make_array(segment, 10, 8), other = make_array(segment, 10, 8);
  Status status = Status::kOk;
  auto watcher = shm::watch_array(me, used, status), none = shm::watch_array(me, other, status);
  pid_t child = spawn([&] {
    shm::ObjectInfo info;
    require_ok(shm::object_info(*segment, used.object, info));
    require_ok(shm::add_reference(*segment, info.id));
    kill(getpid(), SIGKILL);
  });
  REQUIRE(wait_for(child) == -SIGKILL);
  REQUIRE(shm::recover_all_dead(*segment, me) == 1);
  REQUIRE(changed(segment, *watcher));
  REQUIRE_FALSE(changed(segment, *none));
}

TEST_CASE("no change is lost between writers of arrays and queues and those who follow them") {
  shm::set_sleeper_check_for_test(3600'000'000'000);  // nothing but wake-ups
  TestSegment segment;
  auto& me = segment.me();
  constexpr std::int64_t kTurns = 3000;
  constexpr int kFollowers = 5;
  auto array_at = make_array(segment, 10, 8);
  auto ring_at = make_queue(segment, 8), ordered_at = make_ordered_queue(segment, shm::QueueMode::kLifo, false);
  shm::Array array(array_at);
  shm::Queue ring(ring_at);
  shm::OrderedQueue ordered(ordered_at);
  Shared<std::atomic<std::int64_t>> seen[kFollowers];
  // What each follower sees: the array's element (two of them), the items that were put, and those that were taken.
  auto value = [&](int which, shm::ThreadContext& own) {
    std::int64_t now = 0;
    if (which < 2) require_ok(array.load(own, 0, &now));
    auto& control = *segment->at<shm::QueueControl>(ring_at.control);
    if (which == 2) now = static_cast<std::int64_t>(control.tail.load());
    if (which == 3) now = static_cast<std::int64_t>(control.head.load());
    if (which == 4) now = static_cast<std::int64_t>(segment->at<shm::OrderedControl>(ordered_at.control)->puts.load());
    return now;
  };
  auto follow = [&](int which, std::uint64_t seed) {
    auto& own = segment.me();
    Status status = Status::kOk;
    auto watcher = which < 2 ? shm::watch_array(own, array_at, status)
                             : watch(segment, which == 4 ? ordered_at : ring_at,
                                     which == 2   ? QueueSide::kItems
                                     : which == 3 ? QueueSide::kRoom
                                                  : QueueSide::kBoth);
    require_ok(status);
    std::mt19937_64 random(seed);
    for (std::int64_t last = 0; last < kTurns;) {
      if (std::int64_t now = value(which, own); now != last) {
        seen[which]->store(last = now);
        if (random() % 2 == 0) continue;
      }
      if (last < kTurns) require_ok(shm::wait_for_change(own, *watcher, Deadline::never()));
    }
  };
  std::uint64_t seed = Catch::rngSeed();
  std::vector<pid_t> processes;
  for (int which = 0; which < kFollowers; ++which) {
    processes.push_back(spawn([&, which] {
      follow(which, seed + static_cast<std::uint64_t>(which));
      segment->leave();
    }));
  }
  std::mt19937_64 random(seed + 99);
  for (std::int64_t turn = 1; turn <= kTurns; ++turn) {
    require_ok(array.store(me, 0, &turn));
    std::int64_t item = turn;
    std::uint64_t done = 0;
    require_ok(ring.put_fixed(me, &item, 1, 8, Deadline::already(), done));
    require_ok(ring.get_fixed(me, &item, 8, Deadline::already()));
    require_ok(ordered.put(me, integer(turn), 0, Deadline::already()));
    if (random() % 4 == 0) continue;  // now and then a follower falls behind
    for (auto& follower : seen) {
      auto end = std::chrono::steady_clock::now() + 30s;
      while (follower->load() < turn) {
        if (std::chrono::steady_clock::now() > end) FAIL("a change was lost, turn " << turn);
        std::this_thread::yield();
      }
    }
  }
  for (pid_t process : processes) REQUIRE(wait_for(process) == 0);
  shm::set_sleeper_check_for_test(100'000'000);
}

TEST_CASE("a store into an array is seen after a look or told, however close the two come") {
  TestSegment segment;
  auto& me = segment.me();
  auto where = make_array(segment, 64, 8);
  shm::Array array(where);
  Status status = Status::kOk;
  auto watcher = shm::watch_array(me, where, status);
  constexpr std::int64_t kRounds = 200'000;
  std::atomic<std::int64_t> started{0}, stored{0};
  std::mt19937_64 random(Catch::rngSeed());
  const std::uint64_t writers_seed = random();
  auto pause = [](std::uint64_t times) {
    for (; times != 0; --times) asm volatile("" ::: "memory");
  };
  auto reach = [](const std::atomic<std::int64_t>& count, std::int64_t round) {
    for (int looks = 0; count.load() < round;) {
      if (++looks % 1000 == 0) std::this_thread::yield();
    }
  };
  std::thread writer([&] {
    auto& own = segment.me();
    std::mt19937_64 random(writers_seed);
    for (std::int64_t round = 1; round <= kRounds; ++round) {
      reach(started, round);
      pause(random() % 64);
      (void)array.store(own, 8, &round);
      stored.store(round);
    }
  });
  int unseen = 0, lost = 0;
  for (std::int64_t round = 1; round <= kRounds; ++round) {
    bool changed = false;
    array.changed();  // clears the flag
    started.store(round);
    pause(random() % 64);
    (void)watcher->look(me, changed);
    std::int64_t seen = 0;
    (void)array.load(me, 8, &seen);
    reach(stored, round);
    if (seen == round) continue;
    ++unseen;
    lost += watcher->futex().load() == watcher->expected();
  }
  writer.join();
  CHECK(lost == 0);
  CHECK(unseen > 0);
}

TEST_CASE("watchers of arrays and queues that were killed cost writers one needless wake-up") {
  TestSegment segment;
  auto& me = segment.me();
  auto array_at = make_array(segment, 10, 8), ring_at = make_queue(segment, 8);
  pid_t child = spawn([&] {
    Status status = Status::kOk;
    auto array = shm::watch_array(segment.me(), array_at, status);
    auto queue = watch(segment, ring_at, QueueSide::kBoth);
    kill(getpid(), SIGKILL);
  });
  REQUIRE(wait_for(child) == -SIGKILL);
  REQUIRE(shm::recover_all_dead(*segment, me) == 1);
  auto& array_control = *segment->at<shm::ArrayControl>(array_at.control);
  auto& queue_control = *segment->at<shm::QueueControl>(ring_at.control);
  REQUIRE(array_control.watched == 1);
  REQUIRE(queue_control.items.wanted == shm::kWatches);
  shm::Array array(array_at);
  shm::Queue queue(ring_at);
  std::int64_t one = 1;
  auto change = [&] {
    std::uint64_t done;
    require_ok(array.store(me, 0, &one));
    require_ok(queue.put_fixed(me, &one, 1, 8, Deadline::already(), done));
    require_ok(queue.get_fixed(me, &one, 8, Deadline::already()));
  };
  change();
  REQUIRE(array_control.watched == 0);
  REQUIRE(queue_control.items.wanted == 0);
  REQUIRE(queue_control.room.wanted == 0);
  std::uint32_t array_notes = array_control.changes, queue_notes = queue_control.changes;
  for (int i = 0; i < 10; ++i) change();
  REQUIRE(array_control.changes == array_notes);
  REQUIRE(queue_control.changes == queue_notes);
}
