// wait() for events, locks, semaphores, barriers and queues, and their descriptors.
#include <commonhold/commonhold.h>
#include <poll.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

bool is_readable(int fd, std::chrono::milliseconds within) {
  pollfd one{fd, POLLIN, 0};
  return poll(&one, 1, static_cast<int>(within.count())) == 1;
}

}  // namespace

TEST_CASE("wait() says which of several objects are ready") {
  ManagerHome home;
  Manager manager;
  auto event = manager.event();
  auto lock = manager.lock();
  auto rlock = manager.rlock();
  auto semaphore = manager.semaphore(0);
  auto barrier = manager.barrier(2);
  auto queue = manager.queue<int>();
  lock.lock(), rlock.lock();
  const auto ready = [&] { return wait_for({event, lock, rlock, semaphore, barrier, queue}, 0s); };
  CHECK(ready().empty());
  CHECK(wait_for({event, lock, rlock, semaphore, barrier, queue}, 20ms).empty());
  event.set();
  CHECK(ready() == std::vector<std::size_t>{0});
  lock.unlock();
  CHECK(ready() == std::vector<std::size_t>{0, 1});
  rlock.unlock(), semaphore.release(), queue.put(1);
  CHECK(ready() == std::vector<std::size_t>{0, 1, 2, 3, 5});
  event.clear();
  CHECK(ready() == std::vector<std::size_t>{1, 2, 3, 5});
}

TEST_CASE("wait() sleeps until another process makes an object ready") {
  ManagerHome home;
  Manager manager;
  auto event = manager.event();
  auto lock = manager.lock();
  auto semaphore = manager.semaphore(0);
  auto barrier = manager.barrier(2);
  auto queue = manager.queue<int>();
  auto step = manager.queue<int>();
  auto held = manager.event();
  Process other([&] {
    lock.lock();
    held.set();
    for (;;) {
      const int what = step.get();
      std::this_thread::sleep_for(20ms);
      if (what == 0) event.set();
      if (what == 1) lock.unlock();
      if (what == 2) semaphore.release();
      if (what == 3) (void)barrier.wait();
      if (what == 4) queue.put(1);
      if (what == 5) return;
    }
  });
  other.start();
  held.wait();
  for (std::size_t what : {0, 1, 2, 3, 4}) {
    step.put(static_cast<int>(what));
    CHECK(wait({event, lock, semaphore, barrier, queue}) == std::vector{what});
    if (what == 0) event.clear();
    if (what == 1) lock.lock();
    if (what == 2) semaphore.acquire();
    if (what == 3) (void)barrier.wait();
    if (what == 4) (void)queue.get();
  }
  step.put(5);
  other.join();
  CHECK(wait({event, other}) == std::vector<std::size_t>{1});
}

TEST_CASE("a lock's watch hands on the wake-ups that are meant for waiters") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  auto semaphore = manager.semaphore(1);
  auto end = manager.event();
  std::atomic<int> done = 0;
  std::vector<std::thread> threads;
  std::vector<Watch> watches;
  for (int i = 0; i < 3; ++i) {
    watches.push_back(lock.watch());
    watches.push_back(semaphore.watch());
    (void)watches[watches.size() - 2].fd(), (void)watches.back().fd();
  }
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 300; ++n) {
        lock.lock();
        std::this_thread::yield();
        lock.unlock();
        semaphore.acquire();
        std::this_thread::yield();
        semaphore.release();
      }
      if (++done == 3) end.set();
    });
  }
  for (std::size_t i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      while (!end.is_set()) (void)watches[i].wait(10ms);
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(done == 3);
  CHECK(!lock.locked());
  CHECK(semaphore.get_value() == 1);
}

TEST_CASE("a descriptor is readable while its object is ready, and when it was in between") {
  ManagerHome home;
  Manager manager;
  auto event = manager.event();
  auto watch = event.watch();
  CHECK(!is_readable(watch.fd(), 20ms));
  event.set();
  CHECK(is_readable(watch.fd(), 5s));
  CHECK(watch.wait(0s));
  CHECK(is_readable(watch.fd(), 5s));
  event.clear();
  CHECK(watch.wait(0s));
  CHECK(!watch.wait(0s));
  CHECK(!is_readable(watch.fd(), 20ms));
  event.set(), event.clear();
  CHECK(is_readable(watch.fd(), 5s));
  auto lock = manager.lock();
  lock.lock();
  auto free = lock.watch();
  CHECK(!is_readable(free.fd(), 20ms));
  lock.unlock();
  CHECK(is_readable(free.fd(), 5s));
}

TEST_CASE("a queue that another thread of the process closes, or anybody shuts down, is ready") {
  ManagerHome home;
  Manager manager;
  auto event = manager.event();
  for (const bool closes : {true, false}) {
    auto queue = manager.queue<int>();
    std::thread other([&] {
      std::this_thread::sleep_for(20ms);
      closes ? queue.close() : queue.shutdown();
    });
    CHECK(wait({event, queue}) == std::vector<std::size_t>{1});
    other.join();
  }
}

TEST_CASE("a lock whose owner is killed becomes ready") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  auto held = manager.event();
  Process owner([&] {
    lock.lock();
    held.set();
    for (;;) std::this_thread::sleep_for(1s);
  });
  owner.start();
  held.wait();
  CHECK(wait_for({lock}, 0s).empty());
  owner.kill();
  CHECK(wait({lock}) == std::vector<std::size_t>{0});
}
