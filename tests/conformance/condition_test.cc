// Condition as the reference's users know it: each test is a row of docs/semantics/sync.md.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <mutex>
#include <sstream>
#include <thread>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

// A process that waits once and ends with 0 when it was told.
Process waiter(const Condition& condition) {
  const auto before = condition.n_waiting();
  Process process([condition] {
    std::scoped_lock guard(condition);
    if (!condition.wait()) raise(SIGABRT);
  });
  process.start();
  REQUIRE(eventually([&] { return condition.n_waiting() == before + 1; }));
  return process;
}

void notify(const Condition& condition, std::int64_t count) {
  std::scoped_lock guard(condition);
  condition.notify(count);
}

}  // namespace

TEST_CASE("a condition without a lock has a recursive one of its own") {
  ManagerHome home;
  Manager manager;
  auto condition = manager.condition();
  CHECK_THROWS_AS(condition.release(), NotHeld);
  CHECK(condition.acquire());
  CHECK(condition.acquire(0s));
  CHECK(condition.try_lock());
  CHECK(condition.held());
  std::thread([&] {
    CHECK(!condition.try_lock());
    CHECK(!condition.acquire(1ms));
    CHECK_THROWS_AS(condition.release(), NotHeld);
  }).join();
  for (int i = 0; i < 3; ++i) condition.release();
  CHECK(!condition.held());
}

TEST_CASE("a condition's lock may be a Lock or an RLock, which it keeps alive") {
  ManagerHome home;
  Manager manager;
  auto plain = std::make_optional(manager.lock());
  auto recursive = std::make_optional(manager.rlock());
  auto on_plain = manager.condition(*plain);
  auto on_recursive = manager.condition(*recursive), beside = manager.condition(*recursive);
  {
    std::scoped_lock guard(*plain, *recursive);
    CHECK(on_plain.held());
    CHECK(on_recursive.held());
    CHECK(!on_plain.try_lock());
    CHECK(on_recursive.try_lock());
    CHECK(recursive->depth() == 2);
    on_recursive.unlock();
    CHECK(!on_plain.wait(0s));
    CHECK(!on_recursive.wait(1ms));
    CHECK(beside.held());
  }
  plain.reset();
  recursive.reset();
  for (int i = 0; i < 20; ++i) manager.lock();  // give their records to others, if they can be had
  std::this_thread::sleep_for(20ms);
  {
    std::scoped_lock guard(on_plain);
    CHECK(!on_plain.wait(1ms));
  }
  auto process = waiter(beside);
  {
    std::scoped_lock guard(on_recursive);  // the same lock
    CHECK(beside.held());
    beside.notify();
  }
  process.join();
  CHECK(process.exitcode() == 0);
}

TEST_CASE("a condition takes no lock of another manager") {
  ManagerHome home;
  Manager manager, other;
  auto lock = other.lock();
  CHECK_THROWS_AS(manager.condition(lock), UsageError);
  CHECK_THROWS_AS(manager.create<Condition>("cross", lock), Error);
}

TEST_CASE("waiting and notifying are for the holder of the lock") {
  ManagerHome home;
  Manager manager;
  auto condition = manager.condition();
  CHECK_THROWS_AS(condition.wait(), NotHeld);
  CHECK_THROWS_AS(condition.wait(0s), NotHeld);
  CHECK_THROWS_AS(condition.notify(), NotHeld);
  CHECK_THROWS_AS(condition.notify(0), NotHeld);
  CHECK_THROWS_AS(condition.notify_all(), NotHeld);
  std::scoped_lock guard(condition);
  std::thread([&] {
    CHECK_THROWS_WITH(condition.notify(), Contains("another thread of this process"));
    CHECK_THROWS_AS(condition.wait(1ms), NotHeld);
  }).join();
}

TEST_CASE("a wait releases every level, and has them again before it returns, also after its time") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rlock();
  auto condition = manager.condition(lock);
  for (int i = 0; i < 3; ++i) lock.acquire();
  CHECK(!condition.wait(0s));
  CHECK(!condition.wait(-1s));
  CHECK(lock.depth() == 3);
  CHECK(!condition.wait(5ms));
  CHECK(lock.depth() == 3);
  Process other([&] { notify(condition, 1); });  // needs the lock
  other.start();
  CHECK(condition.wait());
  CHECK(lock.depth() == 3);
  other.join();
  for (int i = 0; i < 3; ++i) lock.release();
}

TEST_CASE("a wait whose time passes gets the lock before it returns") {
  ManagerHome home;
  Manager manager;
  auto condition = manager.condition();
  std::atomic<bool> over{false}, told{true};
  std::thread waiting([&] {
    std::scoped_lock guard(condition);
    told = condition.wait(5ms);
    over = true;
  });
  REQUIRE(eventually([&] { return condition.n_waiting() == 1; }));
  {
    std::scoped_lock guard(condition);
    std::this_thread::sleep_for(20ms);
    CHECK(!over);
  }
  waiting.join();
  CHECK(over);
  CHECK(!told);
}

TEST_CASE("notify wakes so many that wait now, in their order; nobody waiting: nothing is remembered") {
  ManagerHome home;
  Manager manager;
  auto condition = manager.condition();
  notify(condition, 3);
  std::vector<Process> waiters;
  for (int i = 0; i < 5; ++i) waiters.push_back(waiter(condition));
  notify(condition, 0);
  notify(condition, -2);
  CHECK(condition.n_waiting() == 5);
  notify(condition, 1);
  waiters[0].join();
  CHECK(condition.n_waiting() == 4);
  notify(condition, 2);
  waiters[1].join();
  waiters[2].join();
  CHECK(condition.n_waiting() == 2);
  {
    std::scoped_lock guard(condition);
    condition.notify_all();
    CHECK(condition.n_waiting() == 0);
    CHECK(!waiters[3].join_for(10ms));  // they go on when the lock is released
  }
  waiters[3].join();
  waiters[4].join();
  for (auto& process : waiters) CHECK(process.exitcode() == 0);
}

TEST_CASE("a predicate is called here, with the lock held, and its last value is what wait_for returns") {
  ManagerHome home;
  Manager manager;
  auto condition = manager.condition();
  auto number = manager.value(0);
  std::scoped_lock guard(condition);
  int calls = 0;
  CHECK(condition.wait_for([&] { return ++calls; }) == 1);  // true at once: no wait
  const int here = getpid();
  Process other([&] {
    for (int i = 0; i < 3; ++i) {
      std::scoped_lock guard(condition);
      ++number;
      condition.notify();
    }
  });
  other.start();
  auto found = condition.wait_for([&]() -> std::optional<int> {
    if (!condition.held() || getpid() != here || number < 3) return std::nullopt;
    return number.load() * 10;
  });
  CHECK(found == std::optional(30));
  other.join();

  calls = 0;
  CHECK(!condition.wait_for([&] { return ++calls > 99; }, 0s));
  CHECK(calls == 1);
  CHECK(!condition.wait_for([&] { return ++calls > 99; }, -1s));
  CHECK(calls == 2);
  const auto start = std::chrono::steady_clock::now();
  CHECK(condition.wait_for([] { return std::optional<int>(); }, 20ms) == std::nullopt);
  CHECK(std::chrono::steady_clock::now() - start >= 20ms);
  CHECK(condition.wait_for([] { return 5; }, 1ms) == 5);
}

TEST_CASE("one deadline counts for all the waits of a wait_for") {
  ManagerHome home;
  Manager manager;
  auto condition = manager.condition();
  std::atomic<bool> over{false};
  std::thread nuisance([&] {
    while (!over) {
      notify(condition, 1);
      std::this_thread::sleep_for(1ms);
    }
  });
  {
    std::scoped_lock guard(condition);
    int calls = 0;
    CHECK(!condition.wait_for([&] { return ++calls < 0; }, 60ms));
    CHECK(calls > 2);
  }
  over = true;
  nuisance.join();
}

TEST_CASE("what a predicate throws leaves wait_for with the lock held") {
  ManagerHome home;
  Manager manager;
  auto condition = manager.condition();
  std::scoped_lock guard(condition);
  CHECK_THROWS_AS(condition.wait_for([]() -> bool { throw std::domain_error("no"); }), std::domain_error);
  CHECK(condition.held());
}

TEST_CASE("a condition is used like a std::condition_variable_any") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  auto condition = manager.condition(lock);
  auto number = manager.value(0);
  Process other([&] {
    for (int i = 0; i < 4; ++i) {
      std::scoped_lock guard(lock);
      ++number;
      i % 2 == 0 ? condition.notify_one() : condition.notify_all();
    }
  });
  std::unique_lock guard(lock);
  other.start();
  condition.wait(guard, [&] { return number >= 1; });
  CHECK(condition.wait_for(guard, 10s, [&] { return number >= 2; }));
  CHECK(condition.wait_until(guard, std::chrono::steady_clock::now() + 10s, [&] { return number >= 4; }));
  CHECK(condition.wait_for(guard, 1ms) == std::cv_status::timeout);
  CHECK(condition.wait_until(guard, std::chrono::system_clock::now()) == std::cv_status::timeout);
  CHECK(!condition.wait_for(guard, 1ms, [] { return false; }));
  CHECK(guard.owns_lock());
  CHECK(lock.held());
  other.join();
}

TEST_CASE("one whose time passed takes no notification from the others") {
  ManagerHome home;
  Manager manager;
  auto condition = manager.condition();
  {
    std::scoped_lock guard(condition);
    for (int i = 0; i < 10; ++i) CHECK(!condition.wait(0s));
  }
  auto process = waiter(condition);
  notify(condition, 1);
  process.join();
  CHECK(process.exitcode() == 0);
}

TEST_CASE("a waiter that is killed takes no notification from the others, even one that it was given") {
  ManagerHome home;
  Manager manager;
  auto condition = manager.condition();
  auto doomed = waiter(condition), next = waiter(condition);
  SECTION("killed before it is told") {
    doomed.kill();
    doomed.join();
    notify(condition, 1);
  }
  SECTION("killed after it was told") {
    kill(*doomed.pid(), SIGSTOP);
    notify(condition, 1);
    doomed.kill();
    doomed.join();
  }
  next.join();
  CHECK(next.exitcode() == 0);
  std::scoped_lock guard(condition);  // and the lock is free
  CHECK(!condition.owner_died());
}

TEST_CASE("when the holder of the lock is killed, those who wait are woken to see what it left") {
  ManagerHome home;
  Manager manager;
  auto condition = manager.condition();
  auto first = waiter(condition), second = waiter(condition);
  Process holder([&] {
    condition.lock();
    raise(SIGKILL);
  });
  holder.start();
  holder.join();
  first.join();
  second.join();
  CHECK(first.exitcode() == 0);
  CHECK(second.exitcode() == 0);
  std::scoped_lock guard(condition);
  CHECK(condition.owner_died() == holder.pid());
}

TEST_CASE("a wait under a lock that a dead holder poisoned throws, and holds the lock") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock({.poison = true});
  auto condition = manager.condition(lock);
  std::unique_lock guard(lock);
  Process holder([&] {
    condition.lock();
    raise(SIGKILL);
  });
  holder.start();
  CHECK_THROWS_AS(condition.wait(), Poisoned);
  CHECK(lock.held());
  holder.join();
  lock.mark_consistent();
  CHECK(!condition.wait(1ms));
}

TEST_CASE("a condition has a name, a token, and prints its lock's holder and how many wait") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  auto condition = manager.condition(named("filled"), lock);
  CHECK(manager.open<Condition>("filled") == condition);
  CHECK(manager.condition(named("filled")) == condition);
  CHECK(attach<Condition>(condition.token()) == condition);
  std::ostringstream out;
  out << condition;
  auto process = waiter(condition);
  {
    std::scoped_lock guard(lock);
    out << condition;
    condition.notify();
  }
  process.join();
  CHECK(out.str() == "<condition \"filled\" free, 0 waiting><condition \"filled\" held by process " +
                         std::to_string(getpid()) + ", 1 waiting>");
}
