// Semaphore and BoundedSemaphore, rule by rule.
#include <commonhold/commonhold.h>
#include <signal.h>

#include <catch2/catch.hpp>
#include <mutex>
#include <sstream>
#include <thread>

#include "support/children.h"
#include "support/manager_home.h"
#include "support/refusal.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

TEST_CASE("a semaphore starts at 1, or at any value from 0 to 2^31 - 1") {
  ManagerHome home;
  Manager manager;
  CHECK(manager.semaphore().get_value() == 1);
  CHECK(manager.bounded_semaphore().get_value() == 1);
  CHECK(manager.semaphore(0).get_value() == 0);
  CHECK(manager.semaphore(0x7fffffff).get_value() == 0x7fffffff);
  CHECK_THROWS_AS(manager.semaphore(-1), ValueError);
  CHECK_THROWS_AS(manager.bounded_semaphore(-1), ValueError);
  CHECK_THROWS_AS(manager.semaphore(0x80000000), ValueError);
  CHECK(refusal<Error>([&] { manager.semaphore(-1); }).find("-1") != std::string::npos);
}

TEST_CASE("acquire takes a permit, or tells when the time passed; a negative timeout is one attempt") {
  ManagerHome home;
  Manager manager;
  auto semaphore = manager.semaphore(2);
  CHECK(semaphore.acquire());
  CHECK(semaphore.try_acquire());
  CHECK(semaphore.get_value() == 0);
  CHECK(!semaphore.try_acquire());
  CHECK(!semaphore.acquire(0s));
  CHECK(!semaphore.acquire(-1s));
  const auto start = std::chrono::steady_clock::now();
  CHECK(!semaphore.acquire(25ms));
  CHECK(!semaphore.try_acquire_for(1ms));
  CHECK(std::chrono::steady_clock::now() - start >= 26ms);
  CHECK(!semaphore.try_acquire_until(std::chrono::system_clock::now() + 1ms));
  semaphore.release();
  CHECK(semaphore.acquire(std::chrono::hours::max()));
}

TEST_CASE("release wakes who waits, in another thread and in another process") {
  ManagerHome home;
  Manager manager;
  auto semaphore = manager.semaphore(0);
  auto passed = manager.value(0);
  std::thread waiter([&] {
    semaphore.acquire();
    ++passed;
  });
  Process other([&] {
    semaphore.acquire();
    ++passed;
  });
  other.start();
  std::this_thread::sleep_for(10ms);
  CHECK(passed == 0);
  semaphore.release();
  passed.wait(0);
  CHECK(passed == 1);
  semaphore.release();
  waiter.join();
  other.join();
  CHECK(passed == 2);
  CHECK(semaphore.get_value() == 0);
}

TEST_CASE("release of several permits lets several in; less than one is refused") {
  ManagerHome home;
  Manager manager;
  auto semaphore = manager.semaphore(0);
  semaphore.release(3);
  CHECK(semaphore.get_value() == 3);
  CHECK_THROWS_AS(semaphore.release(0), ValueError);
  CHECK_THROWS_AS(semaphore.release(-1), ValueError);
  CHECK(semaphore.get_value() == 3);
}

TEST_CASE("a semaphore may rise above its start, up to 2^31 - 1") {
  ManagerHome home;
  Manager manager;
  auto semaphore = manager.semaphore(1);
  semaphore.release();
  CHECK(semaphore.get_value() == 2);
  CHECK(semaphore.max() == 0x7fffffff);
  semaphore.release(0x7fffffff - 2);
  CHECK_THROWS_AS(semaphore.release(), ValueError);
  CHECK(semaphore.get_value() == 0x7fffffff);
}

TEST_CASE("a bounded semaphore above its start is an error that changes nothing") {
  ManagerHome home;
  Manager manager;
  auto semaphore = manager.bounded_semaphore(named("booths"), 2);
  CHECK(semaphore.max() == 2);
  CHECK_THROWS_AS(semaphore.release(), ValueError);
  CHECK(semaphore.get_value() == 2);
  semaphore.acquire();
  CHECK_THROWS_AS(semaphore.release(2), ValueError);
  CHECK(semaphore.get_value() == 1);
  semaphore.release();
  CHECK(semaphore.get_value() == 2);
  const std::string message = refusal<Error>([&] { semaphore.release(); });
  CHECK_THAT(message, Catch::Contains("booths") && Catch::Contains("above 2"));
  CHECK_THROWS_AS(manager.bounded_semaphore(0).release(), ValueError);
}

TEST_CASE("anybody may release") {
  ManagerHome home;
  Manager manager;
  auto semaphore = manager.semaphore(1);
  semaphore.acquire();
  std::thread([&] { semaphore.release(); }).join();
  CHECK(semaphore.get_value() == 1);
  semaphore.acquire();
  CHECK(run([&] { semaphore.release(); }) == 0);
  CHECK(semaphore.get_value() == 1);
}

TEST_CASE("a semaphore works with the standard guards") {
  ManagerHome home;
  Manager manager;
  auto semaphore = manager.semaphore(1);
  auto lock = manager.lock();
  {
    std::scoped_lock guard(semaphore, lock);
    CHECK(semaphore.get_value() == 0);
  }
  std::unique_lock guard(semaphore, 5ms);
  CHECK(guard.owns_lock());
  CHECK(!std::unique_lock(semaphore, 1ms).owns_lock());
}

TEST_CASE("a semaphore prints its value, and a bounded one its bound") {
  ManagerHome home;
  Manager manager;
  std::ostringstream out;
  out << manager.semaphore(named("booths"), 3) << manager.bounded_semaphore(4);
  CHECK(out.str() == "<semaphore \"booths\" value=3><anonymous bounded_semaphore value=4 max=4>");
}

TEST_CASE("a semaphore is found by its name and by its token, as what it is") {
  ManagerHome home;
  Manager manager;
  auto semaphore = manager.semaphore(named("booths"), 4);
  CHECK(manager.semaphore(named("booths")) == semaphore);
  CHECK_THROWS_AS(manager.semaphore(named("booths"), 9), OptionsMismatch);
  CHECK(manager.open<Semaphore>("booths").get_value() == 4);
  CHECK(attach<Semaphore>(semaphore.token()) == semaphore);
  CHECK_THROWS_AS(manager.open<BoundedSemaphore>("booths"), TypeMismatch);
  CHECK_THROWS_AS(manager.open<Lock>("booths"), TypeMismatch);
}

TEST_CASE("permits of a killed process come back, exactly") {
  ManagerHome home;
  Manager manager;
  auto semaphore = manager.semaphore(4);
  semaphore.acquire();
  CHECK(run([&] {
          for (int i = 0; i < 3; ++i) semaphore.acquire();
          semaphore.release();
          raise(SIGKILL);
        }) == -SIGKILL);
  while (semaphore.get_value() != 3) std::this_thread::sleep_for(1ms);  // the server sees to it
  std::this_thread::sleep_for(20ms);
  CHECK(semaphore.get_value() == 3);
  CHECK(semaphore.held() == 1);
}

TEST_CASE("a waiter gets the permit of a process that is killed, and a stopped process keeps its own") {
  ManagerHome home;
  Manager manager;
  auto semaphore = manager.semaphore(1);
  auto held = manager.value(false);
  Process holder([&] {
    semaphore.acquire();
    held = true;
    for (;;) pause();
  });
  holder.start();
  held.wait(false);
  kill(*holder.pid(), SIGSTOP);
  CHECK(!semaphore.try_acquire_for(250ms));
  std::thread waiter([&] { semaphore.acquire(); });
  std::this_thread::sleep_for(5ms);
  holder.kill();
  waiter.join();
  CHECK(semaphore.get_value() == 0);
  CHECK(semaphore.held() == 1);
}

TEST_CASE("what a process acquired is used up when it ends in order, or when the semaphore counts items") {
  ManagerHome home;
  Manager manager;
  auto permits = manager.semaphore(2);
  auto items = manager.semaphore(2, {.items = true});
  CHECK(run([&] { permits.acquire(); }) == 0);
  CHECK(permits.get_value() == 1);
  CHECK(run([&] {
          items.acquire();
          raise(SIGKILL);
        }) == -SIGKILL);
  CHECK(run([&] {
          permits.acquire();
          raise(SIGKILL);
        }) == -SIGKILL);
  while (permits.get_value() != 1) std::this_thread::sleep_for(1ms);  // the later death was seen to
  CHECK(items.get_value() == 1);
}

TEST_CASE("a forked child has none of its parent's permits") {
  ManagerHome home;
  Manager manager;
  auto semaphore = manager.semaphore(3);
  semaphore.acquire();
  auto seen = manager.value<std::int64_t>(-1);
  CHECK(run([&] {
          seen = semaphore.held();
          semaphore.acquire();
          raise(SIGKILL);
        }) == -SIGKILL);
  CHECK(seen == 0);
  while (semaphore.get_value() != 2) std::this_thread::sleep_for(1ms);
  CHECK(semaphore.held() == 1);
}
