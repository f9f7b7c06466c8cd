// Queues of another order than first in, first out, and items that are delivered again: rows of
// docs/semantics/queue.md.
#include <commonhold/commonhold.h>
#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <set>
#include <sstream>
#include <thread>

#include "support/manager_home.h"
#include "support/refusal.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

struct Point {
  std::int32_t x;
  double y;
};

}  // namespace

TEST_CASE("a LifoQueue gives the last item first, a PriorityQueue the one of lowest priority") {
  ManagerHome home;
  Manager manager;
  auto stack = manager.lifo_queue<int>({.maxsize = 3});
  stack.put_many({1, 2, 3});
  REQUIRE(stack.full());
  REQUIRE_THROWS_AS(stack.put_nowait(4), Full);
  REQUIRE(stack.get_many(2) == std::vector<int>{3, 2});
  REQUIRE(stack.get() == 1);
  REQUIRE_THROWS_AS(stack.get(1ms), Empty);

  auto jobs = manager.priority_queue<std::string>();
  jobs.put(5, "sweep");
  jobs.put(-3, "fire");
  jobs.put(5, "dust");
  auto [priority, job] = jobs.get();
  REQUIRE((priority == -3 && job == "fire"));
  REQUIRE(jobs.get().value == "sweep");  // of equal ones the first
  REQUIRE(jobs.get().value == "dust");
  REQUIRE_THROWS_AS(jobs.get_nowait(), Empty);
  auto weights = manager.priority_queue<int, double>();
  for (double weight : {0.5, -1.5, 1e300, -1e300, 0.0, -0.25}) weights.put(weight, 7);
  double last = -1e308;
  while (auto entry = weights.try_get()) {
    REQUIRE(entry->priority > last);
    last = entry->priority;
  }
  REQUIRE(last == 1e300);
  auto numbers = manager.priority_queue<Point, std::uint8_t>({.maxsize = 1});
  numbers.put(200, {1, 1});
  REQUIRE_FALSE(numbers.try_put(1, {2, 2}));
  REQUIRE(numbers.get().priority == 200);
  REQUIRE(numbers.unfinished() == 1);
  numbers.task_done();
  numbers.join();
}

TEST_CASE("an item whose consumer was killed comes again where that was asked for, and not else") {
  ManagerHome home;
  Manager manager;
  for (bool redeliver : {false, true}) {
    auto queue = manager.queue<int>({.redeliver = redeliver});
    queue.put_many({1, 2, 3});
    Process consumer([&] {
      (void)queue.get();
      queue.task_done();
      (void)queue.get();
      raise(SIGKILL);
    });
    consumer.start();
    consumer.join();
    // The server finds the death by itself, in milliseconds; until then the item after it is the first.
    while (redeliver && queue.qsize() != 2) std::this_thread::sleep_for(1ms);
    REQUIRE(queue.get() == (redeliver ? 2 : 3));
    queue.task_done();
    if (redeliver) {
      REQUIRE(queue.get() == 3);
      queue.task_done();
      queue.join();
    } else {
      REQUIRE(queue.unfinished() == 1);
    }
  }
}

TEST_CASE("items in flight, and those that come again, take no room in a queue with a limit") {
  ManagerHome home;
  Manager manager;
  const auto run = [](auto queue, auto put, auto value_of) {
    const auto put_two = [&] { return put(queue, 1) && put(queue, 2); };
    REQUIRE(put_two());
    REQUIRE((queue.full() && !put(queue, 9)));
    Process consumer([&] {
      (void)queue.get();
      (void)queue.get();
      raise(SIGKILL);
    });
    consumer.start();
    consumer.join();
    // In flight or back: there is room for two.
    while (queue.size() != 2) std::this_thread::sleep_for(1ms);
    REQUIRE(!queue.full());
    REQUIRE(put_two());
    REQUIRE((queue.full() && !put(queue, 9) && queue.size() == 4 && queue.unfinished() == 4));
    // Those that come again come first, and make no room a second time.
    const std::set<int> again{value_of(queue.get()), value_of(queue.get())};
    REQUIRE(again == std::set<int>{1, 2});
    REQUIRE((queue.full() && !put(queue, 9) && queue.size() == 2));
    (void)queue.get();
    REQUIRE((!queue.full() && put(queue, 3) && queue.full()));
    for (int left = 0; left < 2; ++left) (void)queue.get();
    for (int left = 0; left < 5; ++left) queue.task_done();
    queue.join();
    REQUIRE((queue.size() == 0 && !queue.full()));
  };
  const auto plain = [](const auto& queue, int i) { return queue.try_put(i); };
  const auto same = [](int value) { return value; };
  SECTION("first in, first out") {
    run(manager.queue<int>({.maxsize = 2, .redeliver = true}), plain, same);
  }
  SECTION("last in, first out") {
    run(manager.lifo_queue<int>({.maxsize = 2, .redeliver = true}), plain, same);
  }
  SECTION("by priority") {
    run(
        manager.priority_queue<int>({.maxsize = 2, .redeliver = true}),
        [](const auto& queue, int i) { return queue.try_put(i, i); }, [](const auto& entry) { return entry.value; });
  }
}

TEST_CASE("a PriorityQueue waits until a point in time, and prints itself, as other queues do") {
  ManagerHome home;
  Manager manager;
  auto jobs = manager.priority_queue<std::string>(named("jobs"), {.maxsize = 1});
  const auto soon = [] { return std::chrono::steady_clock::now() + 1ms; };
  REQUIRE(jobs.try_put_until(3, "sweep", soon()));
  REQUIRE_FALSE(jobs.try_put_until(1, "fire!", soon()));
  std::ostringstream out;
  out << jobs;
  REQUIRE(out.str() == "<priority_queue<text,int64> \"jobs\" with 1 item>");
  REQUIRE(jobs.try_get_until(soon())->value == "sweep");
  REQUIRE_FALSE(jobs.try_get_until(std::chrono::system_clock::now() + 1ms));
}

TEST_CASE("priority and last-in-first-out queues deliver again, too") {
  ManagerHome home;
  Manager manager;
  auto jobs = manager.priority_queue<std::string>({.redeliver = true});
  jobs.put(2, "two");
  jobs.put(1, "one");
  Process consumer([&] {
    (void)jobs.get();
    (void)jobs.get();
    raise(SIGKILL);
  });
  consumer.start();
  consumer.join();
  REQUIRE(jobs.get() == decltype(jobs)::Entry{1, "one"});
  REQUIRE(jobs.get() == decltype(jobs)::Entry{2, "two"});
  REQUIRE_THROWS_AS(jobs.get(1ms), Empty);
}

TEST_CASE("task_done of a queue that redelivers is for an item that this process took") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<int>({.redeliver = true});
  queue.put(1);
  REQUIRE(refusal<ValueError>([&] { queue.task_done(); }).find("of this process") != std::string::npos);
  REQUIRE(queue.get() == 1);
  queue.task_done();
  queue.join();
}
