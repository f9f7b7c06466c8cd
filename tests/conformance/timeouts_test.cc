// A timeout of zero or less, for every object that waits: the last row of "Rules that hold everywhere".
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

// One waiting call, given a timeout: whether it got what it asked for.
struct Attempt {
  std::string call;
  std::function<bool(std::chrono::nanoseconds)> try_for;
};

void all_give(bool expected, const std::vector<Attempt>& attempts) {
  for (const auto& [call, try_for] : attempts) {
    for (const std::chrono::nanoseconds timeout : {0ns, -1ns, std::chrono::nanoseconds(-1h)}) {
      INFO(call << " within " << timeout.count() << " ns");
      CHECK(try_for(timeout) == expected);
    }
  }
}

}  // namespace

TEST_CASE("a timeout of zero or less is one attempt, for every object: what is there is taken") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  auto rlock = manager.rlock();
  auto rwlock = manager.rwlock();
  auto semaphore = manager.semaphore(1000);
  auto event = manager.event();
  event.set();
  auto queue = manager.queue<int>();
  auto lifo = manager.lifo_queue<int>();
  auto by_priority = manager.priority_queue<int>();
  auto value = manager.value(1);
  auto alone = manager.barrier(1);
  auto condition = manager.condition();
  Process ended([] {});
  ended.start();
  ended.join();
  all_give(true, {
                     {"Lock", [&](auto t) { return lock.try_lock_for(t) && (lock.unlock(), true); }},
                     {"RLock", [&](auto t) { return rlock.try_lock_for(t) && (rlock.unlock(), true); }},
                     {"RWLock, written", [&](auto t) { return rwlock.try_lock_for(t) && (rwlock.unlock(), true); }},
                     {"RWLock, shared",
                      [&](auto t) { return rwlock.try_lock_shared_for(t) && (rwlock.unlock_shared(), true); }},
                     {"Semaphore", [&](auto t) { return semaphore.try_acquire_for(t); }},
                     {"Event", [&](auto t) { return event.wait(t); }},
                     {"Queue put and get",
                      [&](auto t) {
                        queue.put(1, t);
                        return queue.get(t) == 1;
                      }},
                     {"LifoQueue", [&](auto t) { return (lifo.put(1, t), lifo.get(t) == 1); }},
                     {"PriorityQueue", [&](auto t) { return (by_priority.put(1, 2), by_priority.get(t).value == 2); }},
                     {"Value, changed", [&](auto t) { return value.wait_for(0, t); }},
                     {"Barrier of one", [&](auto t) { return alone.wait(t) == 0; }},
                     {"Condition with a true predicate",
                      [&](auto t) {
                        std::scoped_lock guard(condition);
                        return condition.wait_for([] { return true; }, t);
                      }},
                     {"Process that ended", [&](auto t) { return ended.join_for(t); }},
                 });
}

TEST_CASE("a timeout of zero or less is one attempt, for every object: what is not there is not waited for") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  auto rlock = manager.rlock();
  auto rwlock = manager.rwlock();
  auto semaphore = manager.semaphore(0);
  auto event = manager.event();
  auto queue = manager.queue<int>(1), full = manager.queue<int>(1);
  full.put(1);
  auto lifo = manager.lifo_queue<int>();
  auto by_priority = manager.priority_queue<int>();
  auto value = manager.value(1);
  auto watch = value.watch();
  auto condition = manager.condition();
  Pipe pipe;
  Process running([] {
    for (;;) pause();
  });
  running.start();
  std::scoped_lock held(lock, rlock, rwlock);
  const auto elsewhere = [](const std::function<bool()>& call) {  // a thread that holds nothing
    bool result = true;
    std::thread([&] { result = call(); }).join();
    return result;
  };
  const auto broken_by = [&](auto timeout) {
    auto barrier = manager.barrier(2);
    try {
      barrier.wait(timeout);
      return true;
    } catch (const BrokenBarrier&) {
      return !barrier.broken();
    }
  };
  const auto gives = [](const auto& call) {
    try {
      call();
      return true;
    } catch (const Empty&) {
      return false;
    } catch (const Full&) {
      return false;
    }
  };
  all_give(false,
           {
               {"Lock", [&](auto t) { return elsewhere([&] { return lock.try_lock_for(t); }); }},
               {"RLock", [&](auto t) { return elsewhere([&] { return rlock.try_lock_for(t); }); }},
               {"RWLock, written", [&](auto t) { return elsewhere([&] { return rwlock.try_lock_for(t); }); }},
               {"RWLock, shared", [&](auto t) { return elsewhere([&] { return rwlock.try_lock_shared_for(t); }); }},
               {"Semaphore", [&](auto t) { return semaphore.try_acquire_for(t); }},
               {"Event", [&](auto t) { return event.wait(t); }},
               {"Queue get", [&](auto t) { return gives([&] { (void)queue.get(t); }); }},
               {"Queue put", [&](auto t) { return gives([&] { full.put(2, t); }); }},
               {"LifoQueue", [&](auto t) { return gives([&] { (void)lifo.get(t); }); }},
               {"PriorityQueue", [&](auto t) { return gives([&] { (void)by_priority.get(t); }); }},
               {"Value, unchanged", [&](auto t) { return value.wait_for(1, t); }},
               {"Watch", [&](auto t) { return watch.wait(t); }},
               {"Barrier", broken_by},
               {"Condition",
                [&](auto t) {
                  std::scoped_lock guard(condition);
                  return condition.wait_for([] { return false; }, t);
                }},
               {"Connection", [&](auto t) { return pipe.first.poll_for(t); }},
               {"Process that runs", [&](auto t) { return running.join_for(t); }},
           });
  running.kill();
  running.join();
}
