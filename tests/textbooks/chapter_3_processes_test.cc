// Tutorial 3: processes, threads in them, a lock, and pools of workers.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/textbook_program.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

void say_hello(const std::string& name) {
  say("hello", name);
}

void say_who(const std::string& title) {
  say(title, "pid", getpid(), "parent", getppid());
}

void begin_and_end(int number) {
  say("begins", number, "in", getpid());
  say("ends", number);
}

void work_together(const Event& goes_on, const Barrier& five) {
  goes_on.wait();
  five.wait();
  say("worked in", getpid());
}

}  // namespace

TEST_CASE("ten processes of a list all say hello before the program ends") {
  const auto run = program([] {
    std::vector<Process> processes;
    for (int i = 0; i < 10; ++i) {
      Process process(say_hello, "guest" + std::to_string(i));
      process.start();
      processes.push_back(std::move(process));
    }
    for (Process& process : processes) process.join();
    say("joined");
  });
  CHECK(run.ended_well());
  for (int i = 0; i < 10; ++i) CHECK(run.lines_with("hello guest" + std::to_string(i)) == 1);
  CHECK(run.line_of("joined") == 10);
}

TEST_CASE("a thread that a child starts and does not join says its line before the child ends") {
  const auto run = program([] {
    const auto work = [](const std::string& name) {
      say_hello(name);
      std::thread([name] {
        std::this_thread::sleep_for(20ms);
        say("thread of", name);
      }).detach();
    };
    std::vector<Process> processes;
    for (int i = 0; i < 10; ++i) {
      Process process(work, "guest" + std::to_string(i));
      process.start();
      processes.push_back(std::move(process));
    }
    for (Process& process : processes) process.join();
    say("joined");
  });
  CHECK(run.ended_well());
  for (int i = 0; i < 10; ++i) {
    CHECK(run.lines_with("hello guest" + std::to_string(i)) == 1);
    CHECK(run.lines_with("thread of guest" + std::to_string(i)) == 1);
  }
  CHECK(run.line_of("joined") == 20);
}

TEST_CASE("the parent of a child is the program's own pid") {
  const auto run = program([] {
    say_who("main");
    const auto work = [](const std::string& name) {
      say_who("child");
      say_hello(name);
    };
    Process process(work, "guest");
    process.start();
    process.join();
    say("child's parent pid", getpid());
  });
  CHECK(run.ended_well());
  const auto lines = run.lines();
  REQUIRE(lines.size() == 4);
  CHECK(lines[2] == "hello guest");
  const std::string program_pid = lines[3].substr(lines[3].rfind(' ') + 1);
  CHECK(lines[0].find("main pid " + program_pid + " parent") == 0);
  CHECK(lines[1].find("child pid ") == 0);
  CHECK(lines[1].find("child pid " + program_pid + " ") == std::string::npos);
  CHECK(lines[1].substr(lines[1].rfind(' ') + 1) == program_pid);
}

TEST_CASE("a lock that ten unnamed processes take is free again for the next when one throws under it") {
  const auto run = program([] {
    Manager manager;
    auto lock = manager.lock();
    const auto work = [](const Lock& lock, int number) {
      std::scoped_lock guard(lock);
      say("hello", number);
      if (number % 2 == 1) throw Exit(0);
      say("world", number);
    };
    for (int i = 0; i < 10; ++i) Process(work, lock, i).start();
  });
  CHECK(run.ended_well());
  const auto lines = run.lines();
  CHECK(lines.size() == 15);
  for (int i = 0; i < 10; i += 2) {
    const std::size_t at = run.line_of("hello " + std::to_string(i));
    CHECK(run.line_of("world " + std::to_string(i)) == at + 1);
  }
}

TEST_CASE("apply waits for its task: ten tasks come one after the other, and all before the end") {
  const auto run = program([] {
    Pool pool(5);
    for (int i = 0; i < 10; ++i) pool.apply(begin_and_end, i);
    say("end");
    pool.close();
    pool.join();
  });
  CHECK(run.ended_well());
  const auto lines = run.lines();
  REQUIRE(lines.size() == 21);
  for (int i = 0; i < 10; ++i) {
    const auto at = static_cast<std::size_t>(2 * i);
    CHECK(lines[at].find("begins " + std::to_string(i) + " in ") == 0);
    CHECK(lines[at + 1] == "ends " + std::to_string(i));
  }
  CHECK(lines[20] == "end");
}

TEST_CASE("apply_async does not wait: the end is said first, five workers work at the same time, join waits for all") {
  const auto run = program([] {
    Manager manager;
    auto goes_on = manager.event();
    auto five = manager.barrier(5);
    Pool pool(5);
    for (int i = 0; i < 10; ++i) pool.apply_async(work_together, goes_on, five);
    say("end");
    goes_on.set();
    pool.close();
    pool.join();
    say("joined");
  });
  CHECK(run.ended_well());
  const auto lines = run.lines();
  REQUIRE(lines.size() == 12);
  CHECK(lines.front() == "end");
  CHECK(lines.back() == "joined");
  const std::set<std::string> workers(lines.begin() + 1, lines.end() - 1);
  CHECK(workers.size() == 5);
}

TEST_CASE("the callback of a task without a result is called in the program, once for each task, before join returns") {
  const auto run = program([] {
    const auto work = [](int number) { say("task", number, "in", getpid()); };
    const auto call_back = [] { say("called back in", getpid()); };
    Pool pool(2);
    say("main", getpid());
    for (int i = 0; i < 3; ++i) pool.apply_async(then(call_back), work, i);
    say("end");
    pool.close();
    pool.join();
    say("joined");
  });
  CHECK(run.ended_well());
  const auto lines = run.lines();
  REQUIRE(lines.size() == 9);
  const std::string program_pid = lines[0].substr(lines[0].find(' ') + 1);
  CHECK(run.lines_with("called back in " + program_pid) == 3);
  CHECK(run.lines_with("task ") == 3);
  CHECK(run.lines_with(" in " + program_pid) == 3);
  CHECK(lines.back() == "joined");
}
