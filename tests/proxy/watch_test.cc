// Watching objects of all kinds from programs: by waiting, and by a descriptor.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <sys/epoll.h>

#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "support/manager_home.h"
#include "support/readable.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

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

TEST_CASE("a watcher sees the last change of a process that is killed while it changes") {
  ManagerHome home;
  Manager manager;
  auto dict = manager.dict<std::string, std::int64_t>({{"n", 0}});
  for (int round = 0; round < 20; ++round) {
    std::atomic<std::int64_t> seen{-1};
    std::atomic<bool> over{false};
    std::thread follower([&] {
      auto watch = dict.watch("n");
      seen = dict.at("n");
      while (!over) {
        // One more look than changes: what is seen last was seen after the last wake-up.
        if (watch.wait(60s)) seen = dict.at("n");
      }
    });
    while (seen < 0) std::this_thread::yield();
    const std::int64_t before = dict.at("n");
    Process writer([&] {
      for (;;) dict["n"] += 1;
    });
    writer.start();
    while (dict.at("n") < before + 100) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::microseconds(137 * round % 1000));
    writer.kill();  // often between a change and its notification
    writer.join();
    const std::int64_t last = dict.at("n");
    CHECK(eventually([&] { return seen == last; }));
    over = true;
    dict["n"] += 1;
    follower.join();
  }
}

TEST_CASE("several threads and processes follow a counter to its end") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>({{"n", 0}});
  constexpr std::int64_t kEnd = 200, kFollowers = 3;
  auto seen = manager.value<std::int64_t>(0);
  // A follower says once for each number that it saw it. It is woken by the watch alone.
  const auto follow = [&](const auto& wait) {
    auto watch = counts.watch("n");
    seen += 1;
    for (std::int64_t last = 0; last < kEnd;) {
      wait(watch);
      const std::int64_t now = counts.at("n");
      if (now > last) seen += now - last;
      last = now;
    }
  };
  const auto by_waiting = [](Watch& watch) { (void)watch.wait(); };
  const auto by_descriptor = [](Watch& watch) {
    (void)readable(watch.fd(), -1);
    (void)watch.wait(0s);
  };
  std::thread thread([&] { follow(by_waiting); });
  Process first([&] { follow(by_waiting); }), second([&] { follow(by_descriptor); });
  first.start();
  second.start();
  bool all_saw = eventually([&] { return seen.load() == kFollowers; });  // all watch
  for (std::int64_t i = 1; all_saw && i <= kEnd; ++i) {
    counts["n"] += 1;
    all_saw = eventually([&] { return seen.load() == kFollowers * (i + 1); });
  }
  REQUIRE(all_saw);
  thread.join();
  first.join();
  second.join();
  CHECK(first.exitcode() == 0);
  CHECK(second.exitcode() == 0);
}
