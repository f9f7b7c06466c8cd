// Tutorial 1: a child, a daemonic child, and a queue with more processes than places.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/children.h"
#include "support/textbook_program.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

TEST_CASE("a program does not wait for its child to go on, and ends after it") {
  const auto run = program([] {
    Manager manager;
    auto parent_spoke = manager.event();
    const auto greet = [&](std::string name) {
      say("hello", name);
      parent_spoke.wait();
      say("the child is done");
    };
    Process process(greet, "bob");
    process.start();
    say("the parent is done");
    parent_spoke.set();
  });
  CHECK(run.ended_well());
  CHECK(run.says("hello bob"));
  CHECK(run.line_of("the parent is done") < run.line_of("the child is done"));
  CHECK(run.lines().size() == 3);
}

TEST_CASE("a daemonic child is ended when the program's code has ended, while the program waits for the other one") {
  const auto run = program([] {
    Manager manager;
    auto main_is_done = manager.event();
    auto bar_is_done = manager.event();
    const auto foo = [&] {
      say("123");
      bar_is_done.wait();
      say("end123");
    };
    const auto bar = [&](pid_t daemon) {
      say("456");
      main_is_done.wait();
      while (!is_gone(daemon)) std::this_thread::sleep_for(1ms);
      bar_is_done.set();
      say("end456");
    };
    Process first(foo);
    first.set_daemon(true);
    first.start();
    Process second(bar, *first.pid());
    second.start();
    say("main-------");
    main_is_done.set();
  });
  CHECK(run.ended_well());
  CHECK(run.says("main-------"));
  CHECK_FALSE(run.says("end123"));
  CHECK(run.lines().back() == "end456");
}

TEST_CASE("ten processes put into a queue of three places and ten get from it") {
  const auto run = program([] {
    const auto put = [](Queue<std::string> queue) { queue.put(std::to_string(getpid()) + " put this"); };
    const auto get = [](Queue<std::string> queue) { say(getpid(), "got what", queue.get()); };
    std::vector<Process> putting, getting;
    Manager manager;
    auto queue = manager.queue<std::string>(3);
    for (int i = 0; i < 10; ++i) {
      Process process(put, queue);
      process.start();
      putting.push_back(std::move(process));
    }
    for (int i = 0; i < 10; ++i) {
      Process process(get, queue);
      process.start();
      getting.push_back(std::move(process));
    }
    for (auto& process : putting) process.join();
    for (auto& process : getting) process.join();
    say("all are done");
  });
  CHECK(run.ended_well());
  CHECK(run.lines().size() == 11);
  CHECK(run.lines().back() == "all are done");
  std::set<std::string> getters, putters;
  for (const auto& line : run.lines()) {
    const auto middle = line.find(" got what ");
    if (middle == std::string::npos) continue;
    getters.insert(line.substr(0, middle));
    putters.insert(line.substr(middle));
  }
  CHECK(getters.size() == 10);
  CHECK(putters.size() == 10);
}
