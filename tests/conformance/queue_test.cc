// What each call of the queues does: the rows of docs/semantics/queue.md.
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

#include "support/manager_home.h"
#include "support/process_shared.h"

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

// Whether fn throws Error with all these words in its message.
template <typename Error, typename Fn>
std::string refusal(Fn&& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool runs(Process process, int exit_code = 0) {
  process.start();
  process.join();
  return process.exitcode() == exit_code;
}

}  // namespace

TEST_CASE("put and get keep the order, and every process sees an item when put has returned") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<int>();
  REQUIRE(queue.empty());
  for (int i = 0; i < 5; ++i) queue.put(i);
  REQUIRE(queue.qsize() == 5);
  REQUIRE(runs(Process([&] { exit(queue.qsize() == 5 && !queue.empty() && queue.get_nowait() == 0 ? 0 : 1); })));
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
    REQUIRE(runs(Process([&] {
      auto first = queue.get();
      first["a"] += 10;
      queue.task_done();
    })));
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
  auto queue = manager.queue<std::vector<std::string>>();
  struct Broken {
    struct iterator {
      using value_type = std::vector<std::string>;
      using difference_type = std::ptrdiff_t;
      std::vector<std::string> operator*() const { throw std::runtime_error("no value"); }
      iterator& operator++() { return *this; }
      void operator++(int) {}
      bool operator==(std::default_sentinel_t) const { return false; }
    };
    iterator begin() const { return {}; }
    std::default_sentinel_t end() const { return {}; }
  };
  REQUIRE_THROWS_AS(queue.put_many(Broken{}), std::runtime_error);
  REQUIRE(queue.empty());
  REQUIRE(queue.unfinished() == 0);
  queue.put({"fine"});
  REQUIRE(queue.get() == std::vector<std::string>{"fine"});
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
  REQUIRE(runs(Process([&] { queue.put(2); })));
  REQUIRE(queue.get() == 1);
  REQUIRE(queue.get() == 2);
  REQUIRE(queue.empty());
}

TEST_CASE("a process that put an item can end at once: the item is there") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<std::string>();
  REQUIRE(runs(Process([&] {
                 queue.put("last words");
                 _exit(7);
               }),
               7));
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
