// What each call of the queues does: the rows of docs/semantics/queue.md.
#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <map>
#include <thread>

#include "support/children.h"
#include "support/manager_home.h"
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

struct Page {
  char bytes[5000];
};

// Its encoding throws for a negative number.
struct Fussy {
  int number;
};

struct Fragile {
  int number = 0;
  bool operator==(const Fragile&) const = default;
};

bool decoding_fails = false;

}  // namespace

template <>
struct commonhold::Codec<Fussy> {
  static constexpr std::string_view name = "fussy";
  static std::string encode(const Fussy& item) {
    if (item.number < 0) throw std::domain_error("negative");
    return std::to_string(item.number);
  }
  static Fussy decode(std::string_view bytes) { return {std::stoi(std::string(bytes))}; }
};

template <>
struct commonhold::Codec<Fragile> {
  static constexpr std::string_view name = "fragile";
  static std::string encode(const Fragile& value) { return std::to_string(value.number); }
  static Fragile decode(std::string_view bytes) {
    if (decoding_fails && bytes == "2") throw std::domain_error("it is broken");
    return {std::stoi(std::string(bytes))};
  }
};

TEST_CASE("put and get keep the order, and every process sees an item when put has returned") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<int>();
  REQUIRE(queue.empty());
  for (int i = 0; i < 5; ++i) queue.put(i);
  REQUIRE(queue.qsize() == 5);
  REQUIRE(run([&] { exit(queue.qsize() == 5 && !queue.empty() && queue.get_nowait() == 0 ? 0 : 1); }) == 0);
  for (int i = 1; i < 5; ++i) REQUIRE(queue.get() == i);
  REQUIRE(queue.empty());
}

TEST_CASE("a full queue throws Full at once or after the timeout, and names itself and its size") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<std::string>(named("orders"), {.maxsize = 2});
  REQUIRE_FALSE(queue.full());
  queue.put("a");
  queue.put_nowait("b");
  REQUIRE(queue.full());
  REQUIRE(queue.maxsize() == 2);
  for (auto fn : std::vector<std::function<void()>>{[&] { queue.put_nowait("c"); }, [&] { queue.put("c", 0s); },
                                                    [&] { queue.put("c", -1s); }, [&] { queue.put("c", 5ms); }}) {
    std::string message = refusal<Full>(fn);
    CAPTURE(message);
    REQUIRE(message.find("\"orders\"") != std::string::npos);
    REQUIRE(message.find("2 of at most 2") != std::string::npos);
  }
  REQUIRE_FALSE(queue.try_put("c"));
  REQUIRE_FALSE(queue.try_put_for("c", 5ms));
  REQUIRE_FALSE(queue.try_put_until("c", std::chrono::system_clock::now() + 5ms));
  REQUIRE(queue.get() == "a");
  REQUIRE(queue.try_put("c"));
}

TEST_CASE("an empty queue throws Empty at once or after the timeout, and not early") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<double>();
  REQUIRE(refusal<Empty>([&] { queue.get_nowait(); }).find("is empty") != std::string::npos);
  REQUIRE_THROWS_AS(queue.get(0s), Empty);
  REQUIRE_THROWS_AS(queue.get(-1s), Empty);
  auto start = std::chrono::steady_clock::now();
  REQUIRE_THROWS_AS(queue.get(30ms), Empty);
  REQUIRE(std::chrono::steady_clock::now() - start >= 30ms);
  REQUIRE_FALSE(queue.try_get().has_value());
  REQUIRE_FALSE(queue.try_get_for(5ms).has_value());
  REQUIRE_FALSE(queue.try_get_until(std::chrono::steady_clock::now() + 5ms).has_value());
  queue.put(2.5);
  REQUIRE(queue.try_get() == 2.5);
}

TEST_CASE("a limit of zero or less is none") {
  ManagerHome home;
  Manager manager;
  for (std::int64_t maxsize : {0, -1, -100}) {
    auto queue = manager.queue<int>(maxsize);
    for (int i = 0; i < 5000; ++i) queue.put_nowait(i);
    REQUIRE_FALSE(queue.full());
    REQUIRE(queue.maxsize() == 0);
    REQUIRE(queue.qsize() == 5000);
  }
}

TEST_CASE("a timeout is no hindrance when there is room, or an item") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<int>(1);
  queue.put(1, 0s);
  REQUIRE(queue.get(0s) == 1);
  queue.put(2, -5s);
  REQUIRE(queue.get(-5s) == 2);
}

TEST_CASE("a get wakes for the put of another process, and a put for its get") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<std::string>(1);
  Process other([&] {
    std::this_thread::sleep_for(30ms);
    queue.put("one");
    queue.put("two");  // waits for the get
    queue.put("three");
  });
  other.start();
  REQUIRE(queue.get() == "one");
  std::this_thread::sleep_for(30ms);
  REQUIRE(queue.get() == "two");
  REQUIRE(queue.get() == "three");
  other.join();
  REQUIRE(other.exitcode() == 0);
}

TEST_CASE("items of every kind of type come out as they went in") {
  ManagerHome home;
  Manager manager;
  auto points = manager.queue<Point>();
  points.put({1, 2.5});
  points.put_many(std::vector<Point>{{2, 3.5}, {3, 4.5}});
  REQUIRE(points.get() == Point{1, 2.5});
  REQUIRE(points.get_many(9) == std::vector<Point>{{2, 3.5}, {3, 4.5}});
  auto pages = manager.queue<Page>(2);
  Page page{};
  page.bytes[4999] = 'z';
  pages.put(page);
  REQUIRE(pages.get().bytes[4999] == 'z');
  auto maps = manager.queue<std::map<std::string, std::vector<int>>>();
  maps.put({{"a", {1, 2}}, {"b", {}}});
  REQUIRE(maps.get().at("a") == std::vector<int>{1, 2});
  auto texts = manager.queue<std::string>();
  for (std::size_t size : {0, 1, 100, 5000, 300'000}) texts.put(std::string(size, 't'));
  for (std::size_t size : {0, 1, 100, 5000, 300'000}) REQUIRE(texts.get() == std::string(size, 't'));
  auto bits = manager.queue<bool>();
  bits.put_many({true, false, true});
  REQUIRE(bits.get_many(3) == std::vector<bool>{true, false, true});
  auto small = manager.queue<std::int8_t>();
  small.put_many(std::vector<std::int8_t>{-1, 0, 1});
  REQUIRE(small.get_many(3) == std::vector<std::int8_t>{-1, 0, 1});
}

TEST_CASE("a proxy that is put comes out as a proxy of the same object, which the queue keeps meanwhile") {
  ManagerHome home;
  Manager manager;
  using Counts = Dict<std::string, int>;
  for (bool redeliver : {false, true}) {
    auto queue = manager.queue<Counts>({.redeliver = redeliver});
    auto kept = manager.dict<std::string, int>({{"a", 1}});
    queue.put(kept);
    queue.put(manager.dict<std::string, int>({{"b", 2}}));  // nobody else has it
    REQUIRE(run([&] {
              auto first = queue.get();
              first["a"] += 10;
              queue.task_done();
            }) == 0);
    REQUIRE(kept.at("a") == 11);
    std::this_thread::sleep_for(50ms);  // time for the server to look what is no longer used
    auto other = queue.get();
    REQUIRE(other.at("b") == 2);
    queue.task_done();
    queue.put_many(std::vector<Counts>{kept, other});
    auto both = queue.get_many(5);
    REQUIRE(both.size() == 2);
    REQUIRE(both[0].same_as(kept));
    REQUIRE(both[1].same_as(other));
    REQUIRE_THROWS_AS(queue.get(1ms), Empty);
  }
  auto jobs = manager.priority_queue<Counts>();
  jobs.put(2, manager.dict<std::string, int>({{"two", 2}}));
  jobs.put(1, manager.dict<std::string, int>({{"one", 1}}));
  auto [priority, first] = jobs.get();
  REQUIRE(priority == 1);
  REQUIRE(first.contains("one"));
}

TEST_CASE("each get returns a copy of its own") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<std::vector<int>>();
  std::vector<int> value{1, 2};
  queue.put(value);
  value.push_back(3);
  queue.put(value);
  auto first = queue.get();
  first.push_back(99);
  REQUIRE(queue.get() == std::vector<int>{1, 2, 3});
}

TEST_CASE("an item whose encoding fails is not put, and the queue stays usable") {
  ManagerHome home;
  Manager manager;
  const auto refuses = [](const auto& queue, const auto& put, const auto& put_many) {
    REQUIRE_THROWS_AS(put(Fussy{-1}), std::domain_error);
    REQUIRE_THROWS_AS(put_many(std::vector<Fussy>{{1}, {2}, {-1}}), std::domain_error);
    REQUIRE(queue.empty());
    REQUIRE(queue.unfinished() == 0);
    REQUIRE(run([&] {  // and left no lock behind
              put(Fussy{7});
              exit(queue.qsize() == 1 ? 0 : 1);
            }) == 0);
  };
  auto queue = manager.queue<Fussy>();
  auto lifo = manager.lifo_queue<Fussy>();
  auto by_priority = manager.priority_queue<Fussy>();
  refuses(
      queue, [&](Fussy item) { queue.put(item); }, [&](const auto& items) { queue.put_many(items); });
  refuses(
      lifo, [&](Fussy item) { lifo.put(item); }, [&](const auto& items) { lifo.put_many(items); });
  refuses(
      by_priority, [&](Fussy item) { by_priority.put(1, item); },
      [&](const auto& items) {
        for (const auto& item : items) {
          if (item.number < 0) by_priority.put(1, item);
        }
      });
  REQUIRE(queue.get().number == 7);
  REQUIRE(lifo.get().number == 7);
  REQUIRE(by_priority.get().value.number == 7);
}

TEST_CASE("items of many producers come out in the one order in which their puts ended") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<int>();
  auto turn = manager.lock();
  auto next = manager.value(0);
  constexpr int kProducers = 4, kEach = 300;
  std::vector<Process> producers;
  for (int p = 0; p < kProducers; ++p) {
    producers.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        std::scoped_lock guard(turn);  // this put ends before the next one begins, in whatever process
        queue.put(next.fetch_add(1));
      }
    });
  }
  for (auto& producer : producers) producer.start();
  bool in_order = true;
  for (int i = 0; i < kProducers * kEach; ++i) in_order = in_order && queue.get() == i;
  REQUIRE(in_order);
  for (auto& producer : producers) producer.join();
}

TEST_CASE("an item whose decoding fails stays in its place in every kind of queue") {
  ManagerHome home;
  Manager manager;
  auto keeps = [&](auto queue) {
    using T = typename decltype(queue)::value_type;
    const std::vector<Fragile> numbers = {{1}, {2}, {3}};
    std::vector<T> items;
    for (const Fragile& one : numbers) {
      if constexpr (std::is_same_v<T, Fragile>) {
        items.push_back(one);
      } else {
        items.push_back(T{one});
      }
    }
    queue.put_many(items);
    decoding_fails = true;
    const auto first = queue.get_many(2);
    const bool last_first = first[0] == items[2];
    CHECK(first == std::vector<T>{items[last_first ? 2 : 0]});
    CHECK_THROWS_AS(queue.get(), std::domain_error);
    CHECK_THROWS_AS(queue.try_get(), std::domain_error);
    CHECK_THROWS_AS(queue.get_many(2), std::domain_error);
    CHECK(queue.qsize() == 2);
    decoding_fails = false;
    CHECK(queue.get() == items[1]);
    CHECK(queue.get_many(9) == std::vector<T>{items[last_first ? 0 : 2]});
  };
  keeps(manager.queue<Fragile>());
  keeps(manager.queue<Fragile>({.redeliver = true}));
  keeps(manager.lifo_queue<Fragile>());
  keeps(manager.queue<std::vector<Fragile>>());
  auto priority = manager.priority_queue<Fragile>();
  priority.put(3, {3});
  priority.put(1, {2});
  decoding_fails = true;
  CHECK_THROWS_AS(priority.get(), std::domain_error);
  decoding_fails = false;
  CHECK(priority.get().value == Fragile{2});
  CHECK(priority.qsize() == 1);
}
