// Waits that another thread ends by a std::stop_token.
#include <commonhold/commonhold.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <future>
#include <thread>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

// Whether `wait` ends with Stopped when a stop is requested, before and after it sleeps.
bool is_stopped(const std::function<void()>& wait, std::chrono::milliseconds later) {
  std::stop_source source;
  std::atomic<bool> stopped = false, waits = false;
  std::thread waiter([&] {
    const StopScope scope(source.get_token());
    waits = true;
    waits.notify_one();
    try {
      wait();
    } catch (const Stopped&) {
      stopped = true;
    }
  });
  waits.wait(false);
  std::this_thread::sleep_for(later);
  source.request_stop();
  waiter.join();
  return stopped;
}
bool is_stopped(const std::function<void()>& wait) {
  bool always = true;
  for (const auto later : {0ms, 1ms, 30ms}) always = is_stopped(wait, later) && always;
  return always;
}

}  // namespace

TEST_CASE("a stop ends every wait for an object, without a timeout and with one") {
  ManagerHome home;
  Manager manager;
  auto empty = manager.queue<int>(), full = manager.queue<int>(1);
  full.put(1);
  CHECK(is_stopped([&] { (void)empty.get(); }));
  CHECK(is_stopped([&] { (void)empty.get(60s); }));
  CHECK(is_stopped([&] { (void)empty.get_many(5); }));
  CHECK(is_stopped([&] { full.put(2); }));
  CHECK(is_stopped([&] { (void)full.join(); }));
  auto ordered = manager.priority_queue<std::string>();
  CHECK(is_stopped([&] { (void)ordered.get(); }));

  auto lock = manager.lock();
  auto rlock = manager.rlock();
  auto shared = manager.rwlock();
  auto semaphore = manager.semaphore(0);
  lock.lock(), rlock.lock(), shared.lock();
  CHECK(is_stopped([&] { lock.lock(); }));
  CHECK(is_stopped([&] { (void)lock.try_lock_for(60s); }));
  CHECK(is_stopped([&] { rlock.lock(); }));
  CHECK(is_stopped([&] { shared.lock(); }));
  CHECK(is_stopped([&] { shared.lock_shared(); }));
  CHECK(is_stopped([&] { semaphore.acquire(); }));
  CHECK(lock.held());

  auto event = manager.event();
  CHECK(is_stopped([&] { (void)event.wait(); }));
  auto value = manager.value<int>(0);
  auto watch = value.watch();
  CHECK(is_stopped([&] { (void)watch.wait(); }));
}

TEST_CASE("a condition's wait that is stopped holds its lock again; a barrier's breaks it") {
  ManagerHome home;
  Manager manager;
  auto condition = manager.condition();
  bool held = false;
  CHECK(is_stopped([&] {
    condition.lock();
    try {
      (void)condition.wait();
    } catch (const Stopped&) {
      held = condition.held();
      condition.unlock();
      throw;
    }
  }));
  CHECK(held);
  auto barrier = manager.barrier(2);
  CHECK(is_stopped([&] { (void)barrier.wait(); }, 30ms));
  CHECK(barrier.broken());
}

TEST_CASE("a stop ends the waits for processes, results, messages and clients") {
  ManagerHome home;
  Process child([] { std::this_thread::sleep_for(60s); });
  child.start();
  CHECK(is_stopped([&] { (void)child.join(); }));
  child.kill();
  Pool pool(1);
  auto result = pool.apply_async([] { std::this_thread::sleep_for(60s); });
  CHECK(is_stopped([&] { (void)result.get(); }));
  CHECK(is_stopped([&] { (void)wait({result}); }));
  pool.terminate();
  Pipe pipe;
  CHECK(is_stopped([&] { (void)pipe.first.recv<int>(); }));
  CHECK(is_stopped([&] { (void)pipe.first.poll_for(60s); }));
  CHECK(is_stopped([&] {
    for (;;) pipe.second.send(std::string(1000, 'x'));
  }));
  Listener listener;
  CHECK(is_stopped([&] { (void)listener.accept(); }));
}

TEST_CASE("a call that need not wait does its work after a stop, too") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<int>();
  auto lock = manager.lock();
  std::stop_source source;
  const StopScope scope(source.get_token());
  source.request_stop();
  queue.put(1);
  CHECK(queue.get() == 1);
  CHECK(!queue.try_get());
  CHECK_THROWS_AS(queue.get(), Stopped);
  CHECK_THROWS_AS(queue.get(1ms), Stopped);
  lock.lock();
  CHECK(!std::async(std::launch::async, [&] { return lock.try_lock(); }).get());
  lock.unlock();
}

TEST_CASE("scopes nest: the outer token ends the waits of the inner scope, and the inner one those of its own alone") {
  ManagerHome home;
  Manager manager;
  auto event = manager.event();
  std::stop_source outer, inner;
  const StopScope scope(outer.get_token());
  {
    const StopScope nested(inner.get_token());
    inner.request_stop();
    CHECK_THROWS_AS(event.wait(), Stopped);
  }
  CHECK(!event.wait(1ms));
  {
    const StopScope nested{std::stop_source().get_token()};
    std::thread requests([&] { outer.request_stop(); });
    CHECK_THROWS_AS(event.wait(), Stopped);
    requests.join();
  }
  CHECK_THROWS_AS(event.wait(), Stopped);
}

TEST_CASE("a process that is forked in a scope is in no scope") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<int>();
  std::stop_source source;
  const StopScope scope(source.get_token());
  source.request_stop();
  Process child([&] {
    if (!queue.try_get_for(10ms)) queue.put(1);
    (void)queue.get();
  });
  child.start();
  CHECK(std::async(std::launch::async, [&] { return child.join_for(20s); }).get());
  CHECK(child.exitcode() == 0);
}

TEST_CASE("close() of a queue ends the waits of its own process, in a scope too") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<int>();
  std::stop_source source;
  std::atomic<bool> waits = false;
  std::thread closes([&] {
    waits.wait(false);
    std::this_thread::sleep_for(20ms);
    queue.close();
  });
  {
    const StopScope scope(source.get_token());
    waits = true;
    waits.notify_one();
    CHECK_THROWS_AS(queue.get(), Closed);
  }
  closes.join();
}

TEST_CASE("a stop is at once under other waits of the same object, thousands of times") {
  ManagerHome home;
  Manager manager;
  auto event = manager.event();
  std::thread other([&] { CHECK(event.wait()); });  // sleeps on
  for (int i = 0; i < 2000; ++i) {
    std::stop_source source;
    std::thread stops([&] { source.request_stop(); });
    const StopScope scope(source.get_token());
    CHECK_THROWS_AS(event.wait(), Stopped);
    stops.join();
  }
  event.set();
  other.join();
}
