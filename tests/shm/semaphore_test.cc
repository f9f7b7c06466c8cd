// A semaphore: its value, its limit, and what comes back from the dead.
#include "shm/semaphore.h"

#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "shm/extents.h"
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
using shm::Semaphore;
using shm::Status;
using shm::Word;

namespace {

shm::ObjectAddress make(const TestSegment& segment, Word start, Word bounded = 0, Word items = 0) {
  return segment.make({shm::ObjectKind::kSemaphore, "", "semaphore", {start, bounded, items}});
}

// A child does something with the semaphore and is killed.
template <typename Body>
void die_after(Body&& body) {
  pid_t child = spawn([&] {
    body();
    kill(getpid(), SIGKILL);
  });
  REQUIRE(wait_for(child) == -SIGKILL);
}

}  // namespace

TEST_CASE("a semaphore lets as many in as it has permits") {
  TestSegment segment;
  Semaphore semaphore(make(segment, 2));
  auto& me = segment.me();
  REQUIRE(semaphore.value() == 2);
  require_ok(semaphore.acquire(me));
  require_ok(semaphore.acquire(me, Deadline::already()));
  REQUIRE(semaphore.value() == 0);
  REQUIRE(semaphore.held(me) == 2);
  REQUIRE(semaphore.acquire(me, Deadline::already()) == Status::kTimedOut);
  REQUIRE(semaphore.acquire(me, Deadline::after(20ms)) == Status::kTimedOut);
  require_ok(semaphore.release(me, 2));
  REQUIRE(semaphore.value() == 2);
  REQUIRE(semaphore.held(me) == 0);
}

TEST_CASE("a release beyond what is held makes permits, up to the limit") {
  TestSegment segment;
  auto& me = segment.me();
  Semaphore open(make(segment, 0));
  require_ok(open.release(me, 3));
  REQUIRE(open.value() == 3);
  REQUIRE(open.release(me, shm::kMostPermits - 2) == Status::kOutOfRange);
  REQUIRE(open.value() == 3);
  require_ok(open.release(me, shm::kMostPermits - 3));
  REQUIRE(open.value() == shm::kMostPermits);
  REQUIRE(open.release(me) == Status::kOutOfRange);
  Semaphore bounded(make(segment, 2, 1));
  REQUIRE(bounded.release(me) == Status::kOutOfRange);
  require_ok(bounded.acquire(me));
  REQUIRE(bounded.release(me, 2) == Status::kOutOfRange);
  REQUIRE(bounded.value() == 1);
  require_ok(bounded.release(me));
  REQUIRE(bounded.value() == 2);
}

TEST_CASE("a semaphore that cannot be is refused") {
  TestSegment segment;
  for (Word bounded : {0, 1}) {
    shm::ObjectId id;
    shm::ObjectPlan plan{shm::ObjectKind::kSemaphore, "", "semaphore", {shm::kMostPermits + 1, bounded}};
    REQUIRE(shm::create_object(segment.me(), plan, id) == Status::kOutOfRange);
  }
  Semaphore none(make(segment, 0, 1));
  REQUIRE(none.release(segment.me()) == Status::kOutOfRange);
  Semaphore most(make(segment, shm::kMostPermits));
  REQUIRE(most.value() == shm::kMostPermits);
}

TEST_CASE("permits of a killed process come back, and only those that it did not release itself") {
  TestSegment segment;
  auto where = make(segment, 5);
  Semaphore semaphore(where);
  auto& me = segment.me();
  require_ok(semaphore.acquire(me));
  die_after([&] {
    Semaphore mine(where);
    for (int i = 0; i < 3; ++i) require_ok(mine.acquire(segment.me()));
    require_ok(mine.release(segment.me()));
  });
  REQUIRE(semaphore.value() == 2);
  REQUIRE(shm::recover_all_dead(*segment, me) == 1);
  REQUIRE(semaphore.value() == 4);
  REQUIRE(semaphore.held(me) == 1);
  REQUIRE(semaphore.held_by_all(me) == 1);
  // Made by one who held none: they stay.
  die_after([&] { require_ok(Semaphore(where).release(segment.me(), 2)); });
  REQUIRE(shm::recover_all_dead(*segment, me) == 1);
  REQUIRE(semaphore.value() == 6);
}

TEST_CASE("a bounded semaphore never rises above its start, whoever dies") {
  TestSegment segment;
  auto where = make(segment, 1, 1);
  Semaphore semaphore(where);
  auto& me = segment.me();
  die_after([&] { require_ok(Semaphore(where).acquire(segment.me())); });
  require_ok(semaphore.release(me));  // on behalf of the other
  REQUIRE(shm::recover_all_dead(*segment, me) == 1);
  REQUIRE(semaphore.value() == 1);
}

TEST_CASE("what was acquired stays used up when a process ends in order, and when the semaphore counts items") {
  TestSegment segment;
  auto where = make(segment, 5), items = make(segment, 5, 0, 1);
  auto& me = segment.me();
  pid_t child = spawn([&] {
    require_ok(Semaphore(where).acquire(segment.me()));
    require_ok(Semaphore(where).acquire(segment.me()));
    segment->leave();
  });
  REQUIRE(wait_for(child) == 0);
  REQUIRE(Semaphore(where).value() == 3);
  REQUIRE(Semaphore(where).held_by_all(me) == 0);
  die_after([&] { require_ok(Semaphore(items).acquire(segment.me())); });
  REQUIRE(shm::recover_all_dead(*segment, me) == 1);
  REQUIRE(Semaphore(items).value() == 4);
}

TEST_CASE("a process may hold permits of more semaphores than its record has room for") {
  TestSegment segment;
  std::vector<shm::ObjectAddress> all;
  for (int i = 0; i < 7; ++i) all.push_back(make(segment, 2));
  die_after([&] {
    for (auto& where : all) require_ok(Semaphore(where).acquire(segment.me()));
  });
  REQUIRE(shm::recover_all_dead(*segment, segment.me()) == 1);
  for (auto& where : all) REQUIRE(Semaphore(where).value() == 2);
}

TEST_CASE("sessions beyond the first ones have their cells in a chunk of its own") {
  TestSegment segment;
  auto where = make(segment, 10);
  Semaphore semaphore(where);
  auto& me = segment.me();
  // As if so many processes were there already.
  for (std::uint32_t i = 1; i < 300; ++i) segment->session(i).state.store(1);
  require_ok(semaphore.acquire(me));
  pid_t child = spawn([&] {
    require_ok(Semaphore(where).acquire(segment.me()));
    require_ok(Semaphore(where).acquire(segment.me()));
    if (shm::index_of(segment->session_index()) < 300) throw std::runtime_error("an early session");
    kill(getpid(), SIGKILL);
  });
  REQUIRE(wait_for(child) == -SIGKILL);
  require_ok(semaphore.acquire(me));  // the dead one's count goes to its cell
  REQUIRE(semaphore.value() == 6);
  REQUIRE(shm::bytes_owned_by(*segment, where.object) > 4096);
  REQUIRE(semaphore.held_by_all(me) == 4);
  for (std::uint32_t i = 1; i < 300; ++i) segment->session(i).state.store(0);
  REQUIRE(shm::recover_all_dead(*segment, me) == 1);
  REQUIRE(semaphore.value() == 8);
}

TEST_CASE("a waiter gets the permit of a process that is killed, without a server") {
  TestSegment segment;
  auto where = make(segment, 1);
  pid_t holder = spawn([&] {
    require_ok(Semaphore(where).acquire(segment.me()));
    for (;;) pause();
  });
  Semaphore semaphore(where);
  while (semaphore.value() != 0) std::this_thread::yield();
  REQUIRE(semaphore.acquire(segment.me(), Deadline::after(1ms)) == Status::kTimedOut);
  std::thread killer([&] {
    std::this_thread::sleep_for(5ms);
    kill(holder, SIGKILL);
  });
  require_ok(semaphore.acquire(segment.me()));
  killer.join();
  REQUIRE(wait_for(holder) == -SIGKILL);
}

TEST_CASE("a stopped process keeps its permits") {
  TestSegment segment;
  auto where = make(segment, 1);
  pid_t holder = spawn([&] {
    require_ok(Semaphore(where).acquire(segment.me()));
    kill(getpid(), SIGSTOP);
    require_ok(Semaphore(where).release(segment.me()));
    segment->leave();
  });
  int status = 0;
  REQUIRE(waitpid(holder, &status, WUNTRACED) == holder);
  REQUIRE(WIFSTOPPED(status));
  Semaphore semaphore(where);
  REQUIRE(semaphore.acquire(segment.me(), Deadline::after(300ms)) == Status::kTimedOut);
  kill(holder, SIGCONT);
  require_ok(semaphore.acquire(segment.me()));
  REQUIRE(wait_for(holder) == 0);
}

TEST_CASE("an attempt does not wait for a process that was stopped in the middle of one") {
  TestSegment segment;
  auto where = make(segment, 3);
  auto* control = segment->at<shm::SemaphoreControl>(where.control);
  pid_t stopped = spawn([&] {
    require_ok(shm::lock(segment.me(), control->switching));
    kill(getpid(), SIGSTOP);
    require_ok(shm::unlock(segment.me(), control->switching));
    segment->leave();
  });
  int status = 0;
  REQUIRE(waitpid(stopped, &status, WUNTRACED) == stopped);
  REQUIRE(Semaphore(where).acquire(segment.me(), Deadline::already()) == Status::kTimedOut);
  REQUIRE(Semaphore(where).acquire(segment.me(), Deadline::after(1ms)) == Status::kTimedOut);
  kill(stopped, SIGCONT);
  require_ok(Semaphore(where).acquire(segment.me()));
  REQUIRE(wait_for(stopped) == 0);
}

TEST_CASE("a process that was stopped in the middle of an acquisition does not hold up the recovery of the dead") {
  TestSegment segment;
  const auto held = make(segment, 1), other = make(segment, 1);
  Shared<std::atomic<bool>> stopping;
  pid_t killed = spawn([&] {
    for (auto* where : {&held, &other}) require_ok(Semaphore(*where).acquire(segment.me()));
    while (!stopping->load()) std::this_thread::yield();
    raise(SIGKILL);
  });
  while (Semaphore(other).value() != 0) std::this_thread::yield();
  pid_t stopped = spawn([&] {
    {
      const shm::HeldLock turn(segment.me(), segment->at<shm::SemaphoreControl>(held.control)->switching);
      stopping->store(true);
      raise(SIGSTOP);
    }
    for (;;) pause();
  });
  REQUIRE(wait_for(killed) == -SIGKILL);
  (void)shm::recover_all_dead(*segment, segment.me());
  CHECK(Semaphore(other).value() == 1);
  CHECK(Semaphore(held).value() == 0);
  kill(stopped, SIGCONT);
  while (Semaphore(held).value() == 0) (void)shm::recover_all_dead(*segment, segment.me());
  kill(stopped, SIGKILL);
  REQUIRE(wait_for(stopped) == -SIGKILL);
  REQUIRE(shm::recover_all_dead(*segment, segment.me()) == 1);
}

TEST_CASE("every release lets one waiter in, whoever waits: no wake-up is lost") {
  shm::set_sleeper_check_for_test(3600'000'000'000);  // nothing but wake-ups
  TestSegment segment;
  auto where = make(segment, 0);
  std::vector<std::thread> threads;
  constexpr int kTurns = 3000;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < kTurns; ++j) require_ok(Semaphore(where).acquire(segment.me()));
    });
  }
  pid_t other = spawn([&] {
    for (int j = 0; j < kTurns; ++j) require_ok(Semaphore(where).acquire(segment.me()));
    segment->leave();
  });
  std::mt19937_64 random(Catch::rngSeed());
  for (int left = 4 * kTurns; left > 0;) {
    int some = std::min<int>(left, 1 + static_cast<int>(random() % 3));
    require_ok(Semaphore(where).release(segment.me(), static_cast<Word>(some)));
    left -= some;
    if (random() % 4 == 0) std::this_thread::yield();
    if (random() % 64 == 0) std::this_thread::sleep_for(100us);
  }
  for (auto& thread : threads) thread.join();
  REQUIRE(wait_for(other) == 0);
  REQUIRE(Semaphore(where).value() == 0);
  shm::set_sleeper_check_for_test(100'000'000);
}

TEST_CASE("waiters that give up take no wake-up with them") {
  shm::set_sleeper_check_for_test(3600'000'000'000);
  TestSegment segment;
  auto where = make(segment, 1);
  std::atomic<int> taken{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      Semaphore semaphore(where);
      auto& me = segment.me();
      for (int turns = 0; turns < 1000;) {
        Deadline deadline = i < 2 ? Deadline::never() : Deadline::after(std::chrono::microseconds(50 + turns % 50));
        Status status = semaphore.acquire(me, deadline);
        ++turns;
        if (status == Status::kTimedOut) continue;
        require_ok(status);
        ++taken;
        if (turns % 7 == 0) std::this_thread::sleep_for(60us);
        require_ok(semaphore.release(me));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  REQUIRE(taken >= 2000);
  REQUIRE(Semaphore(where).value() == 1);
  REQUIRE(Semaphore(where).held_by_all(segment.me()) == 0);
  shm::set_sleeper_check_for_test(100'000'000);
}

TEST_CASE("nothing is lost or gained in a storm of threads, processes and kills") {
  TestSegment segment;
  constexpr Word kStart = 3;
  auto where = make(segment, kStart);
  Shared<std::atomic<int>> inside;
  Shared<std::atomic<bool>> stop;
  pid_t steady = spawn([&] {
    Semaphore semaphore(where);
    while (!stop->load()) {
      require_ok(semaphore.acquire(segment.me()));
      require_ok(semaphore.release(segment.me()));
    }
    segment->leave();
  });
  kill_storm(
      segment, 60, Catch::rngSeed(),
      [&](std::uint64_t seed, std::atomic<bool>& started) {
        std::mt19937_64 random(seed);
        Semaphore semaphore(where);
        auto& me = segment.me();
        started = true;
        for (int held = 0;;) {
          if (random() % 2 == 0 && semaphore.acquire(me, Deadline::already()) == Status::kOk) ++held;
          if (held != 0 && random() % 2 == 0) {
            require_ok(semaphore.release(me));
            --held;
          }
        }
      },
      [&] { REQUIRE(Semaphore(where).value() >= kStart - 1); });
  stop->store(true);
  REQUIRE(wait_for(steady) == 0);
  REQUIRE(Semaphore(where).value() == kStart);
  REQUIRE(Semaphore(where).held_by_all(segment.me()) == 0);
}

TEST_CASE(
    "what a process holds of a semaphore is told, and a process ends, while another one is stopped at its cells") {
  TestSegment segment;
  auto where = segment.make({shm::ObjectKind::kSemaphore, "", "semaphore", {5}});
  shm::Semaphore semaphore(where);
  pid_t stopped = spawn([&] {
    shm::Semaphore::each_lock(where, &segment, [](void* context, shm::LockWord& word) {
      if (!try_lock(static_cast<TestSegment*>(context)->me(), word)) _exit(1);
    });
    raise(SIGSTOP);
    shm::Semaphore::each_lock(where, &segment, [](void* context, shm::LockWord& word) {
      (void)unlock(static_cast<TestSegment*>(context)->me(), word);
    });
    _exit(0);
  });
  REQUIRE(semaphore.acquire(segment.me()) == shm::Status::kOk);
  int ended = 0;
  REQUIRE(waitpid(stopped, &ended, WUNTRACED) == stopped);
  REQUIRE(WIFSTOPPED(ended));
  pid_t other = spawn([&] {
    alarm(20);
    if (semaphore.held(segment.me()) != 0) _exit(1);
    segment.shared()->session(index_of(segment->session_index())).semaphores[0].store(where.control);
    segment.shared()->leave();
  });
  REQUIRE(wait_for(other) == 0);
  REQUIRE(semaphore.held(segment.me()) == 1);
  kill(stopped, SIGCONT);
  REQUIRE(wait_for(stopped) == 0);
}
