// Barrier as the reference's users know it: each test is a row of docs/semantics/sync.md.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

constexpr int kBroken = 77;

// A process that comes to the barrier; ends with its index, or kBroken.
Process party(const Barrier& barrier) {
  const auto before = barrier.n_waiting();
  Process process([barrier] {
    try {
      std::exit(static_cast<int>(barrier.wait()));
    } catch (const BrokenBarrier&) {
      std::exit(kBroken);
    }
  });
  process.start();
  if (before + 1 < barrier.parties()) REQUIRE(eventually([&] { return barrier.n_waiting() == before + 1; }));
  return process;
}

int outcome(Process& process) {
  process.join();
  return process.exitcode().value_or(-1);
}

}  // namespace

TEST_CASE("a barrier lets its parties go together, each with another number, again and again") {
  ManagerHome home;
  Manager manager;
  auto barrier = manager.barrier(3);
  CHECK(barrier.parties() == 3);
  for (int round = 0; round < 10; ++round) {
    auto a = party(barrier), b = party(barrier);
    CHECK(barrier.n_waiting() == 2);
    CHECK(a.is_alive());
    const auto own = barrier.wait();
    CHECK(own == 2);
    CHECK(outcome(a) == 0);  // the order of arrival
    CHECK(outcome(b) == 1);
    CHECK(barrier.n_waiting() == 0);
  }
  CHECK(!barrier.broken());
}

TEST_CASE("a barrier without parties is refused") {
  ManagerHome home;
  Manager manager;
  CHECK_THROWS_AS(manager.barrier(0), ValueError);
  CHECK_THROWS_AS(manager.barrier(-3), ValueError);
  CHECK_THROWS_WITH(manager.barrier(-3), Contains("-3 parties"));
  auto one = manager.barrier(1);
  CHECK(one.wait() == 0);
  CHECK(one.wait(0s) == 0);
  one.arrive_and_wait();
}

TEST_CASE("a wait whose time passes breaks the barrier for all") {
  ManagerHome home;
  Manager manager;
  auto barrier = manager.barrier(3);
  auto other = party(barrier);
  const auto start = std::chrono::steady_clock::now();
  CHECK_THROWS_AS(barrier.wait(20ms), BrokenBarrier);
  CHECK(std::chrono::steady_clock::now() - start >= 20ms);
  CHECK(outcome(other) == kBroken);
  CHECK(barrier.broken());
  CHECK(barrier.n_waiting() == 0);
  CHECK_THROWS_AS(barrier.wait(), BrokenBarrier);
  CHECK_THROWS_WITH(barrier.wait(), Contains("process " + std::to_string(getpid())) && Contains("reset()"));
}

TEST_CASE("a time of zero or less lets the last party pass, and breaks the barrier for others") {
  ManagerHome home;
  Manager manager;
  auto barrier = manager.barrier(2);
  for (auto timeout : {0s, -1s}) {
    auto other = party(barrier);
    CHECK(barrier.wait(timeout) == 1);
    CHECK(outcome(other) == 0);
    CHECK_THROWS_AS(barrier.wait(timeout), BrokenBarrier);
    barrier.reset();
  }
}

TEST_CASE("a barrier's own timeout counts for those who give none") {
  ManagerHome home;
  Manager manager;
  auto barrier = manager.barrier(2, {.timeout = 10ms});
  CHECK_THROWS_AS(barrier.wait(), BrokenBarrier);
  barrier.reset();
  std::uint64_t index = 9;
  std::thread other([&] { index = barrier.wait(10s); });
  REQUIRE(eventually([&] { return barrier.n_waiting() == 1; }));
  std::this_thread::sleep_for(30ms);  // its own time counts
  CHECK(barrier.wait() == 1);
  other.join();
  CHECK(index == 0);
}

TEST_CASE("the action runs once for each passing, in the last party's process, before anyone goes") {
  ManagerHome home;
  Manager manager;
  auto runs = manager.value(0), ran_in = manager.value(0), early = manager.value(0);
  auto barrier = manager.barrier(3, {.action = [&] {
                                   ran_in = getpid();
                                   std::this_thread::sleep_for(5ms);
                                   ++runs;
                                 }});
  for (int round = 1; round <= 3; ++round) {
    std::vector<Process> others;
    for (int i = 0; i < 2; ++i) {
      others.emplace_back([&] {
        barrier.wait();
        if (runs != round) ++early;
      });
      others.back().start();
    }
    REQUIRE(eventually([&] { return barrier.n_waiting() == 2; }));
    CHECK(barrier.wait() == 2);
    CHECK(runs == round);
    CHECK(ran_in == getpid());
    for (auto& other : others) other.join();
  }
  CHECK(early == 0);

  auto other = party(barrier), another = party(barrier);
  CHECK(barrier.wait([&] { runs = 100; }) == 2);  // another one for this once
  CHECK(runs == 100);
  CHECK(outcome(other) == 0);
  CHECK(outcome(another) == 1);
}

TEST_CASE("an action that throws breaks the barrier; its caller gets what it threw") {
  ManagerHome home;
  Manager manager;
  auto barrier = manager.barrier(2).with_action([] { throw std::domain_error("no"); });
  auto other = party(barrier);
  CHECK_THROWS_AS(barrier.wait(), std::domain_error);
  CHECK(outcome(other) == kBroken);
  CHECK(barrier.broken());
}

TEST_CASE("reset sends those inside away, and repairs a broken barrier") {
  ManagerHome home;
  Manager manager;
  auto barrier = manager.barrier(2);
  barrier.reset();  // nobody inside
  CHECK(!barrier.broken());
  auto other = party(barrier);
  barrier.reset();
  CHECK(outcome(other) == kBroken);
  CHECK(!barrier.broken());
  barrier.abort();
  CHECK(barrier.broken());
  barrier.reset();
  CHECK(!barrier.broken());
  auto again = party(barrier);
  CHECK(barrier.wait() == 1);
  barrier.reset();  // after all were let go: no effect on them
  CHECK(outcome(again) == 0);
}

TEST_CASE("abort breaks a barrier until it is reset") {
  ManagerHome home;
  Manager manager;
  auto barrier = manager.barrier(3);
  auto other = party(barrier);
  barrier.abort();
  barrier.abort();
  CHECK(outcome(other) == kBroken);
  CHECK(barrier.broken());
  CHECK_THROWS_AS(barrier.wait(1s), BrokenBarrier);
  CHECK_THROWS_WITH(barrier.wait(), Contains("called abort()"));
}

TEST_CASE("a process that is killed at a barrier breaks it at once, and the error names it") {
  ManagerHome home;
  Manager manager;
  auto barrier = manager.barrier(4);
  auto a = party(barrier), doomed = party(barrier), b = party(barrier);
  doomed.kill();
  CHECK(outcome(a) == kBroken);
  CHECK(outcome(b) == kBroken);
  CHECK(barrier.broken());
  CHECK_THROWS_WITH(barrier.wait(), Contains("process " + std::to_string(*doomed.pid()) + " died in it"));
  barrier.reset();
  auto c = party(barrier), d = party(barrier), e = party(barrier);
  CHECK(barrier.wait() == 3);
}

TEST_CASE("a process that is killed in the action breaks the barrier") {
  ManagerHome home;
  Manager manager;
  auto barrier = manager.barrier(2);
  auto other = party(barrier);
  Process doomed([&] { barrier.wait([] { raise(SIGKILL); }); });
  doomed.start();
  doomed.join();
  CHECK(outcome(other) == kBroken);
  CHECK(barrier.broken());
}

TEST_CASE("a barrier has a name, a token, and prints how many wait") {
  ManagerHome home;
  Manager manager;
  auto barrier = manager.barrier(named("start"), 3);
  CHECK(manager.open<Barrier>("start") == barrier);
  CHECK(attach<Barrier>(barrier.token()) == barrier);
  CHECK(manager.barrier(named("start"), 3).parties() == 3);
  CHECK_THROWS_AS(manager.barrier(named("start"), 9), OptionsMismatch);
  std::ostringstream out;
  auto other = party(barrier);
  out << barrier;
  barrier.abort();
  out << barrier;
  CHECK(outcome(other) == kBroken);
  CHECK(out.str() == "<barrier \"start\" 1 of 3 waiting><barrier \"start\" broken>");
}
