// What a forked child inherits is its own from the fork on.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>

#include "support/manager_home.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

TEST_CASE("a child whose parent is killed before the child's first use has all that it inherited") {
  ManagerHome home;
  Manager manager = Manager::start({.name = "inherited"});
  for (int round = 0; round < 10; ++round) {
    Shared<std::atomic<int>> step;
    const pid_t parent = spawn([&] {
      Manager own = Manager::connect("inherited");
      auto counts = own.dict<int, int>({{1, 11}});
      auto list = own.list<int>({1, 2, 3});
      if (fork() == 0) {
        while (*step == 0) usleep(100);
        int result = 2;
        try {
          counts.put(2, 22);
          list.push_back(4);
          if (counts.at(1) == 11 && counts.size() == 2 && list.size() == 4) result = 1;
        } catch (const std::exception& failure) {
          std::fprintf(stderr, "child: %s\n", failure.what());
        }
        *step = 1 + result;
        _exit(0);
      }
      kill(getpid(), SIGKILL);
    });
    REQUIRE(wait_for(parent) == -SIGKILL);
    manager.dict<int, int>();  // a sweep
    std::this_thread::sleep_for(20ms);
    *step = 1;
    while (*step == 1) usleep(100);
    REQUIRE(*step == 2);
  }
  CHECK(eventually([&] { return manager.objects().empty(); }));
  manager.shutdown();
}

TEST_CASE("an anonymous manager outlives the program that made it as long as a forked child has an object of it") {
  ManagerHome home;
  Shared<std::atomic<int>> step;
  const pid_t parent = spawn([&] {
    Manager own;
    auto counts = own.dict<int, int>({{1, 11}});
    if (fork() == 0) {
      while (*step == 0) usleep(100);
      *step = counts.at(1) == 11 && own.list<int>({5}).at(0) == 5 ? 2 : 3;
      _exit(0);
    }
    kill(getpid(), SIGKILL);
  });
  REQUIRE(wait_for(parent) == -SIGKILL);
  std::this_thread::sleep_for(50ms);
  *step = 1;
  for (int tries = 0; *step == 1 && tries < 10'000; ++tries) usleep(1000);
  REQUIRE(*step == 2);
}

TEST_CASE("a child that first uses an object while memory is full can read and erase, and loses none") {
  ManagerHome home;
  Manager manager = Manager::start({.name = "full", .memory_limit = 16u << 20});
  auto data = manager.dict<int, std::string>({{1, "one"}, {2, "two"}});
  auto other = manager.dict<int, int>({{1, 7}});
  auto queue = manager.queue<int>();
  queue.put(5);
  std::vector<Value<int>> many;
  for (int i = 0; i < 200; ++i) many.push_back(manager.value<int>(i));
  auto fill = manager.list<std::string>();
  for (std::size_t size : {60'000u, 1'000u, 20u}) {
    try {
      for (;;) fill.push_back(std::string(size, 'x'));
    } catch (const OutOfMemory&) {
    }
  }
  const pid_t child = spawn([&] {
    if (data.at(1) != "one") throw std::runtime_error("reading");
    if (!data.erase(2)) throw std::runtime_error("erasing");
    if (queue.get() != 5) throw std::runtime_error("taking");
    if (other.at(1) != 7) throw std::runtime_error("reading another one");
    for (int i = 0; i < 200; ++i) {
      if (many[static_cast<std::size_t>(i)] != i) throw std::runtime_error("reading many");
    }
  });
  CHECK(wait_for(child) == 0);
  manager.shutdown();
}
