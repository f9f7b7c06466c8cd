// The lock that users hold: who has it, and what its next owner learns of a death.
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
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
  std::uint64_t first = lock.fencing_token(segment.me());
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
  REQUIRE(lock.fencing_token(segment.me()) > first);
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

TEST_CASE("who ends the poison of one death does not end that of a later one") {
  TestSegment segment;
  auto where = make_lock(segment, true);
  shm::UserLock lock(where);
  auto& me = segment.me();
  pid_t first = die_holding(segment, where);
  REQUIRE(shm::recover_all_dead(*segment, me) == 1);
  std::uint32_t died = 0;
  REQUIRE(lock.acquire(me, Deadline::never(), &died) == Status::kPoisoned);
  REQUIRE(died == static_cast<std::uint32_t>(first));
  // Another thread repairs first; then another owner dies, of whom this thread knows nothing.
  pid_t second = 0;
  std::thread([&] {
    auto& other = segment.me();
    REQUIRE(lock.acquire(other) == Status::kPoisoned);
    REQUIRE(lock.mark_consistent());
    REQUIRE(lock.acquire(other) == Status::kOk);
    REQUIRE(lock.release(other) == Status::kOk);
    second = die_holding(segment, where);
    REQUIRE(shm::recover_all_dead(*segment, other) == 1);
  }).join();
  REQUIRE_FALSE(lock.mark_consistent());
  REQUIRE(lock.acquire(me, Deadline::never(), &died) == Status::kPoisoned);
  REQUIRE(died == static_cast<std::uint32_t>(second));
  REQUIRE(lock.mark_consistent());
  REQUIRE(lock.mark_consistent());  // nothing is left to be ended
  REQUIRE(lock.acquire(me) == Status::kOk);
  REQUIRE(lock.release(me) == Status::kOk);
}

TEST_CASE("the poison names its dead owner whoever ends it meanwhile") {
  TestSegment segment;
  auto where = make_lock(segment, true);
  shm::UserLock lock(where);
  std::atomic<bool> done{false};
  std::atomic<int> unnamed{0}, told{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      auto& me = segment.me();
      while (!done) {
        std::uint32_t died = 0;
        Status status = lock.acquire(me, Deadline::never(), &died);
        if (status == Status::kPoisoned) {
          ++told;
          if (died == 0) ++unnamed;
          (void)lock.mark_consistent();
        } else {
          (void)lock.release(me);
        }
      }
    });
  }
  for (int i = 0; i < 60; ++i) {
    pid_t child = fork();
    if (child == 0) {
      while (shm::UserLock(where).acquire(segment.me()) != Status::kOk) (void)shm::UserLock(where).mark_consistent();
      kill(getpid(), SIGKILL);
    }
    REQUIRE(waitpid(child, nullptr, 0) == child);
    REQUIRE(shm::recover_all_dead(*segment, segment.me()) <= 1);
  }
  done = true;
  for (auto& thread : threads) thread.join();
  REQUIRE(told > 0);
  REQUIRE(unnamed == 0);
}

TEST_CASE("a fencing token is given once, wherever its owner is paused when somebody else unlocks") {
  int paused = 0;
  for (int pause_after = 0; pause_after < 40; ++pause_after) {
    INFO("paused " << pause_after << " instructions after it owned the lock");
    TestSegment segment(8u << 20);
    auto where = make_lock(segment, false);
    shm::UserLock lock(where);
    auto& me = segment.me();
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const pid_t owner = fork();
    if (owner == 0) {
      auto& own = segment.me();
      if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) _exit(1);
      raise(SIGSTOP);
      if (lock.acquire(own) != Status::kOk) _exit(2);
      const std::uint64_t token = lock.fencing_token(own);
      _exit(write(ends[1], &token, sizeof token) == sizeof token ? 0 : 3);
    }
    int status = 0;
    REQUIRE(waitpid(owner, &status, 0) == owner);
    REQUIRE(WIFSTOPPED(status));
    for (int after = -1; after < pause_after && WIFSTOPPED(status);) {
      if (after >= 0 || lock.locked()) ++after;
      REQUIRE(ptrace(PTRACE_SINGLESTEP, owner, 0, 0) == 0);
      REQUIRE(waitpid(owner, &status, 0) == owner);
    }
    REQUIRE(WIFSTOPPED(status));
    std::uint64_t later = 0, former = 0;
    if (lock.release(me) == Status::kOk) {
      REQUIRE(lock.acquire(me, Deadline::already()) == Status::kOk);
      later = lock.fencing_token(me);
      ++paused;
    }
    REQUIRE(ptrace(PTRACE_CONT, owner, 0, 0) == 0);
    REQUIRE(read(ends[0], &former, sizeof former) == sizeof former);
    if (later != 0) {
      REQUIRE(former < later);  // 0: it is told that it does not hold the lock
      REQUIRE(lock.fencing_token(me) >= later);
      REQUIRE(lock.release(me) == Status::kOk);
    }
    REQUIRE(waitpid(owner, &status, 0) == owner);
    REQUIRE(status == 0);
    close(ends[0]);
    close(ends[1]);
  }
  REQUIRE(paused != 0);
}

TEST_CASE("an owner that locks again for ever is told of the deadlock, unless others unlock for it") {
  TestSegment segment;
  auto& me = segment.me();
  for (bool poisons : {false, true}) {
    shm::UserLock lock(make_lock(segment, poisons));
    REQUIRE(lock.acquire(me) == Status::kOk);
    REQUIRE(lock.acquire(me) == Status::kDeadlock);
    REQUIRE(lock.acquire(me, Deadline::already()) == Status::kTimedOut);
    REQUIRE(lock.acquire(me, Deadline::after(std::chrono::milliseconds(2))) == Status::kTimedOut);
    REQUIRE(lock.held_by(me));
    REQUIRE(lock.release(me) == Status::kOk);
    REQUIRE_FALSE(lock.locked());
  }
  shm::UserLock signal(segment.make({shm::ObjectKind::kLock, "", "lock", {0, 1}}));
  REQUIRE(signal.acquire(me) == Status::kOk);
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    (void)signal.release(segment.me());
  });
  REQUIRE(signal.acquire(me) == Status::kOk);  // it waited for the other one
  other.join();
  REQUIRE(signal.release(me) == Status::kOk);
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
