// What each call of Lock does, and what a dead owner leaves.
#include <commonhold/manager.h>
#include <commonhold/process.h>
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

namespace {

// A process that takes the lock and is killed holding it; its pid.
int die_with(const Lock& lock) {
  Process owner([&] {
    lock.lock();
    raise(SIGKILL);
  });
  owner.start();
  owner.join();
  REQUIRE(owner.exitcode() == -SIGKILL);
  return *owner.pid();
}

}  // namespace

TEST_CASE("a lock is a standard lock") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  auto other = manager.lock();
  {
    std::scoped_lock guard(lock, other);
    CHECK(lock.locked());
    CHECK(lock.held());
    CHECK(lock.holder() == std::optional<int>(getpid()));
    CHECK(!lock.try_lock());
  }
  CHECK(!lock.locked());
  CHECK(!lock.holder());
  {
    std::unique_lock guard(lock, std::defer_lock);
    CHECK(guard.try_lock());
    guard.unlock();
    CHECK(guard.try_lock_for(1ms));
    std::thread([&] {
      CHECK(!lock.held());
      CHECK(!lock.try_lock_for(1ms));
      CHECK(!lock.try_lock_until(std::chrono::system_clock::now() + 1ms));
    }).join();
  }
  CHECK(lock.acquire());
  CHECK(!lock.acquire(0s));
  CHECK(!lock.acquire(-1s));
  lock.release();
  CHECK(lock.acquire(std::chrono::hours::max()));
  lock.release();
}

TEST_CASE("anybody may release a lock that is held, nobody one that is free") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  CHECK_THROWS_AS(lock.unlock(), NotHeld);
  lock.lock();
  Process other([&] { lock.unlock(); });
  other.start();
  other.join();
  CHECK(!lock.locked());
}

TEST_CASE("a wait ends late, never early") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  lock.lock();
  std::thread([&] {
    const auto start = std::chrono::steady_clock::now();
    CHECK(!lock.try_lock_for(25ms));
    CHECK(std::chrono::steady_clock::now() - start >= 25ms);
  }).join();
  lock.unlock();
}

TEST_CASE("a lock excludes threads and processes") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  auto inside = manager.value(0);
  auto most = manager.value(0);
  std::vector<Process> processes;
  for (int i = 0; i < 3; ++i) {
    processes.emplace_back([&] {
      const auto work = [&] {
        for (int round = 0; round < 300; ++round) {
          std::scoped_lock guard(lock);
          const int now = ++inside;
          most.update([&](int seen) { return std::max(seen, now); });
          --inside;
        }
      };
      std::thread other(work);
      work();
      other.join();
    });
    processes.back().start();
  }
  for (auto& process : processes) process.join();
  CHECK(most == 1);
  CHECK(!lock.locked());
}

TEST_CASE("a forked child holds nothing of what its parent holds") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  lock.lock();
  auto seen = manager.value(-1);
  Process child([&] { seen = lock.held() ? 1 : lock.try_lock() ? 2 : 0; });
  child.start();
  child.join();
  CHECK(seen == 0);
  CHECK(lock.held());
  lock.unlock();
}

TEST_CASE("the next owner learns once that the last one died") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  const int died = die_with(lock);
  std::scoped_lock guard(lock);
  CHECK(lock.owner_died() == std::optional<int>(died));
  CHECK(lock.owner_died() == std::nullopt);
}

TEST_CASE("a waiter gets the lock of an owner that is killed") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  auto held = manager.value(false);
  Process owner([&] {
    lock.lock();
    held = true;
    for (;;) pause();
  });
  owner.start();
  held.wait(false);
  CHECK(!lock.try_lock_for(1ms));
  std::thread waiter([&] {
    lock.lock();
    CHECK(lock.owner_died() == owner.pid());
    lock.unlock();
  });
  std::this_thread::sleep_for(5ms);
  owner.kill();
  waiter.join();
}

TEST_CASE("a thread that ends with a lock is a dead owner") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  std::thread([&] { lock.lock(); }).join();
  CHECK(lock.try_lock_for(10s));
  CHECK(lock.owner_died() == std::optional<int>(getpid()));
  lock.unlock();
}

TEST_CASE("a stopped owner keeps its lock") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  auto held = manager.value(false);
  Process owner([&] {
    std::scoped_lock guard(lock);
    held = true;
    raise(SIGSTOP);
  });
  owner.start();
  held.wait(false);
  CHECK(!lock.try_lock_for(300ms));
  CHECK(lock.holder() == owner.pid());
  kill(*owner.pid(), SIGCONT);
  owner.join();
  CHECK(owner.exitcode() == 0);
  CHECK(lock.try_lock());
  CHECK(!lock.owner_died());
  lock.unlock();
}

TEST_CASE("a poisoned lock asks for a repair first") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock({.poison = true});
  { std::scoped_lock guard(lock); }
  const int died = die_with(lock);
  for (int i = 0; i < 2; ++i) {
    try {
      lock.lock();
      FAIL("acquired");
    } catch (const Poisoned& error) {
      CHECK(error.died_pid() == died);
      CHECK_THAT(error.what(), Catch::Contains(std::to_string(died)) && Catch::Contains("mark_consistent"));
    }
  }
  CHECK_THROWS_AS(lock.try_lock(), Poisoned);
  CHECK(!lock.locked());
  lock.mark_consistent();
  std::scoped_lock guard(lock);
  CHECK(!lock.owner_died());
}

TEST_CASE("fencing tokens rise with every owner") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  auto last = manager.value<std::uint64_t>(0);
  const auto take = [&] {
    std::scoped_lock guard(lock);
    CHECK(lock.fencing_token() > last);
    last = lock.fencing_token();
  };
  take();
  die_with(lock);
  take();
  std::thread(take).join();
}

TEST_CASE("a lock prints who holds it") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock(named("stock"));
  std::ostringstream out;
  out << lock;
  std::scoped_lock guard(lock);
  out << lock;
  CHECK(out.str() == "<lock \"stock\" free><lock \"stock\" held by process " + std::to_string(getpid()) + ">");
}
