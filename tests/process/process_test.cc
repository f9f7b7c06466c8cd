// What each call of Process does.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <condition_variable>
#include <cstdio>
#include <iostream>
#include <thread>
#include <vector>

#include "support/captured_output.h"
#include "support/children.h"
#include "support/manager_home.h"
#include "support/readable.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using Catch::Contains;

TEST_CASE("a process runs its function in another process") {
  ManagerHome home;
  Manager manager;
  auto pid = manager.value(0);
  Process process([&] { pid = getpid(); });
  CHECK(!process.pid());
  CHECK(!process.is_alive());
  CHECK(!process.exitcode());
  process.start();
  process.join();
  CHECK(pid == process.pid());
  CHECK(pid != getpid());
  CHECK(process.exitcode() == std::optional<int>(0));
  CHECK(!process.is_alive());
  process.join();
}

TEST_CASE("exit codes are 0, the status, or the negative signal") {
  PlainTermination plain;
  CHECK(run(Process([] {})) == std::optional<int>(0));
  CHECK(run(Process([] { return 7; })) == std::optional<int>(0));
  CHECK(run(Process([] { std::exit(3); })) == std::optional<int>(3));
  CHECK(run(Process([] { std::exit(256 + 4); })) == std::optional<int>(4));
  CHECK(run(Process([] { _exit(5); })) == std::optional<int>(5));
  CHECK(run(Process([] { std::quick_exit(6); })) == std::optional<int>(6));
  CHECK(run(Process([] { raise(SIGKILL); })) == std::optional<int>(-SIGKILL));
  CHECK(run(Process([] { raise(SIGTERM); })) == std::optional<int>(-SIGTERM));
}

TEST_CASE("an exception ends the process with 1 and its name and reason on standard error") {
  std::optional<int> code;
  std::string said = output_of(
      STDERR_FILENO, [&] { code = run(Process({.name = "worker"}, [] { throw std::runtime_error("no luck"); })); });
  CHECK(code == std::optional<int>(1));
  CHECK_THAT(said, Contains("Process worker:") && Contains("no luck"));
  said = output_of(STDERR_FILENO, [&] { code = run(Process([] { throw 5; })); });
  CHECK(code == std::optional<int>(1));
  CHECK_THAT(said, Contains("no std::exception"));
}

TEST_CASE("streams come out once, and nothing of the parent's is run") {
  const std::string said = output_of(STDOUT_FILENO, [] {
    std::cout << "before ";
    std::printf("start ");
    static int registered = std::atexit([] { std::cout << "handler of the parent "; });
    (void)registered;
    CHECK(run(Process([] {
            std::cout << "child ";
            std::printf("too ");
          })) == std::optional<int>(0));
    CHECK(run(Process([] {
            std::cout << "exit ";
            std::exit(3);
          })) == std::optional<int>(3));
    struct Loud {
      ~Loud() { std::cout << "destroyed "; }
    } loud;
    run(Process([&] { (void)loud; }));
  });
  CHECK(said == "before start child too exit destroyed ");
}

TEST_CASE("broken standard streams do not change the exit code") {
  CHECK(run(Process([] {
          close(STDOUT_FILENO);
          std::cout << "into nothing" << std::flush;
        })) == std::optional<int>(0));
  CHECK(run(Process([] {
          close(STDERR_FILENO);
          throw 5;
        })) == std::optional<int>(1));
}

TEST_CASE("a process is started once, by the process that made it") {
  Process process([] {});
  process.start();
  CHECK_THROWS_AS(process.start(), ProcessError);
  process.join();
  CHECK_THROWS_WITH(process.start(), Contains(process.name()) && Contains("already"));
  Process other([] {});
  Process starter([&] {
    try {
      other.start();
    } catch (const ProcessError&) {
      _exit(42);
    }
  });
  CHECK(run(std::move(starter)) == std::optional<int>(42));
}

TEST_CASE("what needs a started process says so") {
  Process process({.name = "idle"}, [] {});
  CHECK_THROWS_AS(process.join(), ProcessError);
  CHECK_THROWS_AS(process.join_for(1ms), ProcessError);
  CHECK_THROWS_AS(process.terminate(), ProcessError);
  CHECK_THROWS_AS(process.kill(), ProcessError);
  CHECK_THROWS_AS(process.sentinel(), ProcessError);
  CHECK_THROWS_WITH(process.join(), Contains("idle") && Contains("not started"));
  Process moved(std::move(process));
  CHECK_THROWS_AS(process.start(), ProcessError);
  CHECK_THROWS_AS(process.name(), ProcessError);
  CHECK(moved.name() == "idle");
}

TEST_CASE("a process is joined by its parent alone") {
  Process sleeper([] { pause(); });
  sleeper.start();
  Process other([&] {
    try {
      sleeper.join();
    } catch (const ProcessError&) {
      _exit(42);
    }
  });
  CHECK(run(std::move(other)) == std::optional<int>(42));
  CHECK(sleeper.is_alive());
  sleeper.kill();
  sleeper.join();
}

TEST_CASE("waiting for a while ends late, never early") {
  PlainTermination plain;
  Process sleeper([] { pause(); });
  sleeper.start();
  const auto start = std::chrono::steady_clock::now();
  CHECK(!sleeper.join_for(30ms));
  CHECK(std::chrono::steady_clock::now() - start >= 30ms);
  CHECK(!sleeper.join_for(0s));
  CHECK(!sleeper.join_for(-1s));
  CHECK(sleeper.is_alive());
  CHECK(!sleeper.exitcode());
  sleeper.terminate();
  CHECK(sleeper.join_for(std::chrono::hours(24 * 365)));
  CHECK(sleeper.exitcode() == std::optional<int>(-SIGTERM));
  sleeper.terminate();
  sleeper.kill();
}

TEST_CASE("a sentinel is readable once the process ended, grandchildren or not") {
  Process process([] {
    if (fork() == 0) {
      std::this_thread::sleep_for(200ms);
      _exit(0);
    }
    std::this_thread::sleep_for(10ms);
  });
  process.start();
  CHECK(!readable(process.sentinel(), 0));
  CHECK(readable(process.sentinel(), 150));
  process.join();
  CHECK(readable(process.sentinel(), 0));
}

TEST_CASE("names count children from the root") {
  ManagerHome home;
  Manager manager;
  auto names = manager.list<std::string>();
  CHECK(current_process_name() == "MainProcess");
  Process first([&] {
    names.push_back(current_process_name());
    Process inner([&] { names.push_back(current_process_name()); });
    names.push_back(inner.name());
    inner.start();
    inner.join();
  });
  Process second([] {});
  CHECK(first.name().starts_with("Process-"));
  CHECK(first.name() != second.name());
  const std::string name = first.name();
  first.start();
  first.join();
  CHECK(names == std::vector<std::string>{name, name + ":1", name + ":1"});
  second.set_name("other");
  CHECK(second.name() == "other");
}

TEST_CASE("processes are kept in vectors and moved") {
  ManagerHome home;
  Manager manager;
  auto sum = manager.value(0);
  std::vector<Process> processes;
  for (int i = 1; i <= 10; ++i) {
    processes.emplace_back([&, i] { sum += i; });
    processes.back().start();
  }
  Process moved = std::move(processes.front());
  processes.front() = Process([&] { sum += 100; });
  processes.front().start();
  moved.join();
  for (auto& process : processes) process.join();
  CHECK(sum == 155);
  auto owned = std::make_unique<int>(7);
  Process with_move_only([&sum, owned = std::move(owned)] { sum = *owned; });
  with_move_only.start();
  with_move_only.join();
  CHECK(sum == 7);
}

TEST_CASE("a process that somebody else waited for has no exit code") {
  Process process([] {});
  process.start();
  CHECK(waitpid(*process.pid(), nullptr, 0) == *process.pid());
  process.join();
  CHECK(!process.is_alive());
  CHECK(!process.exitcode());
  CHECK_NOTHROW(process.terminate());
}

TEST_CASE("a child leaves its session when it ends") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, int>(named("counts"));
  const auto users = [&] { return manager.objects().at(0).processes; };
  CHECK(users() == 1);
  for (const bool exits : {false, true}) {
    Process process([&] {
      counts["a"] += 1;
      if (users() != 2) _exit(9);
      if (exits) std::exit(0);
    });
    process.start();
    process.join();
    CHECK(process.exitcode() == std::optional<int>(0));
    CHECK(users() == 1);
  }
}

TEST_CASE("a process may have threads, and threads may start processes") {
  ManagerHome home;
  Manager manager;
  auto sum = manager.value(0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) {
        Process process([&] {
          std::thread a([&] { ++sum; }), b([&] { ++sum; });
          a.join();
          b.join();
        });
        process.start();
        process.join();
        CHECK(process.exitcode() == std::optional<int>(0));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(sum == 40);
}

TEST_CASE("a system without room for another process says so") {
  rlimit before{};
  getrlimit(RLIMIT_NPROC, &before);
  if (geteuid() == 0) return;  // the limit is not for root
  rlimit none{0, before.rlim_max};
  setrlimit(RLIMIT_NPROC, &none);
  Process process([] {});
  CHECK_THROWS_AS(process.start(), SystemError);
  setrlimit(RLIMIT_NPROC, &before);
}
