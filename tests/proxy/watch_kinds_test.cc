// Watching sets, namespaces, arrays and queues from programs.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <sys/epoll.h>

#include <array>
#include <catch2/catch.hpp>
#include <thread>

#include "support/manager_home.h"
#include "support/readable.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

TEST_CASE("a watched set, element, namespace and attribute tell their changes by another process") {
  ManagerHome home;
  Manager manager;
  auto seen = manager.set<std::string>({"a"});
  auto global = manager.ns({{"x", 10}, {"y", "words"}});
  auto of_b = seen.watch("b"), of_set = seen.watch();
  auto of_x = global.watch("x"), of_all = global.watch();
  auto in_child = [](auto&& change) {
    Process child(change);
    child.start();
    child.join();
    REQUIRE(child.exitcode() == 0);
  };
  CHECK((!of_b.wait(0s) && !of_set.wait(0s) && !of_x.wait(0s) && !of_all.wait(0s)));
  in_child([&] {
    seen.add("c");
    global["y"] = 3.5;
  });
  CHECK((!of_b.wait(0s) && of_set.wait(0s) && !of_x.wait(0s) && of_all.wait(0s)));
  in_child([&] {
    seen.add("b");
    global["x"] += 1;
  });
  CHECK((of_b.wait(0s) && of_set.wait(0s) && of_x.wait(0s) && of_all.wait(0s)));
  CHECK(!seen.add("b"));
  CHECK(!of_b.wait(0s));
  in_child([&] {
    seen.discard("b");
    global.del("x");
  });
  CHECK((of_b.wait(0s) && of_set.wait(0s) && of_x.wait(0s) && of_all.wait(0s)));
  seen.clear();
  global.update({{"x", 1}, {"z", 2}});
  CHECK((of_set.wait(0s) && of_x.wait(0s) && of_all.wait(0s)));
}

TEST_CASE("a watched array tells all changes through its proxy, and those through its span when told to") {
  ManagerHome home;
  Manager manager;
  struct Pixel {
    std::uint8_t red, green, blue;
  };
  auto numbers = manager.array<std::int64_t>(10);
  auto halves = manager.array<double>(10);
  auto pixels = manager.array<Pixel>(10);
  auto of_numbers = numbers.watch(), of_halves = halves.watch(), of_pixels = pixels.watch();
  std::int64_t expected = 7;
  const auto tells = [](const Watch& watch, auto&& change) {
    CHECK(!watch.wait(0s));
    change();
    CHECK(watch.wait(0s));
  };
  tells(of_numbers, [&] { numbers[3] = 7; });
  tells(of_numbers, [&] { numbers.set(-1, 7); });
  tells(of_numbers, [&] { numbers[3] += 0; });
  tells(of_numbers, [&] { numbers.fetch_add(3, 1); });
  tells(of_numbers, [&] { CHECK(numbers.compare_exchange(9, expected, 8)); });
  CHECK(!numbers.compare_exchange(9, expected, 9));
  tells(of_numbers, [&] { numbers.write(2, {1, 2, 3}); });
  tells(of_numbers, [&] { numbers.fill(5); });
  tells(of_halves, [&] { halves[0] *= 2; });
  tells(of_pixels, [&] { pixels.set(2, {1, 2, 3}); });
  CHECK((numbers.at(0) == 5 && numbers.slice(2, 4).size() == 2));
  numbers.span()[4] = 1;
  CHECK(!of_numbers.wait(0s));
  tells(of_numbers, [&] { numbers.notify(); });
}

TEST_CASE("no store into a watched array is missed") {
  ManagerHome home;
  Manager manager;
  auto numbers = manager.array<std::int64_t>(8);
  auto answers = manager.array<std::int64_t>(8);
  constexpr std::int64_t kTurns = 3000;
  Process other([&] {
    auto watch = numbers.watch();
    for (std::int64_t turn = 1; turn <= kTurns; ++turn) {
      while (numbers.at(0) != turn) {
        if (!watch.wait(30s)) std::_Exit(1);
      }
      answers[0] = turn;
    }
  });
  auto watch = answers.watch();
  other.start();
  for (std::int64_t turn = 1; turn <= kTurns; ++turn) {
    numbers[0] = turn;
    while (answers.at(0) != turn) REQUIRE(watch.wait(30s));
  }
  other.join();
  CHECK(other.exitcode() == 0);
}

TEST_CASE("a watcher of an array sees the last store of a forked child that is killed while it stores") {
  ManagerHome home;
  Manager manager;
  auto numbers = manager.array<std::int64_t>(8);
  for (int round = 0; round < 20; ++round) {
    std::atomic<std::int64_t> seen{-1};
    std::atomic<bool> over{false};
    std::thread follower([&] {
      auto watch = numbers.watch();
      seen = numbers.at(0);
      while (!over) {
        if (watch.wait(60s)) seen = numbers.at(0);
      }
    });
    while (seen < 0) std::this_thread::yield();
    const std::int64_t before = numbers.at(0);
    Process writer([&] {
      for (std::int64_t number = before + 1;; ++number) numbers[0] = number;
    });
    writer.start();
    while (numbers.at(0) < before + 100) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::microseconds(137 * round % 1000));
    writer.kill();  // often between a store and its notification
    writer.join();
    const std::int64_t last = numbers.at(0);
    CHECK(eventually([&] { return seen == last; }));
    over = true;
    numbers[0] = last + 1;
    follower.join();
  }
}

TEST_CASE("a consumer and a producer of a queue sleep in event loops of their own") {
  ManagerHome home;
  Manager manager;
  constexpr int kItems = 2000;
  const auto run = [&](auto queue, auto put, auto value_of) {
    const auto epoll_of = [](const Watch& watch) {
      const int epoll = epoll_create1(EPOLL_CLOEXEC);
      epoll_event event{EPOLLIN, {.u64 = 0}};
      if (epoll_ctl(epoll, EPOLL_CTL_ADD, watch.fd(), &event) != 0) std::_Exit(3);
      return epoll;
    };
    Process producer([&] {
      auto room = queue.watch_room();
      const int epoll = epoll_of(room);
      for (int i = 0; i < kItems;) {
        if (put(queue, i)) {
          ++i;
          continue;
        }
        epoll_event event{};
        if (epoll_wait(epoll, &event, 1, 30'000) != 1) std::_Exit(1);
        (void)room.wait(0s);
        // What was taken before the note is room now, and nothing says so again.
      }
    });
    producer.start();
    auto items = queue.watch_items();
    const int epoll = epoll_of(items);
    std::vector<bool> seen(kItems);
    for (int taken = 0; taken < kItems;) {
      while (auto item = queue.try_get()) {
        const auto value = static_cast<std::size_t>(value_of(*item));
        CHECK(!seen[value]);
        seen[value] = true;
        ++taken;
      }
      if (taken == kItems) break;
      epoll_event event{};
      REQUIRE(epoll_wait(epoll, &event, 1, 30'000) == 1);
      (void)items.wait(0s);
    }
    close(epoll);
    producer.join();
    CHECK(producer.exitcode() == 0);
  };
  const auto plain = [](const auto& queue, int i) { return queue.try_put(i); };
  const auto same = [](int item) { return item; };
  SECTION("first in, first out") {
    run(manager.queue<int>(5), plain, same);
  }
  SECTION("without tasks") {
    run(manager.simple_queue<int>(), plain, same);
  }
  SECTION("last in, first out") {
    run(manager.lifo_queue<int>({.maxsize = 5}), plain, same);
  }
  SECTION("by priority") {
    run(
        manager.priority_queue<int>({.maxsize = 5}), [](const auto& queue, int i) { return queue.try_put(i % 3, i); },
        [](const auto& entry) { return entry.value; });
  }
}

TEST_CASE("the item of a consumer that died and the end of a queue make a descriptor readable") {
  ManagerHome home;
  Manager manager;
  auto jobs = manager.queue<std::string>({.redeliver = true});
  jobs.put("work");
  auto items = jobs.watch_items();
  const int fd = items.fd();
  CHECK(!readable(fd, 20));
  Process unlucky([&] {
    (void)jobs.get();
    raise(SIGKILL);
  });
  unlucky.start();
  unlucky.join();
  CHECK(readable(fd, 20'000));
  CHECK(items.wait(0s));
  CHECK(jobs.get() == "work");
  jobs.task_done();
  CHECK(!readable(fd, 20));
  jobs.shutdown();
  CHECK(readable(fd, 20'000));
  CHECK(items.wait(0s));
}
