// RLock as the reference's users know it: each test is a row of docs/semantics/sync.md.
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

TEST_CASE("an rlock is a standard recursive lock") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rlock();
  auto other = manager.rlock();
  {
    std::scoped_lock guard(lock, other);
    std::unique_lock again(lock);
    CHECK(lock.depth() == 2);
    CHECK(lock.held());
    CHECK(lock.locked());
    CHECK(lock.holder() == std::optional<int>(getpid()));
  }
  CHECK(!lock.locked());
  CHECK(!lock.held());
  CHECK(lock.depth() == 0);
  CHECK(!lock.holder());
  std::unique_lock guard(lock, 1s);
  CHECK(guard.owns_lock());
}

TEST_CASE("an rlock is acquired when free, again by its owner, and not while another holds it") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rlock();
  CHECK(lock.acquire());
  CHECK(lock.acquire());
  CHECK(lock.acquire(0s));
  CHECK(lock.acquire(-1s));
  CHECK(lock.acquire(std::chrono::hours::max()));
  CHECK(lock.try_lock());
  CHECK(lock.try_lock_for(1ms));
  CHECK(lock.try_lock_until(std::chrono::system_clock::now()));
  CHECK(lock.depth() == 8);
  std::thread([&] {
    CHECK(!lock.held());
    CHECK(!lock.try_lock());
    CHECK(!lock.acquire(0s));
    CHECK(!lock.acquire(-1s));
    const auto start = std::chrono::steady_clock::now();
    CHECK(!lock.acquire(20ms));
    CHECK(std::chrono::steady_clock::now() - start >= 20ms);
  }).join();
  for (int i = 0; i < 8; ++i) {
    CHECK(lock.locked());
    lock.release();
  }
  CHECK(!lock.locked());
}

TEST_CASE("a full release needs as many releases as acquires, and lets the next waiter in") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rlock();
  auto got = manager.value(false);
  lock.acquire();
  lock.acquire();
  Process waiter([&] {
    std::scoped_lock guard(lock);
    got = true;
  });
  waiter.start();
  lock.release();
  CHECK(!waiter.join_for(20ms));
  CHECK(got == false);
  lock.release();
  waiter.join();
  CHECK(got == true);
}

TEST_CASE("nobody but its owner releases an rlock, and the error names the owner") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rlock(named("stock"));
  CHECK_THROWS_AS(lock.release(), NotHeld);
  CHECK_THROWS_WITH(lock.unlock(), Contains("stock") && Contains("held by nobody"));
  lock.acquire();
  std::thread([&] {
    CHECK_THROWS_AS(lock.release(), NotHeld);
    CHECK_THROWS_WITH(lock.release(), Contains("another thread of this process (" + std::to_string(getpid()) + ")"));
  }).join();
  auto said = manager.value(0);
  const int parent = getpid();
  Process child([&] {
    try {
      lock.release();
    } catch (const NotHeld& error) {
      said = std::string(error.what()).find("process " + std::to_string(parent)) != std::string::npos ? 1 : 2;
    }
  });
  child.start();
  child.join();
  CHECK(said == 1);
  CHECK(lock.held());
  lock.release();
}

TEST_CASE("a forked child owns no rlock of its parent") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rlock();
  lock.acquire();
  auto seen = manager.value(-1);
  Process child([&] { seen = lock.held() ? 1 : lock.try_lock() ? 2 : 0; });
  child.start();
  child.join();
  CHECK(seen == 0);
  lock.release();
}

TEST_CASE("an rlock whose owner is killed is free, whatever its depth, and tells the next owner") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rlock();
  auto deep = manager.value(false);
  Process owner([&] {
    for (int i = 0; i < 3; ++i) lock.acquire();
    deep = true;
    for (;;) pause();
  });
  owner.start();
  deep.wait(false);
  std::thread waiter([&] {
    std::scoped_lock guard(lock);
    CHECK(lock.depth() == 1);
    CHECK(lock.owner_died() == owner.pid());
    CHECK(!lock.owner_died());
  });
  std::this_thread::sleep_for(5ms);
  owner.kill();
  waiter.join();
  CHECK(!lock.locked());
}

TEST_CASE("an rlock that poisons asks for a repair after a death") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rlock({.poison = true});
  Process owner([&] {
    lock.acquire();
    raise(SIGKILL);
  });
  owner.start();
  owner.join();
  CHECK_THROWS_AS(lock.acquire(), Poisoned);
  lock.mark_consistent();
  CHECK(lock.acquire());
  CHECK(lock.fencing_token() > 0);
  lock.release();
}

TEST_CASE("an rlock has a name, a token, and prints who holds it") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rlock(named("stock"));
  CHECK(manager.open<RLock>("stock") == lock);
  CHECK(attach<RLock>(lock.token()) == lock);
  CHECK_THROWS_AS(manager.open<Lock>("stock"), TypeMismatch);
  std::ostringstream out;
  out << lock;
  std::scoped_lock a(lock), b(lock);
  out << lock;
  CHECK(out.str() ==
        "<rlock \"stock\" free><rlock \"stock\" held by process " + std::to_string(getpid()) + ", depth 2>");
}
