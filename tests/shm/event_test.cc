// A flag that many wait for.
#include "shm/event.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "shm/recovery.h"
#include "shm/waiting.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::Status;

namespace {

struct Flag {
  TestSegment segment;
  shm::ObjectAddress where = segment.make({shm::ObjectKind::kEvent, "", "event", {}});
  shm::Event event{where};
  std::uint32_t word() const { return where.segment->at<shm::EventControl>(where.control)->word.load(); }
  void set() const { event.set(segment.me()); }
  // A process that waits for the event and ends with 0 when it was set.
  pid_t start_waiter(std::chrono::nanoseconds check = 1h) const {
    return spawn([this, check] {
      alarm(20);
      shm::set_wait_check_for_test(check);
      if (event.wait(Deadline::never()) != Status::kOk) throw std::runtime_error("the wait failed");
    });
  }
  void await_sleeper(pid_t process) const {
    while ((word() & 2) == 0 || !is_asleep(process)) std::this_thread::yield();
  }
};

}  // namespace

TEST_CASE("an event is set until it is cleared") {
  Flag flag;
  REQUIRE_FALSE(flag.event.is_set());
  REQUIRE(flag.event.wait(Deadline::already()) == Status::kTimedOut);
  flag.set();
  flag.set();
  REQUIRE(flag.event.is_set());
  REQUIRE(flag.event.wait(Deadline::already()) == Status::kOk);
  flag.event.clear();
  flag.event.clear();
  REQUIRE_FALSE(flag.event.is_set());
  auto start = std::chrono::steady_clock::now();
  REQUIRE(flag.event.wait(Deadline::after(20ms)) == Status::kTimedOut);
  REQUIRE(std::chrono::steady_clock::now() - start >= 20ms);
}

TEST_CASE("setting an event wakes every waiter") {
  Flag flag;
  std::vector<pid_t> waiters;
  for (int i = 0; i < 4; ++i) waiters.push_back(flag.start_waiter());
  for (pid_t waiter : waiters) flag.await_sleeper(waiter);
  flag.set();
  for (pid_t waiter : waiters) REQUIRE(wait_for(waiter) == 0);
  REQUIRE((flag.word() & 2) == 0);
}

TEST_CASE("a waiter that was woken returns even when the event is cleared at once") {
  Flag flag;
  for (int i = 0; i < 50; ++i) {
    pid_t waiter = flag.start_waiter();
    flag.await_sleeper(waiter);
    flag.set();
    flag.event.clear();
    REQUIRE(wait_for(waiter) == 0);
    REQUIRE_FALSE(flag.event.is_set());
  }
}

TEST_CASE("a waiter that is killed harms neither the others nor those who set") {
  Flag flag;
  pid_t doomed = flag.start_waiter(), other = flag.start_waiter();
  flag.await_sleeper(doomed);
  flag.await_sleeper(other);
  kill(doomed, SIGKILL);
  (void)wait_for(doomed);
  flag.set();
  REQUIRE(wait_for(other) == 0);
  REQUIRE(flag.event.is_set());
}

TEST_CASE("an event passes between two processes as often as they like") {
  Flag ping;
  auto pong_at = ping.segment.make({shm::ObjectKind::kEvent, "", "event", {}});
  shm::Event pong(pong_at);
  constexpr int kRounds = 2000;
  pid_t other = spawn([&] {
    alarm(60);
    for (int i = 0; i < kRounds; ++i) {
      if (ping.event.wait(Deadline::never()) != Status::kOk) throw std::runtime_error("no ping");
      ping.event.clear();
      pong.set(ping.segment.me());
    }
  });
  for (int i = 0; i < kRounds; ++i) {
    ping.set();
    REQUIRE(pong.wait(Deadline::after(60s)) == Status::kOk);
    pong.clear();
  }
  REQUIRE(wait_for(other) == 0);
}

TEST_CASE("what was written before an event was set is seen by those who waited for it") {
  Flag flag;
  shm::Event back(flag.segment.make({shm::ObjectKind::kEvent, "", "event", {}}));
  std::uint64_t plain = 0;
  std::thread reader([&] {
    auto& me = flag.segment.me();
    for (std::uint64_t i = 1; i <= 500; ++i) {
      if (flag.event.wait(Deadline::never()) != Status::kOk || plain != i) abort();
      flag.event.clear();
      plain = 0;
      back.set(me);
    }
  });
  for (std::uint64_t i = 1; i <= 500; ++i) {
    plain = i;
    flag.set();
    while (!back.is_set()) (void)back.wait(Deadline::after(1ms));
    back.clear();
    if (plain != 0) abort();
  }
  reader.join();
}
