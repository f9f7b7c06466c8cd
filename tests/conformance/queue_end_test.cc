// How queues end, their tasks, and what a death leaves: more rows of docs/semantics/queue.md.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <sstream>
#include <thread>

#include "support/children.h"
#include "support/manager_home.h"
#include "support/refusal.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

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
