// Lock, rule by rule, and the rules of time and ownership that hold for everything that waits.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <sys/time.h>

#include <catch2/catch.hpp>
#include <limits>
#include <mutex>
#include <sstream>
#include <thread>

#include "support/children.h"
#include "support/manager_home.h"
#include "support/refusal.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

void require(bool condition) {
  if (!condition) std::exit(1);
}

}  // namespace

TEST_CASE("a free lock is acquired at once, whatever the timeout, and released with nothing to say") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  CHECK(lock.acquire());
  lock.release();
  for (auto timeout : {0ms, -1ms, 10ms}) {
    CHECK(lock.acquire(timeout));
    lock.release();
  }
}

TEST_CASE("an owner that locks again without a timeout gets a UsageError instead of waiting for itself for ever") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock(named("mine"));
  lock.lock();
  CHECK(refusal<UsageError>([&] { lock.lock(); }).find("\"mine\"") != std::string::npos);
  CHECK_THROWS_AS(lock.acquire(), UsageError);
  auto condition = manager.condition(lock);
  CHECK_THROWS_AS(condition.lock(), UsageError);
  CHECK(!lock.try_lock());
  CHECK(lock.held());
  lock.unlock();
  CHECK(!lock.locked());

  auto value = manager.value(1);
  std::scoped_lock guard(value.lock());
  CHECK_THROWS_AS(value.lock().lock(), UsageError);
}

TEST_CASE("an owner of a lock that is handed over waits for the one who unlocks it") {
  ManagerHome home;
  Manager manager;
  auto done = manager.lock({.handover = true});
  done.lock();
  Process other([&] { done.unlock(); });
  other.start();
  done.lock();  // a signal: it was unlocked by the other one
  other.join();
  CHECK(done.held());
}

TEST_CASE("a fencing token is given to the thread that holds the lock, and to nobody else") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  CHECK_THROWS_AS(lock.fencing_token(), NotHeld);
  std::scoped_lock guard(lock);
  const auto token = lock.fencing_token();
  CHECK(lock.fencing_token() == token);
  std::thread([&] { CHECK_THROWS_AS(lock.fencing_token(), NotHeld); }).join();
}

TEST_CASE("an owner that acquires again waits for itself, until its timeout") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  CHECK(lock.acquire());
  CHECK(!lock.try_lock());
  CHECK(!lock.acquire(5ms));
  lock.release();
  CHECK_THROWS_AS(lock.release(), NotHeld);  // it was held once, not twice
}

TEST_CASE("zero and negative timeouts are one attempt, also for the owner of another lock") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  lock.lock();
  CHECK(run([&] {
          require(!lock.acquire(0s));
          require(!lock.acquire(-1s));
          require(!lock.acquire(-1.0s));
          require(!lock.try_lock());
        }) == 0);
  lock.unlock();
}

TEST_CASE("a timeout beyond the clock's range is for ever") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  CHECK(lock.acquire(std::chrono::duration<double>(1e12)));
  lock.release();
  CHECK(lock.acquire(std::chrono::hours::max()));
  CHECK(run([&] { require(!lock.try_lock_until(std::chrono::steady_clock::time_point::min())); }) == 0);
  lock.release();
}

TEST_CASE("any thread of any process may release a lock that is held; of a free one that is NotHeld, which names it") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock(named("door"));
  lock.lock();
  std::thread([&] { lock.unlock(); }).join();
  CHECK(!lock.locked());
  lock.lock();
  CHECK(run([&] { lock.unlock(); }) == 0);
  CHECK(!lock.locked());
  try {
    lock.unlock();
    FAIL("it was free");
  } catch (const NotHeld& error) {
    CHECK(std::string(error.what()).find("door") != std::string::npos);
  }
}

TEST_CASE("a signal that is handled does not end a wait, which resumes with the time that is left") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  lock.lock();
  CHECK(run([&] {
          struct sigaction action = {};
          action.sa_handler = [](int) {};  // without SA_RESTART
          sigaction(SIGALRM, &action, nullptr);
          itimerval every{{0, 3000}, {0, 3000}};
          setitimer(ITIMER_REAL, &every, nullptr);
          const auto start = std::chrono::steady_clock::now();
          require(!lock.acquire(40ms));
          require(std::chrono::steady_clock::now() - start >= 40ms);
        }) == 0);
  lock.unlock();
}

TEST_CASE("two proxies of one lock in a thread are one owner, two threads are two") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock(named("door"));
  auto same = manager.open<Lock>("door");
  lock.lock();
  CHECK(same.held());
  std::thread([&] { CHECK(!same.held()); }).join();
  same.unlock();
  CHECK(!lock.locked());
}

TEST_CASE("a scope that ends with an exception releases its lock") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  try {
    std::scoped_lock guard(lock);
    throw std::runtime_error("in the middle");
  } catch (const std::runtime_error&) {
  }
  CHECK(!lock.locked());
}

TEST_CASE("a lock that is printed says which process holds it") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock(named("door"));
  std::ostringstream text;
  text << lock;
  lock.lock();
  text << lock;
  CHECK(text.str().find("free") != std::string::npos);
  CHECK(text.str().find("held by process " + std::to_string(getpid())) != std::string::npos);
  lock.unlock();
}

TEST_CASE("an owner is a thread of a process: no other thread and no forked child holds what it holds") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  auto rlock = manager.rlock();
  auto rwlock = manager.rwlock();
  std::scoped_lock guard(lock, rlock, rwlock);
  const auto holds_none = [&] {
    return !lock.held() && !rlock.held() && !rwlock.held() && !lock.try_lock() && !rlock.try_lock() &&
           !rwlock.try_lock() && !rwlock.try_lock_shared();
  };
  bool other_thread = false;
  std::thread([&] { other_thread = holds_none(); }).join();
  CHECK(other_thread);
  CHECK(run([&] { require(holds_none()); }) == 0);
  CHECK((lock.held() && rlock.held() && rwlock.held()));
}
