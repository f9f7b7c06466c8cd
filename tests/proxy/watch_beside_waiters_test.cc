// Who watches a lock or semaphore sleeps among its waiters, and is woken in their place: what becomes of the wake-up.
#include <commonhold/commonhold.h>
#include <sys/resource.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <optional>
#include <thread>
#include <vector>

#include "shm/lock_word.h"
#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

long sleeps() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_nvcsw;
}

// How often threads of this process sleep while so many watch what stays taken, each for 300 ms.
template <typename Taken>
long sleeps_of_watchers(const Taken& taken) {
  constexpr int kWatchers = 12;
  const long before = sleeps();
  std::vector<std::thread> threads;
  std::atomic<int> told = 0;
  for (int i = 0; i < kWatchers; ++i) {
    threads.emplace_back([&] { told += taken.watch().wait(300ms); });
  }
  for (auto& thread : threads) thread.join();
  CHECK(told == 0);
  return sleeps() - before;
}

}  // namespace

TEST_CASE("watchers of what stays taken leave each other asleep") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  auto semaphore = manager.semaphore(1);
  lock.lock();
  semaphore.acquire();
  // Each looks after dead holders some times a second; a wake-up that goes round among them makes thousands.
  CHECK(sleeps_of_watchers(lock) < 1'000);
  CHECK(sleeps_of_watchers(semaphore) < 1'000);
  lock.unlock();
}

TEST_CASE("a wake-up that reaches a descriptor's watch as it goes away is a waiter's still") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  shm::set_holder_check_for_test(1h);  // else the waiter looks by itself
  for (int round = 0; round < 50; ++round) {
    lock.lock();
    std::optional watch = lock.watch();
    (void)watch->fd();
    std::this_thread::sleep_for(1ms);  // asleep before the waiter
    std::atomic<bool> has_it = false;
    std::thread waiter([&] {
      if (!lock.try_lock_for(30s)) return;
      has_it = true;
      lock.unlock();
    });
    std::this_thread::sleep_for(1ms);
    lock.unlock();
    watch.reset();
    const bool woken = eventually([&] { return has_it.load(); });
    waiter.join();
    REQUIRE(woken);
  }
  shm::set_holder_check_for_test(100ms);
}
