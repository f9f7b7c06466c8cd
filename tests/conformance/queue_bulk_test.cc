// Many items at once: the rows of docs/semantics/queue.md on put_many and get_many.
#include <commonhold/commonhold.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

TEST_CASE("put_many and get_many are atomic: no process sees a part of what they put or take") {
  ManagerHome home;
  Manager manager;
  auto parts_seen = [&](auto queue, const auto& ten) {
    auto ready = manager.event(), stop = manager.event();
    Process reader([&] {
      int parts = 0;
      ready.set();
      while (!stop.is_set()) parts += queue.size() % 10 != 0;
      exit(parts == 0 ? 0 : 1);
    });
    reader.start();
    ready.wait();
    for (int i = 0; i < 300; ++i) queue.put_many(ten);
    std::size_t taken = 0;
    for (int i = 0; i < 299; ++i) taken += queue.get_many(10).size();
    taken += queue.get_many(100).size();
    stop.set();
    reader.join();
    REQUIRE(taken == 3000);
    return reader.exitcode();
  };
  const std::vector<int> numbers(10, 7);
  const std::vector<std::string> texts(10, std::string(300, 't'));
  const std::vector<std::vector<int>> compounds(10, {1, 2, 3});
  CHECK(parts_seen(manager.queue<int>(), numbers) == 0);
  CHECK(parts_seen(manager.lifo_queue<int>(), numbers) == 0);
  CHECK(parts_seen(manager.queue<int>({.redeliver = true}), numbers) == 0);
  CHECK(parts_seen(manager.lifo_queue<std::string>(), texts) == 0);
  CHECK(parts_seen(manager.lifo_queue<std::vector<int>>(), compounds) == 0);
  auto list = manager.list<int>();
  CHECK(parts_seen(manager.queue<List<int>>(), std::vector<List<int>>(10, list)) == 0);
}

TEST_CASE("get_many takes all that is there, however much, atomically") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<int>();
  Process other([&] { queue.put_many(std::vector<int>(20'000, 1)); });
  other.start();
  REQUIRE(queue.get_many(30'000).size() == 20'000);  // it waited for them, or not: all of them came at once
  other.join();
}

TEST_CASE("put_many puts all in order, get_many takes what is there") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<std::int64_t>();
  std::vector<std::int64_t> values(10'000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int64_t>(i) * 3;
  queue.put_many(values);
  REQUIRE(queue.qsize() == 10'000);
  auto some = queue.get_many(10);
  REQUIRE(some.size() == 10);
  REQUIRE(some[9] == 27);
  auto rest = queue.get_many(1'000'000);
  REQUIRE(rest.size() == 9990);
  REQUIRE(rest.back() == 29'997);
  REQUIRE(queue.get_many(5, 1ms).empty());
  REQUIRE(queue.get_many(0).empty());

  auto bounded = manager.queue<int>(3);
  REQUIRE(bounded.put_many(std::vector<int>{1, 2, 3, 4, 5}, 1ms) == 3);
  REQUIRE(bounded.get_many(9) == std::vector<int>{1, 2, 3});
  Process taker([&] {
    for (int i = 0; i < 10; ++i) {
      if (bounded.get() != i) exit(1);
    }
  });
  taker.start();
  bounded.put_many({0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  taker.join();
  REQUIRE(taker.exitcode() == 0);
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
