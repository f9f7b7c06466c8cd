// Proxies on both sides of a fork, while other threads are at work.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "support/manager_home.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

TEST_CASE("a forked child reads, changes, makes and opens objects") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>({{"a", 1}});
  auto shared = manager.list<int>(named("shared"));
  const pid_t child = spawn([&] {
    if (counts.at("a") != 1) throw std::runtime_error("reading");
    counts["a"] += 1;
    if (manager.dict<int, int>({{1, 2}}).at(1) != 2) throw std::runtime_error("making");
    manager.open<List<int>>("shared").push_back(7);
    manager.value<int>(named("made in the child"), 5);
  });
  CHECK(wait_for(child) == 0);
  CHECK(counts.at("a") == 2);
  CHECK(shared.at(0) == 7);
  CHECK(manager.open<Value<int>>("made in the child") == 5);
  CHECK(eventually([&] { return manager.objects().size() == 3; }));
}

TEST_CASE("children of children share as well") {
  ManagerHome home;
  Manager manager;
  auto number = manager.value(0);
  Process outer([&] {
    ++number;
    Process inner([&] {
      ++number;
      manager.value(1);
    });
    inner.start();
    inner.join();
    ++number;
  });
  outer.start();
  outer.join();
  CHECK(number == 3);
}

TEST_CASE("a child keeps what its parent lets go of, also before the child's first use of anything") {
  ManagerHome home;
  Manager manager;
  auto counts = std::make_unique<Dict<std::string, std::int64_t>>(manager.dict<std::string, std::int64_t>({{"a", 1}}));
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  Process child([&] {
    char byte;
    if (read(ends[0], &byte, 1) != 1) _exit(9);
    if (counts->at("a") != 1) _exit(1);
    (*counts)["a"] = 2;
    if (counts->at("a") != 2) _exit(2);
  });
  child.start();
  counts.reset();
  auto other = manager.dict<std::string, std::int64_t>({{"a", 7}});  // a sweep
  std::this_thread::sleep_for(50ms);
  CHECK(manager.objects().size() == 2);
  REQUIRE(write(ends[1], "x", 1) == 1);
  child.join();
  CHECK(child.exitcode() == 0);
  CHECK(other.at("a") == 7);
  CHECK(eventually([&] { return manager.objects().size() == 1; }));
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE(
    "a fork without a descriptor to spare succeeds; what vanishes before the child's first use is gone, every time") {
  ManagerHome home;
  Manager manager;
  auto kept = manager.value(0);
  auto counts = std::make_unique<Dict<std::string, std::int64_t>>(manager.dict<std::string, std::int64_t>({{"a", 1}}));
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit none{0, before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  const pid_t child = spawn([&] {
    setrlimit(RLIMIT_NOFILE, &before);
    char byte;
    if (read(ends[0], &byte, 1) != 1) throw std::runtime_error("reading the pipe");
    for (int i = 0; i < 2; ++i) {
      try {
        counts->put("a", 2);
        throw std::runtime_error("it was put");
      } catch (const ObjectGone&) {
      }
      try {
        (void)counts->find("a");
        throw std::runtime_error("it was found");
      } catch (const ObjectGone&) {
      }
      ++kept;
    }
  });
  REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
  counts.reset();
  REQUIRE(eventually([&] { return manager.objects().size() == 1; }));
  // Its memory is somebody else's by now.
  auto other = manager.dict<std::string, std::int64_t>({{"a", 7}});
  REQUIRE(write(ends[1], "x", 1) == 1);
  CHECK(wait_for(child) == 0);
  CHECK(kept == 2);
  CHECK(other.at("a") == 7);
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("forks while other threads work on objects and ask the server") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>();
  auto lock = manager.lock();
  auto list = manager.list<std::string>();
  std::atomic<bool> stop{false};
  std::atomic<std::int64_t> done{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      while (!stop) {
        switch (t) {
          case 0: {
            std::scoped_lock guard(lock);
            counts["sum"] = counts.get("sum", 0) + 1;
            ++done;
            break;
          }
          case 1: {
            list.push_back(std::string(100, 'x'));
            if (list.size() > 50) list.clear();
            (void)counts.items();
            break;
          }
          case 2: {
            manager.list<int>({1, 2, 3});
            manager.objects();
            break;
          }
        }
      }
    });
  }
  constexpr int kChildren = 60;
  for (int i = 0; i < kChildren; ++i) {
    const pid_t child = spawn([&] {
      {
        std::scoped_lock guard(lock);
        counts["sum"] = counts.get("sum", 0) + 1;
      }
      list.push_back("child");
      if (i % 5 == 0 && manager.dict<int, int>({{1, 1}}).size() != 1) throw std::runtime_error("making");
    });
    REQUIRE(wait_for(child) == 0);
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  CHECK(counts.at("sum") == done + kChildren);
}

TEST_CASE("one-step operations of many threads all count") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>();
  auto lists = manager.dict<int, std::vector<int>>();
  constexpr int kThreads = 4, kRounds = 2000;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        counts["sum"] += 2;
        counts["sum"]--;
        if (i % 50 == 0) {
          lists.update(1, {}, [&](std::vector<int> all) {
            all.push_back(t);
            return all;
          });
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(counts.at("sum") == kThreads * kRounds);
  CHECK(lists.at(1).size() == kThreads * kRounds / 50);
}

TEST_CASE("many children start from several threads at once") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>();
  std::vector<std::thread> threads;
  std::atomic<int> ended_well{0};  // the test framework's checks are for one thread
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 15; ++i) {
        Process child([&] { counts["sum"] += 1; });
        child.start();
        child.join();
        ended_well += child.exitcode() == 0;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(ended_well == 60);
  CHECK(counts.at("sum") == 60);
}
