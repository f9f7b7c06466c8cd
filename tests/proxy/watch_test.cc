// Watching objects of all kinds from programs: by waiting, and by a descriptor.
#include <commonhold/commonhold.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>

#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

bool readable(int fd, int milliseconds) {
  pollfd one{fd, POLLIN, 0};
  return poll(&one, 1, milliseconds) == 1 && (one.revents & POLLIN) != 0;
}

std::size_t threads() {
  std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

}  // namespace

TEST_CASE("a watched key tells of changes by another process, and of none of another key") {
  ManagerHome home;
  Manager manager;
  auto settings = manager.dict<std::string, std::string>({{"colour", "red"}, {"size", "small"}});
  auto watch = settings.watch("colour");
  auto whole = settings.watch();
  CHECK(!watch.wait(0s));
  Process writer([&] {
    settings["size"] = "large";
    settings["colour"] = "blue";
  });
  writer.start();
  CHECK(watch.wait());
  CHECK(settings.at("colour") == "blue");
  writer.join();
  CHECK(whole.wait(0s));
  CHECK(!watch.wait(1ms));
  settings["size"] = "small";
  settings.erase("size");
  CHECK(!watch.wait(1ms));
  CHECK(whole.wait(1ms));
  settings.erase("colour");
  CHECK(watch.wait_until(std::chrono::system_clock::now() + 10s));
  CHECK(!watch.wait_until(std::chrono::system_clock::now() + 1ms));
}

TEST_CASE("a change between watch and wait is not missed, nor one that is taken back") {
  ManagerHome home;
  Manager manager;
  auto number = manager.value(1);
  auto numbers = manager.dict<int, int>({{1, 1}});
  auto list = manager.list<int>({1});
  auto of_value = number.watch();
  auto of_key = numbers.watch(1);
  auto of_list = list.watch();
  number = 2;
  number = 1;
  numbers[1] += 1;
  numbers[1] -= 1;
  list.push_back(2);
  list.pop_back();
  CHECK(of_value.wait());
  CHECK(of_key.wait());
  CHECK(of_list.wait());
  CHECK(!of_value.wait(0s));
  CHECK(!of_key.wait(0s));
  CHECK(!of_list.wait(0s));
}

TEST_CASE("a large value can be watched") {
  ManagerHome home;
  Manager manager;
  auto point = manager.value(std::array<double, 4>{});
  auto watch = point.watch();
  Process writer([&] { point = std::array<double, 4>{1, 2, 3, 4}; });
  writer.start();
  CHECK(watch.wait(10s));
  CHECK(point.load()[2] == 3);
  writer.join();
}

TEST_CASE("a wait without a change ends late, never early") {
  ManagerHome home;
  Manager manager;
  auto watch = manager.value(1).watch();  // keeps the value
  const auto start = std::chrono::steady_clock::now();
  CHECK(!watch.wait(25ms));
  CHECK(std::chrono::steady_clock::now() - start >= 25ms);
}

TEST_CASE("a descriptor is readable from a change until a wait takes note of it") {
  ManagerHome home;
  Manager manager;
  auto jobs = manager.dict<std::string, int>({{"a", 1}});
  const std::size_t before = threads();
  {
    auto watch = jobs.watch("a");
    const int fd = watch.fd();
    CHECK(watch.fd() == fd);
    CHECK(!readable(fd, 20));
    jobs["b"] = 1;
    CHECK(!readable(fd, 20));
    for (int i = 0; i < 20; ++i) {
      Process writer([&] { jobs["a"] += 1; });
      writer.start();
      CHECK(readable(fd, 10'000));
      CHECK(readable(fd, 0));
      CHECK(watch.wait(0s));
      CHECK(!watch.wait(0s));
      CHECK(!readable(fd, 0));
      writer.join();
    }
    jobs["a"] += 1;
    CHECK(watch.wait());  // before the descriptor may be readable
    CHECK(!readable(fd, 20));
  }
  while (threads() != before) std::this_thread::sleep_for(1ms);  // it ends with the last descriptor
}

TEST_CASE("a descriptor that is asked for after a change is readable") {
  ManagerHome home;
  Manager manager;
  auto list = manager.list<int>();
  auto watch = list.watch();
  list.push_back(1);
  CHECK(readable(watch.fd(), 10'000));
  CHECK(watch.wait(0s));
}

TEST_CASE("an event loop serves many watches of many kinds") {
  ManagerHome home;
  Manager manager;
  auto dict = manager.dict<int, int>();
  auto list = manager.list<int>();
  auto value = manager.value(0);
  std::vector<Watch> watches;
  for (int i = 0; i < 150; ++i) watches.push_back(dict.watch(i));  // more than the kernel waits for at once
  watches.push_back(dict.watch());
  watches.push_back(list.watch());
  watches.push_back(value.watch());
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  for (std::size_t i = 0; i < watches.size(); ++i) {
    epoll_event event{EPOLLIN, {.u64 = i}};
    REQUIRE(epoll_ctl(epoll, EPOLL_CTL_ADD, watches[i].fd(), &event) == 0);
  }
  Process writer([&] {
    for (int i = 0; i < 150; ++i) dict[i] = i;
    list.push_back(1);
    value = 1;
  });
  writer.start();
  std::vector<bool> told(watches.size());
  for (std::size_t left = watches.size(); left != 0;) {
    epoll_event event{};
    REQUIRE(epoll_wait(epoll, &event, 1, 20'000) == 1);
    if (!watches[event.data.u64].wait(0s)) continue;
    if (!told[event.data.u64]) --left;
    told[event.data.u64] = true;
  }
  writer.join();
  close(epoll);
}

TEST_CASE("a forked child waits and polls by itself with the watch of its parent") {
  ManagerHome home;
  Manager manager;
  auto value = manager.value(0);
  auto ready = manager.value(0);
  auto watch = value.watch();
  const int fd = watch.fd();
  Process child([&] {
    ready = 1;
    if (!watch.wait(20s)) std::_Exit(1);
    ready = 2;
    if (!readable(watch.fd(), 20'000) || !watch.wait(0s)) std::_Exit(2);
  });
  child.start();
  ready.wait(0);
  value = 1;
  ready.wait(1);
  CHECK(readable(fd, 10'000));  // the child took its own note, not ours
  CHECK(watch.wait(0s));
  value = 2;
  child.join();
  CHECK(child.exitcode() == 0);
}

TEST_CASE("the last change of a process that is killed is told") {
  ManagerHome home;
  Manager manager;
  auto dict = manager.dict<std::string, std::int64_t>({{"n", 0}});
  for (int i = 0; i < 10; ++i) {
    auto watch = dict.watch("n");
    Process writer([&] {
      dict["n"] += 1;
      raise(SIGKILL);
    });
    writer.start();
    CHECK(watch.wait(20s));
    writer.join();
    CHECK(dict.at("n") == i + 1);
  }
}

TEST_CASE("several threads and processes follow a counter to its end") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>({{"n", 0}});
  constexpr std::int64_t kEnd = 2000;
  const auto follow = [&] {
    auto watch = counts.watch("n");
    while (counts.at("n") < kEnd) watch.wait();
  };
  std::thread thread(follow);
  Process first(follow), second([&] {
    auto watch = counts.watch("n");
    const int fd = watch.fd();
    while (counts.at("n") < kEnd) {
      (void)readable(fd, -1);
      (void)watch.wait(0s);
    }
  });
  first.start();
  second.start();
  for (std::int64_t i = 0; i < kEnd; ++i) counts["n"] += 1;
  thread.join();
  first.join();
  second.join();
  CHECK(second.exitcode() == 0);
}

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

TEST_CASE("a forked child's stores into its parent's array are told, also when it is killed after the last") {
  ManagerHome home;
  Manager manager;
  auto numbers = manager.array<std::int64_t>(8);
  for (int i = 1; i <= 10; ++i) {
    auto watch = numbers.watch();
    Process writer([&] {
      numbers[0] = i;
      raise(SIGKILL);
    });
    writer.start();
    CHECK(watch.wait(20s));
    writer.join();
    CHECK(numbers.at(0) == i);
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
