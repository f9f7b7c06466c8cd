// The lock that its owner may take again.
#include "shm/rlock.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "shm/recovery.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::Status;

namespace {

shm::ObjectAddress make_rlock(const TestSegment& segment, bool poisons = false) {
  return segment.make({shm::ObjectKind::kRLock, "", "rlock", {poisons ? 1u : 0u}});
}

}  // namespace

TEST_CASE("an rlock is free after as many releases as it was taken") {
  TestSegment segment;
  shm::RLock lock(make_rlock(segment));
  auto& me = segment.me();
  REQUIRE(lock.depth() == 0);
  for (std::uint64_t depth = 1; depth <= 3; ++depth) {
    REQUIRE(lock.acquire(me, Deadline::already()) == Status::kOk);
    REQUIRE(lock.depth() == depth);
  }
  auto token = lock.base().fencing_token(me);
  std::thread([&] { REQUIRE(lock.acquire(segment.me(), Deadline::already()) == Status::kTimedOut); }).join();
  for (int i = 0; i < 3; ++i) {
    REQUIRE(lock.base().locked());
    REQUIRE(lock.base().fencing_token(me) == token);
    REQUIRE(lock.release(me) == Status::kOk);
  }
  REQUIRE_FALSE(lock.base().locked());
  REQUIRE(lock.release(me) == Status::kNotHeld);
}

TEST_CASE("nobody but its owner releases an rlock") {
  TestSegment segment;
  shm::RLock lock(make_rlock(segment));
  REQUIRE(lock.acquire(segment.me()) == Status::kOk);
  std::thread([&] { REQUIRE(lock.release(segment.me()) == Status::kNotHeld); }).join();
  REQUIRE(wait_for(spawn([&] {
            if (lock.release(segment.me()) != Status::kNotHeld) throw std::runtime_error("released");
          })) == 0);
  REQUIRE(lock.base().held_by(segment.me()));
  REQUIRE(lock.depth() == 1);
}

TEST_CASE("an rlock is free however deep a dead owner held it, and the next owner learns of it") {
  for (bool poisons : {false, true}) {
    TestSegment segment;
    shm::RLock lock(make_rlock(segment, poisons));
    pid_t dead = spawn([&] {
      for (int i = 0; i < 5; ++i) {
        if (lock.acquire(segment.me()) != Status::kOk) _exit(1);
      }
      kill(getpid(), SIGKILL);
    });
    REQUIRE(wait_for(dead) == -SIGKILL);
    auto& me = segment.me();
    if (poisons) {
      REQUIRE(lock.acquire(me) == Status::kPoisoned);
      REQUIRE(lock.base().died_pid() == static_cast<std::uint32_t>(dead));
      lock.base().mark_consistent();
    }
    REQUIRE(lock.acquire(me) == Status::kOk);
    REQUIRE(lock.depth() == 1);
    if (!poisons) REQUIRE(lock.base().take_died() == static_cast<std::uint32_t>(dead));
    REQUIRE(lock.release(me) == Status::kOk);
    REQUIRE_FALSE(lock.base().locked());
  }
}

TEST_CASE("an rlock excludes threads and processes") {
  TestSegment segment;
  shm::RLock lock(make_rlock(segment));
  struct Guarded {
    std::uint64_t count = 0;  // not atomic
  };
  Shared<Guarded> guarded;
  auto work = [&] {
    auto& me = segment.me();
    for (int i = 0; i < 10000; ++i) {
      bool twice = i % 3 == 0;
      if (lock.acquire(me) != Status::kOk) abort();
      if (twice && lock.acquire(me) != Status::kOk) abort();
      ++guarded->count;
      if (twice && lock.release(me) != Status::kOk) abort();
      if (lock.release(me) != Status::kOk) abort();
    }
  };
  pid_t other = spawn(work);
  std::thread thread(work);
  work();
  thread.join();
  REQUIRE(wait_for(other) == 0);
  REQUIRE(guarded->count == 30000);
}
