// RWLock, rule by rule. Python has no such object; the standard library's shared_timed_mutex is the model.
#include <commonhold/commonhold.h>
#include <signal.h>

#include <catch2/catch.hpp>
#include <mutex>
#include <shared_mutex>
#include <sstream>
#include <thread>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

// A process that holds the lock until it is killed.
Process holder_of(const RWLock& lock, const Value<bool>& holds, bool writes) {
  Process process([=] {
    writes ? lock.lock() : lock.lock_shared();
    holds = true;
    for (;;) pause();
  });
  process.start();
  holds.wait(false);
  holds = false;
  return process;
}

}  // namespace

TEST_CASE("a readers-writer lock works with the standard guards") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rwlock();
  auto other = manager.lock();
  {
    std::shared_lock reading(lock);
    CHECK(lock.held_shared());
    CHECK(lock.readers() == 1);
    std::thread([&] {
      {
        std::shared_lock also(lock);
        CHECK(lock.readers() == 2);
      }
      CHECK(!lock.try_lock());
      CHECK(!lock.try_lock_for(1ms));
      CHECK(!lock.try_lock_until(std::chrono::system_clock::now() + 1ms));
    }).join();
  }
  {
    std::scoped_lock writing(lock, other);
    CHECK(lock.held());
    CHECK(lock.holder() == std::optional<int>(getpid()));
    std::thread([&] {
      CHECK(!lock.try_lock_shared());
      CHECK(!std::shared_lock(lock, 1ms).owns_lock());
      CHECK(!lock.try_lock_shared_until(std::chrono::steady_clock::now() + 1ms));
      CHECK(!lock.acquire(0s));
      CHECK(!lock.acquire_shared(-1s));
    }).join();
  }
  CHECK(!lock.holder());
  CHECK(lock.acquire());
  lock.release();
  CHECK(lock.acquire_shared());
  lock.release_shared();
}

TEST_CASE("a wait for a readers-writer lock ends late, never early") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rwlock();
  std::shared_lock reading(lock);
  std::thread([&] {
    const auto start = std::chrono::steady_clock::now();
    CHECK(!lock.try_lock_for(25ms));
    CHECK(std::chrono::steady_clock::now() - start >= 25ms);
  }).join();
}

TEST_CASE("asking for what would wait for itself is a usage error") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rwlock(named("table"));
  {
    std::shared_lock reading(lock);
    CHECK_THROWS_AS(lock.lock(), UsageError);
    CHECK_THROWS_AS(lock.try_lock_for(1ms), UsageError);
    CHECK(!lock.try_lock());
    CHECK(lock.try_lock_shared());
    lock.unlock_shared();
  }
  std::scoped_lock writing(lock);
  CHECK_THROWS_AS(lock.lock(), UsageError);
  CHECK_THROWS_AS(lock.lock_shared(), UsageError);
  CHECK(!lock.try_lock_shared());
  try {
    lock.lock_shared();
  } catch (const UsageError& error) {
    CHECK_THAT(error.what(), Catch::Contains("table") && Catch::Contains("unlock()"));
  }
}

TEST_CASE("only who holds a readers-writer lock gives it back") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rwlock();
  CHECK_THROWS_AS(lock.unlock(), NotHeld);
  CHECK_THROWS_AS(lock.unlock_shared(), NotHeld);
  std::scoped_lock writing(lock);
  std::thread([&] { CHECK_THROWS_AS(lock.unlock(), NotHeld); }).join();
  CHECK_THROWS_AS(lock.unlock_shared(), NotHeld);
  CHECK(lock.held());
}

TEST_CASE("new readers wait once a writer waits, and get in after it") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rwlock();
  auto order = manager.list<std::string>();
  auto shut_out = manager.value(false);
  lock.lock_shared();
  Process writer([&] {
    std::scoped_lock writing(lock);
    order.push_back("writer");
  });
  writer.start();
  Process reader([&] {
    while (lock.try_lock_shared()) lock.unlock_shared();  // until the writer waits
    shut_out = true;
    std::shared_lock reading(lock);
    order.push_back("reader");
  });
  reader.start();
  shut_out.wait(false);
  std::this_thread::sleep_for(5ms);
  CHECK(order.empty());
  lock.unlock_shared();
  writer.join();
  reader.join();
  CHECK(order == std::vector<std::string>{"writer", "reader"});
}

TEST_CASE("a writer gets in when readers are killed, and learns of a writer that was") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rwlock();
  auto holds = manager.value(false);
  Process reader = holder_of(lock, holds, false);
  CHECK(!lock.try_lock_for(5ms));
  std::thread writer([&] {
    std::scoped_lock writing(lock);
    CHECK(!lock.owner_died());
  });
  std::this_thread::sleep_for(5ms);
  reader.kill();
  writer.join();
  Process dying = holder_of(lock, holds, true);
  CHECK(!lock.try_lock_shared_for(5ms));
  dying.kill();
  { std::shared_lock reading(lock); }
  std::scoped_lock writing(lock);
  CHECK(lock.owner_died() == dying.pid());
  CHECK(!lock.owner_died());
}

TEST_CASE("a stopped reader is not robbed") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rwlock();
  auto holds = manager.value(false);
  Process reader = holder_of(lock, holds, false);
  kill(*reader.pid(), SIGSTOP);
  CHECK(!lock.try_lock_for(250ms));
  reader.kill();
  CHECK(lock.try_lock_for(10s));
  lock.unlock();
}

TEST_CASE("a forked child shares nothing of what its parent shares") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rwlock();
  std::shared_lock reading(lock);
  auto seen = manager.value(-1);
  Process child([&] { seen = lock.held_shared() ? 1 : 0; });
  child.start();
  child.join();
  CHECK(seen == 0);
  CHECK(lock.readers() == 1);
}

TEST_CASE("a readers-writer lock says who holds it, and is found by its name") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.rwlock(named("table"));
  std::ostringstream out;
  out << lock;
  lock.lock_shared();
  out << lock;
  lock.unlock_shared();
  lock.lock();
  out << lock;
  CHECK(out.str() ==
        "<rwlock \"table\" free><rwlock \"table\" shared by 1 thread><rwlock \"table\" written by process " +
            std::to_string(getpid()) + ">");
  CHECK(manager.open<RWLock>("table") == lock);
  CHECK(attach<RWLock>(lock.token()).held());
  CHECK_THROWS_AS(manager.open<Lock>("table"), TypeMismatch);
}
