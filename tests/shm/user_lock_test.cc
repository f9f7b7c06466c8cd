// The lock that users hold: who has it, and what its next owner learns of a death.
#include <signal.h>
#include <sys/wait.h>
#include <catch2/catch.hpp>

#include <chrono>
#include <thread>
#include <vector>

#include "shm/recovery.h"
#include "shm/user_lock.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::Status;

namespace {

shm::ObjectAddress make_lock(const TestSegment& segment, bool poisons) {
  return segment.make({shm::ObjectKind::kLock, "", "lock", {poisons ? 1u : 0u}});
}

// A child takes the lock and is killed with it; its pid.
pid_t die_holding(const TestSegment& segment, const shm::ObjectAddress& where) {
  pid_t child = fork();
  if (child == 0) {
    if (shm::UserLock(where).acquire(segment.me()) != Status::kOk) _exit(1);
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  return child;
}

}  // namespace

TEST_CASE("a lock is held by one owner at a time") {
  TestSegment segment;
  auto where = make_lock(segment, false);
  std::uint64_t count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      shm::UserLock lock(where);
      auto& me = segment.me();
      for (int j = 0; j < 20000; ++j) {
        if (lock.acquire(me) != Status::kOk) return;
        ++count;
        if (lock.release(me) != Status::kOk) return;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  REQUIRE(count == 60000);
}

TEST_CASE("a lock says who holds it and for which turn") {
  TestSegment segment;
  shm::UserLock lock(make_lock(segment, false));
  auto& me = segment.me();
  REQUIRE_FALSE(lock.locked());
  REQUIRE(lock.holder_pid() == 0);
  REQUIRE(lock.release(me) == Status::kNotHeld);
  REQUIRE(lock.acquire(me) == Status::kOk);
  std::uint64_t first = lock.fencing_token();
  REQUIRE(lock.locked());
  REQUIRE(lock.held_by(me));
  REQUIRE(lock.holder_pid() == static_cast<std::uint32_t>(getpid()));
  std::thread([&] {
    auto& other = segment.me();
    REQUIRE_FALSE(lock.held_by(other));
    REQUIRE(lock.acquire(other, Deadline::already()) == Status::kTimedOut);
    REQUIRE(lock.acquire(other, Deadline::after(std::chrono::milliseconds(20))) == Status::kTimedOut);
    REQUIRE(lock.release(other) == Status::kOk);  // anybody may
  }).join();
  REQUIRE(lock.acquire(me) == Status::kOk);
  REQUIRE(lock.fencing_token() > first);
  REQUIRE(lock.release(me) == Status::kOk);
}

TEST_CASE("the next owner learns who died with the lock") {
  TestSegment segment;
  auto where = make_lock(segment, false);
  shm::UserLock lock(where);
  auto& me = segment.me();
  pid_t dead = die_holding(segment, where);
  REQUIRE(lock.locked());
  REQUIRE(lock.acquire(me) == Status::kOk);  // finds the dead holder by itself
  REQUIRE(lock.died_pid() == static_cast<std::uint32_t>(dead));
  REQUIRE(lock.take_died() == static_cast<std::uint32_t>(dead));
  REQUIRE(lock.died_pid() == 0);
  REQUIRE(lock.release(me) == Status::kOk);
}

TEST_CASE("a lock that poisons is refused after a death until it is marked consistent") {
  TestSegment segment;
  auto where = make_lock(segment, true);
  shm::UserLock lock(where);
  auto& me = segment.me();
  pid_t dead = die_holding(segment, where);
  REQUIRE(shm::recover_all_dead(*segment, me) == 1);
  REQUIRE_FALSE(lock.locked());
  REQUIRE(lock.acquire(me) == Status::kPoisoned);
  REQUIRE_FALSE(lock.locked());
  REQUIRE(lock.take_died() == static_cast<std::uint32_t>(dead));  // tells, but does not end the poison
  REQUIRE(lock.acquire(me) == Status::kPoisoned);
  lock.mark_consistent();
  REQUIRE(lock.acquire(me) == Status::kOk);
  REQUIRE(lock.died_pid() == 0);
  REQUIRE(lock.release(me) == Status::kOk);
}

TEST_CASE("a thread that ends with a lock leaves it to the next as a dead owner does") {
  TestSegment segment;
  shm::UserLock lock(make_lock(segment, false));
  std::thread([&] { REQUIRE(lock.acquire(segment.me()) == Status::kOk); }).join();
  REQUIRE(lock.acquire(segment.me()) == Status::kOk);
  REQUIRE(lock.died_pid() == static_cast<std::uint32_t>(getpid()));
  REQUIRE(lock.release(segment.me()) == Status::kOk);
}

TEST_CASE("a stopped holder keeps its lock") {
  TestSegment segment;
  auto where = make_lock(segment, false);
  shm::UserLock lock(where);
  pid_t child = fork();
  if (child == 0) {
    if (shm::UserLock(where).acquire(segment.me()) != Status::kOk) _exit(1);
    kill(getpid(), SIGSTOP);
    _exit(shm::UserLock(where).release(segment.me()) == Status::kOk ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, WUNTRACED) == child);
  REQUIRE(WIFSTOPPED(status));
  REQUIRE(lock.acquire(segment.me(), Deadline::after(std::chrono::milliseconds(300))) == Status::kTimedOut);
  REQUIRE(lock.holder_pid() == static_cast<std::uint32_t>(child));
  kill(child, SIGCONT);
  REQUIRE(lock.acquire(segment.me()) == Status::kOk);
  REQUIRE(lock.died_pid() == 0);
  REQUIRE(lock.release(segment.me()) == Status::kOk);
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
}
