// One writer or many readers, and what a death or a stop does to the others.
#include "shm/rw_lock.h"

#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "shm/lock_word.h"
#include "shm/recovery.h"
#include "shm/sleep_notice.h"
#include "support/kill_storm.h"
#include "support/process_shared.h"
#include "support/require_ok.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::RwLock;
using shm::Status;

namespace {

shm::ObjectAddress make(const TestSegment& segment) {
  return segment.make({shm::ObjectKind::kRwLock, "", "rwlock", {}});
}

// A child that holds the lock, in one way or the other, until it is killed.
pid_t spawn_holder(const TestSegment& segment, const shm::ObjectAddress& where, bool writes) {
  Shared<std::atomic<bool>> holds;
  pid_t child = spawn([&] {
    RwLock lock(where);
    require_ok(writes ? lock.acquire(segment.me()) : lock.acquire_shared(segment.me()));
    holds->store(true);
    for (;;) pause();
  });
  while (!holds->load()) std::this_thread::yield();
  return child;
}

}  // namespace

TEST_CASE("readers share, a writer excludes") {
  TestSegment segment;
  RwLock lock(make(segment));
  auto& me = segment.me();
  require_ok(lock.acquire_shared(me));
  REQUIRE(lock.shared_by(me));
  REQUIRE(lock.readers() == 1);
  std::thread([&] {
    auto& other = segment.me();
    require_ok(lock.acquire_shared(other, Deadline::already()));
    REQUIRE(lock.readers() == 2);
    require_ok(lock.release_shared(other));
    REQUIRE(lock.acquire(other, Deadline::already()) == Status::kTimedOut);
    REQUIRE(lock.acquire(other, Deadline::after(5ms)) == Status::kTimedOut);
    REQUIRE(lock.release(other) == Status::kNotHeld);
    REQUIRE(lock.release_shared(other) == Status::kNotHeld);
  }).join();
  require_ok(lock.release_shared(me));
  require_ok(lock.acquire(me));
  REQUIRE(lock.held_by(me));
  REQUIRE(lock.writer_pid() == static_cast<std::uint32_t>(getpid()));
  std::thread([&] {
    auto& other = segment.me();
    REQUIRE(lock.acquire_shared(other, Deadline::already()) == Status::kTimedOut);
    REQUIRE(lock.acquire_shared(other, Deadline::after(5ms)) == Status::kTimedOut);
    REQUIRE(lock.acquire(other, Deadline::already()) == Status::kTimedOut);
    REQUIRE(lock.release(other) == Status::kNotHeld);
    REQUIRE(lock.readers() == 0);
  }).join();
  require_ok(lock.release(me));
  REQUIRE(lock.writer_pid() == 0);
}

TEST_CASE("who would wait for itself is told") {
  TestSegment segment;
  RwLock lock(make(segment));
  auto& me = segment.me();
  require_ok(lock.acquire_shared(me));
  REQUIRE(lock.acquire(me) == Status::kDeadlock);
  require_ok(lock.acquire_shared(me));  // again: also while a writer waits
  require_ok(lock.release_shared(me));
  require_ok(lock.release_shared(me));
  REQUIRE(lock.release_shared(me) == Status::kNotHeld);
  require_ok(lock.acquire(me));
  REQUIRE(lock.acquire(me) == Status::kDeadlock);
  REQUIRE(lock.acquire_shared(me) == Status::kDeadlock);
  require_ok(lock.release(me));
}

TEST_CASE("new readers wait once a writer waits, but a reader may share again what it shares") {
  TestSegment segment;
  RwLock lock(make(segment));
  auto& me = segment.me();
  require_ok(lock.acquire_shared(me));
  std::thread writer([&] {
    require_ok(lock.acquire(segment.me()));
    require_ok(lock.release(segment.me()));
  });
  std::thread([&] {
    auto& other = segment.me();
    while (lock.acquire_shared(other, Deadline::already()) == Status::kOk) require_ok(lock.release_shared(other));
    REQUIRE(lock.acquire_shared(other, Deadline::after(20ms)) == Status::kTimedOut);
  }).join();
  require_ok(lock.acquire_shared(me));
  require_ok(lock.release_shared(me));
  require_ok(lock.release_shared(me));
  writer.join();
  require_ok(lock.acquire_shared(me, Deadline::already()));
  require_ok(lock.release_shared(me));
}

TEST_CASE("a thread shares as many locks as its slot has room for") {
  TestSegment segment;
  std::vector<RwLock> locks;
  for (std::size_t i = 0; i <= shm::kAnnouncements; ++i) locks.emplace_back(make(segment));
  auto& me = segment.me();
  for (std::size_t i = 0; i < shm::kAnnouncements; ++i) require_ok(locks[i].acquire_shared(me));
  REQUIRE(locks.back().acquire_shared(me) == Status::kTooMany);
  require_ok(locks[3].release_shared(me));
  require_ok(locks.back().acquire_shared(me));
  std::thread([&] {
    auto& other = segment.me();
    for (std::size_t i = 0; i < locks.size(); ++i) {
      Status status = locks[i].acquire(other, Deadline::already());
      REQUIRE(status == (i == 3 ? Status::kOk : Status::kTimedOut));
    }
  }).join();
}

TEST_CASE("a writer gets in when a reader is killed, and a reader when a writer is, without a server") {
  TestSegment segment;
  auto where = make(segment);
  RwLock lock(where);
  auto& me = segment.me();
  for (bool writes : {false, true}) {
    pid_t holder = spawn_holder(segment, where, writes);
    REQUIRE(lock.acquire(me, Deadline::after(1ms)) == Status::kTimedOut);
    std::thread killer([&] {
      std::this_thread::sleep_for(5ms);
      kill(holder, SIGKILL);
    });
    if (writes) {
      require_ok(lock.acquire_shared(me));
      require_ok(lock.release_shared(me));
      require_ok(lock.acquire(me));
      REQUIRE(lock.take_died() == static_cast<std::uint32_t>(holder));
      REQUIRE(lock.take_died() == 0);
    } else {
      require_ok(lock.acquire(me));
      REQUIRE(lock.take_died() == 0);
    }
    require_ok(lock.release(me));
    killer.join();
    REQUIRE(wait_for(holder) == -SIGKILL);
  }
}

TEST_CASE("a stopped reader or writer keeps the lock") {
  TestSegment segment;
  auto where = make(segment);
  RwLock lock(where);
  for (bool writes : {false, true}) {
    pid_t holder = spawn_holder(segment, where, writes);
    kill(holder, SIGSTOP);
    REQUIRE(lock.acquire(segment.me(), Deadline::after(250ms)) == Status::kTimedOut);
    kill(holder, SIGKILL);
    REQUIRE(wait_for(holder) == -SIGKILL);
    require_ok(lock.acquire(segment.me()));
    require_ok(lock.release(segment.me()));
  }
}

TEST_CASE("a thread that ends sharing or writing leaves the lock free") {
  TestSegment segment;
  RwLock lock(make(segment));
  std::thread([&] { require_ok(lock.acquire_shared(segment.me())); }).join();
  require_ok(lock.acquire(segment.me(), Deadline::already()));
  require_ok(lock.release(segment.me()));
  std::thread([&] { require_ok(lock.acquire(segment.me())); }).join();
  require_ok(lock.acquire_shared(segment.me(), Deadline::already()));
  require_ok(lock.release_shared(segment.me()));
}

namespace {

// Two words that only writers change, and only together.
struct Pair {
  std::atomic<std::uint64_t> first{0}, second{0};
  std::atomic<std::uint64_t> torn{0}, reads{0}, writes{0};
};

void read_and_write(const TestSegment& segment, const RwLock& lock, Pair& pair, std::uint64_t seed, int turns,
                    int writes_in_ten) {
  std::mt19937_64 random(seed);
  auto& me = segment.me();
  for (int i = 0; turns < 0 || i < turns; ++i) {
    bool timed = random() % 8 == 0;
    Deadline deadline = timed ? Deadline::after(std::chrono::microseconds(random() % 50)) : Deadline::never();
    if (static_cast<int>(random() % 10) < writes_in_ten) {
      if (lock.acquire(me, deadline) != Status::kOk) continue;
      std::uint64_t next = pair.first.load(std::memory_order_relaxed) + 1;
      pair.first.store(next, std::memory_order_relaxed);
      if (random() % 16 == 0) std::this_thread::yield();
      pair.second.store(next, std::memory_order_relaxed);
      ++pair.writes;
      require_ok(lock.release(me));
    } else {
      if (lock.acquire_shared(me, deadline) != Status::kOk) continue;
      std::uint64_t seen = pair.second.load(std::memory_order_relaxed);
      if (random() % 16 == 0) std::this_thread::yield();
      if (pair.first.load(std::memory_order_relaxed) != seen) ++pair.torn;
      ++pair.reads;
      require_ok(lock.release_shared(me));
    }
  }
}

}  // namespace

TEST_CASE("no reader sees half a write, and nobody starves, with threads and processes") {
  shm::set_sleeper_check_for_test(3600'000'000'000);  // nothing but wake-ups
  TestSegment segment;
  auto where = make(segment);
  Shared<Pair> pair;
  std::uint64_t seed = Catch::rngSeed();
  std::vector<std::thread> threads;
  std::vector<pid_t> processes;
  for (int i = 0; i < 2; ++i) {
    processes.push_back(spawn([&, i] {
      read_and_write(segment, RwLock(where), *pair, seed + 10 + i, 3000, i == 0 ? 1 : 5);
      segment->leave();
    }));
  }
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] { read_and_write(segment, RwLock(where), *pair, seed + i, 3000, 1 + 3 * i); });
  }
  for (auto& thread : threads) thread.join();
  for (pid_t process : processes) REQUIRE(wait_for(process) == 0);
  REQUIRE(pair->torn == 0);
  REQUIRE(pair->first == pair->writes);
  REQUIRE(pair->reads > 0);
  REQUIRE(RwLock(where).readers() == 0);
  shm::set_sleeper_check_for_test(100'000'000);
}

TEST_CASE("readers and writers killed at random leave a lock that excludes and lets in") {
  TestSegment segment;
  auto where = make(segment);
  RwLock lock(where);
  Shared<Pair> pair;
  Shared<std::atomic<bool>> stop;
  const pid_t test = getpid();
  pid_t steady = spawn([&] {
    auto& me = segment.me();
    while (!stop->load() && getppid() == test) {
      require_ok(lock.acquire_shared(me));
      require_ok(lock.release_shared(me));
    }
    segment->leave();
  });
  kill_storm(
      segment, 60, Catch::rngSeed(),
      [&](std::uint64_t seed, std::atomic<bool>& started) {
        started = true;
        read_and_write(segment, lock, *pair, seed, -1, 3);
      },
      [&] {
        auto& me = segment.me();
        require_ok(lock.acquire(me));
        (void)lock.take_died();
        pair->second.store(pair->first.load());  // what a killed writer left
        REQUIRE(lock.readers() == 0);
        require_ok(lock.release(me));
      });
  stop->store(true);
  REQUIRE(wait_for(steady) == 0);
  REQUIRE(pair->torn == 0);
}
