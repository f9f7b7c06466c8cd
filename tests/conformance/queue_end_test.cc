// How queues end, their tasks, their orders, and what a death leaves: more rows of docs/semantics/queue.md.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "support/children.h"
#include "support/manager_home.h"
#include "support/process_shared.h"
#include "support/refusal.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

struct Point {
  std::int32_t x;
  double y;
  bool operator==(const Point&) const = default;
};

}  // namespace

TEST_CASE("close ends the use by this process alone, and the message says that the queue is closed") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<int>(5);
  Process other([&] {
    std::this_thread::sleep_for(20ms);
    exit(queue.get() == 1 ? (queue.put(2), 0) : 1);  // it never closed it
  });
  other.start();
  queue.put(1);
  queue.close();
  queue.close();
  REQUIRE(queue.closed());
  REQUIRE(refusal<Closed>([&] { queue.put(3); }).find("is closed") != std::string::npos);
  REQUIRE(refusal<ValueError>([&] { queue.get(); }).find("is closed") != std::string::npos);
  REQUIRE_THROWS_AS(queue.put_nowait(3), Closed);
  REQUIRE_THROWS_AS(queue.get_nowait(), Closed);
  REQUIRE_THROWS_AS(queue.try_get(), Closed);
  REQUIRE_THROWS_AS(queue.empty(), Closed);
  REQUIRE_NOTHROW(queue.full());
  other.join();
  REQUIRE(other.exitcode() == 0);
  REQUIRE(queue.qsize() == 1);  // the other's item
  auto unused = manager.queue<int>();
  REQUIRE_NOTHROW(unused.close());
}

TEST_CASE("close wakes the waiting puts, gets and bulk calls of its own process, which are then Closed") {
  ManagerHome home;
  Manager manager;
  auto closed_while = [&](const auto& queue, auto&& waits) {
    std::string outcome = "returned";
    std::thread waiter([&] {
      try {
        waits();
      } catch (const Closed& error) {
        outcome = error.what();
      }
    });
    std::this_thread::sleep_for(20ms);  // it sleeps by now
    queue.close();
    waiter.join();
    return outcome;
  };
  auto fifo = manager.queue<int>(), bulk = manager.queue<int>();
  auto full = manager.queue<int>(1);
  auto lifo = manager.lifo_queue<std::string>();
  auto priority = manager.priority_queue<int>();
  auto linking = manager.queue<List<int>>();
  full.put(1);
  CHECK(closed_while(fifo, [&] { fifo.get(); }).find("is closed") != std::string::npos);
  CHECK(closed_while(bulk, [&] { bulk.get_many(5, 1h); }).find("is closed") != std::string::npos);
  CHECK(closed_while(full, [&] { full.put(2); }).find("is closed") != std::string::npos);
  CHECK(closed_while(lifo, [&] { lifo.get(1h); }).find("is closed") != std::string::npos);
  CHECK(closed_while(priority, [&] { priority.get(); }).find("is closed") != std::string::npos);
  CHECK(closed_while(linking, [&] { linking.get(); }).find("is closed") != std::string::npos);
  CHECK(full.qsize() == 1);
}

TEST_CASE("a get of another process goes on waiting when a queue is closed") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<int>(), waits = manager.queue<int>();
  Process other([&] {
    waits.put(1);
    exit(queue.get());
  });
  other.start();
  waits.get();
  auto again = attach<Queue<int>>(queue.token());
  Process closer([&] { again.close(); });
  closer.start();
  closer.join();
  queue.put(7);
  other.join();
  REQUIRE(other.exitcode() == 7);
}

TEST_CASE("what get_many took is given, though the queue is shut down meanwhile") {
  ManagerHome home;
  Manager manager;
  auto lost_in = [&](auto queue, int round) {
    std::atomic<bool> ready{false};
    std::size_t taken = 0;
    std::thread consumer([&] {
      ready = true;
      try {
        for (;;) taken += queue.get_many(2, 0s).size();
      } catch (const Closed&) {
      }
    });
    while (!ready) std::this_thread::yield();
    queue.put({});
    for (int i = 0; i < round % 64; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
    queue.shutdown();
    consumer.join();
    return taken != 1;
  };
  int lost = 0;
  for (int round = 0; round < 3000; ++round) {
    lost += lost_in(manager.lifo_queue<int>(), round);
    lost += lost_in(manager.lifo_queue<std::string>(), round);
  }
  REQUIRE(lost == 0);
}

TEST_CASE("shutdown ends everybody's puts, lets the rest be taken, and wakes those who wait") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<int>();
  auto results = manager.list<std::string>();
  std::vector<Process> consumers;
  for (int i = 0; i < 3; ++i) {
    consumers.emplace_back([&] {
      try {
        for (;;) results.append(std::to_string(queue.get()));
      } catch (const Closed&) {
        results.append("end");
      }
    });
    consumers.back().start();
  }
  queue.put_many({1, 2, 3, 4});
  queue.shutdown();
  for (auto& consumer : consumers) consumer.join();
  REQUIRE(results.size() == 7);
  REQUIRE(results.count("end") == 3);
  REQUIRE_THROWS_AS(queue.put(5), Closed);
  auto other = manager.queue<int>();
  other.put(1);
  other.shutdown(true);
  REQUIRE_THROWS_AS(other.get(), Closed);
}

TEST_CASE("join waits for one task_done per put, and too many are a ValueError that changes nothing") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.joinable_queue<int>();
  queue.join();  // nothing to wait for
  REQUIRE_THROWS_AS(queue.task_done(), ValueError);
  queue.put(1);
  queue.put(2);
  REQUIRE(queue.unfinished() == 2);
  queue.task_done();  // no get is needed before it
  REQUIRE_FALSE(queue.join(5ms));
  Process worker([&] {
    (void)queue.get();
    (void)queue.get();
    std::this_thread::sleep_for(20ms);
    queue.task_done();
  });
  worker.start();
  queue.join();
  REQUIRE(queue.unfinished() == 0);
  worker.join();
  REQUIRE_THROWS_AS(queue.task_done(), ValueError);
  REQUIRE(queue.unfinished() == 0);
  queue.put(3);
  REQUIRE(queue.unfinished() == 1);
}

TEST_CASE("a SimpleQueue puts, gets, is empty or not, and closes") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.simple_queue<std::string>();
  REQUIRE(queue.empty());
  queue.put("a");
  REQUIRE_FALSE(queue.empty());
  REQUIRE(queue.get() == "a");
  queue.close();
  queue.close();
  REQUIRE_THROWS_AS(queue.put("b"), Closed);
  REQUIRE_THROWS_AS(queue.get(), Closed);
  REQUIRE_THROWS_AS(queue.empty(), Closed);
}

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

TEST_CASE("a consumer that was killed while it waited takes no item") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<int>();
  Process consumer([&] { (void)queue.get(); });
  consumer.start();
  std::this_thread::sleep_for(30ms);
  consumer.kill();
  consumer.join();
  queue.put(1);
  REQUIRE(queue.qsize() == 1);
  REQUIRE(queue.get(1s) == 1);
}

TEST_CASE("a child that is forked puts nothing again that its parent had put") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<int>();
  queue.put(1);
  REQUIRE(run([&] { queue.put(2); }) == 0);
  REQUIRE(queue.get() == 1);
  REQUIRE(queue.get() == 2);
  REQUIRE(queue.empty());
}

TEST_CASE("a process that put an item can end at once: the item is there") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<std::string>();
  REQUIRE(run([&] {
            queue.put("last words");
            _exit(7);
          }) == 7);
  REQUIRE(queue.get_nowait() == "last words");
}

TEST_CASE("a queue has a name, is opened as what it is, and prints itself") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<int>(named("numbers"));
  queue.put(1);
  REQUIRE(manager.open<Queue<int>>("numbers").get() == 1);
  REQUIRE(manager.open<Queue<int>>("numbers") == queue);
  REQUIRE(manager.open<JoinableQueue<int>>("numbers") == queue);
  REQUIRE_THROWS_AS(manager.open<Queue<std::string>>("numbers"), TypeMismatch);
  REQUIRE_THROWS_AS(manager.open<LifoQueue<int>>("numbers"), TypeMismatch);
  auto again = manager.queue<int>(named("again"), {.redeliver = true});
  again.put(5);
  REQUIRE(manager.open<Queue<int>>("again").get() == 5);  // how it was made is the queue's business
  std::ostringstream out;
  out << queue;
  REQUIRE(out.str() == "<queue<int32> \"numbers\" with 0 items>");
}

TEST_CASE("many producers and consumers, each item to one of them") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<std::int64_t>(50);
  auto sums = manager.list<std::int64_t>();
  constexpr std::int64_t kEach = 2000;
  std::vector<Process> all;
  for (int p = 0; p < 4; ++p) {
    all.emplace_back([&, p] {
      for (std::int64_t i = 0; i < kEach; ++i) queue.put(p * kEach + i);
    });
    all.emplace_back([&] {
      std::int64_t sum = 0;
      for (std::int64_t i = 0; i < kEach; ++i) sum += queue.get();
      sums.append(sum);
    });
  }
  for (auto& process : all) process.start();
  for (auto& process : all) process.join();
  std::int64_t total = 0;
  for (std::int64_t sum : sums) total += sum;
  REQUIRE(total == 4 * kEach * (4 * kEach - 1) / 2);
  REQUIRE(queue.empty());
}

TEST_CASE("a put into a SimpleQueue waits for no reader, however much is in it") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.simple_queue<std::string>();
  constexpr int kItems = 100;  // of 100 KB: far more than a pipe holds
  const auto item = [](int i) { return std::string(100'000, static_cast<char>('a' + i % 26)); };
  for (int i = 0; i < kItems; ++i) queue.put(item(i));
  bool in_order = true;
  for (int i = 0; i < kItems; ++i) in_order = in_order && queue.get() == item(i);
  REQUIRE(in_order);
  REQUIRE(queue.empty());
}
