// Tasks that are cancelled or run for too long, and results as they come.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <ranges>
#include <set>
#include <thread>
#include <vector>

#include "support/pool_tasks.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

// Waits for the value to rise.
void wait_for(const Value<int>& value, int number) {
  while (value.load() < number) std::this_thread::sleep_for(1ms);
}

int forever() {
  for (;;) pause();
}

int mark_and_sleep(Value<int> begun) {
  begun += 1;
  return forever();
}

}  // namespace

TEST_CASE("a task that is cancelled before it begins never runs") {
  Manager manager;
  auto begun = manager.value<int>(0), ran = manager.value<int>(0);
  Pool pool({.processes = 1, .manager = manager});
  auto first = pool.apply_async(mark_and_sleep, begun);
  wait_for(begun, 1);
  // One in the worker's queue, and one beyond what a worker is given.
  std::vector<AsyncResult<void>> waiting;
  for (int i = 0; i < 100; ++i) waiting.push_back(pool.apply_async([](Value<int> ran) { ran += 1; }, ran));
  for (const int place : {3, 99}) {
    CHECK(waiting[static_cast<std::size_t>(place)].cancel());
    CHECK_THROWS_AS(waiting[static_cast<std::size_t>(place)].get(), TaskCancelled);
    CHECK_FALSE(waiting[static_cast<std::size_t>(place)].cancel());
  }
  CHECK(first.cancel());
  pool.close();
  pool.join();
  CHECK(ran == 98);
}

TEST_CASE("a task that is cancelled while it runs ends with its worker, and no other task notices") {
  Manager manager;
  auto begun = manager.value<int>(0), runs = manager.value<int>(0);
  Pool pool({.processes = 1, .manager = manager});
  auto endless = pool.apply_async(mark_and_sleep, begun);
  std::vector<AsyncResult<int>> others;
  for (int i = 0; i < 20; ++i) {
    others.push_back(pool.apply_async(
        [](Value<int> runs, int n) {
          runs += 1;
          return n;
        },
        runs, i));
  }
  wait_for(begun, 1);
  const int pid = pool.worker_pids().at(0);
  CHECK(endless.cancel());
  CHECK(endless.ready());
  CHECK_FALSE(endless.successful());
  CHECK_THROWS_AS(endless.get(), TaskCancelled);
  for (int i = 0; i < 20; ++i) CHECK(others[static_cast<std::size_t>(i)].get() == i);
  CHECK(runs == 20);
  CHECK(pool.worker_pids().at(0) != pid);
}

TEST_CASE("of many tasks those that have not ended are cancelled; what is ready cannot be") {
  Manager manager;
  auto begun = manager.value<int>(0);
  Pool pool({.processes = 2, .manager = manager});
  auto ready = pool.apply_async([] { return 3; });
  CHECK(ready.get() == 3);
  CHECK_FALSE(ready.cancel());
  CHECK(ready.get() == 3);
  std::atomic<int> errors{0};
  auto many = pool.map_async(then([](const std::vector<int>&) {}, [&](std::exception_ptr) { ++errors; }),
                             mark_and_sleep, std::vector<Value<int>>(300, begun), 1);
  wait_for(begun, 2);
  CHECK(many.cancel());
  CHECK_THROWS_AS(many.get(), TaskCancelled);
  CHECK(errors == 1);
  CHECK(pool.apply([] { return 4; }) == 4);
  CHECK(begun <= 4);  // a new worker may have begun one before its turn came to be cancelled
  pool.terminate();
  CHECK_FALSE(many.cancel());
}

TEST_CASE("cancelling at any moment ends one task and no other") {
  Manager manager;
  Pool pool({.processes = 2, .manager = manager});
  constexpr int kTasks = 400;
  auto runs = manager.array<int>(kTasks);
  std::vector<AsyncResult<int>> results;
  for (int i = 0; i < kTasks; ++i) {
    results.push_back(pool.apply_async(
        [](Array<int> runs, int n) {
          runs[n] += 1;
          nap(n % 3);
          return n;
        },
        runs, i));
  }
  std::set<int> cancelled;
  for (int i = 0; i < kTasks; i += 3) {
    if (i % 5 == 0) nap(1);
    if (results[static_cast<std::size_t>(i)].cancel()) cancelled.insert(i);
  }
  for (int i = 0; i < kTasks; ++i) {
    INFO(i);
    if (cancelled.contains(i)) {
      CHECK_THROWS_AS(results[static_cast<std::size_t>(i)].get(), TaskCancelled);
    } else {
      CHECK(results[static_cast<std::size_t>(i)].get() == i);
      CHECK(runs[i] == 1);
    }
  }
  pool.close();
  pool.join();
  for (const int i : cancelled) CHECK(runs[i] <= 1);
}

TEST_CASE("a task that runs for longer than its limit ends with its worker; one that ends in time does not") {
  Pool pool(1);
  auto late = pool.apply_async(limited(50ms), forever);
  auto after = pool.apply_async([](int n) { return n; }, 7);
  CHECK_THROWS_AS(late.get(), TaskTimeout);
  CHECK(after.get() == 7);
  CHECK(pool.apply(limited(1h), [] { return 8; }) == 8);
  // The time in which it waits for its turn does not count.
  auto first = pool.apply_async([] { nap(1200); });
  CHECK(pool.apply(limited(1s), [] { return 9; }) == 9);
  first.get();
  CHECK_THROWS_AS(pool.apply(limited(0s), [] { return 1; }), ValueError);
  CHECK_THROWS_AS(pool.apply(limited(-1s), [] { return 1; }), ValueError);
}

TEST_CASE("a limit holds for each chunk of a map, and a task is not retried after it") {
  Manager manager;
  auto begun = manager.value<int>(0);
  Pool pool({.processes = 2, .retries = 5, .manager = manager});
  std::vector<std::pair<Value<int>, int>> items;
  for (int n = 0; n < 6; ++n) items.emplace_back(begun, n);
  auto results = pool.starmap_async(
      limited(200ms), [](Value<int> begun, int n) { return n == 3 ? mark_and_sleep(begun) : n; }, items, 1);
  CHECK_THROWS_AS(results.get(), TaskTimeout);
  CHECK(begun == 1);
}

TEST_CASE("results come in the order in which they are ready") {
  Manager manager;
  Pool pool({.processes = 3, .manager = manager});
  const auto wait_and_give = [](Event event, int n) {
    event.wait();
    return n;
  };
  std::vector<Event> events;
  std::vector<AsyncResult<int>> results;
  for (int n = 0; n < 3; ++n) {
    events.push_back(manager.event());
    results.push_back(pool.apply_async(wait_and_give, events.back(), n));
  }
  auto in_order = as_completed(results);
  for (const int n : {1, 2, 0}) {
    events[static_cast<std::size_t>(n)].set();
    CHECK(in_order.next()->get() == n);
  }
  CHECK(!in_order.next());
  std::vector<int> seen;
  for (const auto& result : as_completed(results)) seen.push_back(result.get());  // all are ready
  CHECK(seen == std::vector{1, 2, 0});
  CHECK(wait_any(results) == 1);

  results.assign({pool.apply_async(forever), pool.apply_async([] { return 1; })});
  results[1].wait();
  auto completed = as_completed(results, 300ms);
  CHECK(completed.next()->get() == 1);
  CHECK_THROWS_AS(completed.next(), commonhold::TimeoutError);
  CHECK(wait_any(results) == 1);
  CHECK(wait_any(results | std::views::filter([](const auto& one) { return one.ready(); })) == 0);
  CHECK(as_completed({results[0], results[1]}).next()->get() == 1);
  CHECK(wait_any(results[0], results[1]) == 1);
  CHECK(wait_any(results[0], pool.apply_async([] {})) == 1);
  CHECK(wait_any_for(std::vector{results[0]}, 10ms) == std::nullopt);
  CHECK(results[0].cancel());
  CHECK_THROWS_AS(completed.next()->get(), TaskCancelled);
  CHECK(!completed.next());
  CHECK_THROWS_AS(wait_any(std::vector<AsyncResult<int>>()), ValueError);
}

TEST_CASE("a result is waited for together with connections and processes") {
  Pool pool(1);
  auto [here, there] = Pipe();
  auto result = pool.apply_async([] { nap(50); });
  CHECK(wait({here, result}) == std::vector<std::size_t>{1});
  CHECK(result.ready());
  there.send(1);
  CHECK(wait({here, result}) == std::vector<std::size_t>{0, 1});
  auto endless = pool.apply_async(forever);
  CHECK(wait_for({endless}, 10ms).empty());
  const int descriptor = endless.fileno();
  close(descriptor);
  CHECK_THROWS_AS(endless.fileno(), Closed);
  pool.terminate();
  CHECK_THROWS_AS(endless.get(), PoolTerminated);
}
