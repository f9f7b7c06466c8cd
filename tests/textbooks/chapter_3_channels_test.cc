// Tutorial 3: a list of different things goes through queues and pipes; a manager's dict and list.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <functional>
#include <queue>
#include <ranges>
#include <string>
#include <thread>
#include <vector>

#include "support/textbook_program.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

Any mixed_list() {
  return Any::list(66, nullptr, "hello");
}
constexpr const char* kMixedList = "[66, null, \"hello\"]";

void put_mixed_list(const Queue<Any>& queue) {
  queue.put(mixed_list());
}

}  // namespace

TEST_CASE("a thread puts a list of a number, nothing and a text into a queue, and its program takes it") {
  const auto run = program([] {
    Manager manager;
    auto queue = manager.queue<Any>();
    std::thread thread(put_mixed_list, queue);
    say(queue.get());
    thread.join();
  });
  CHECK(run.ended_well());
  CHECK(run.lines() == std::vector<std::string>{kMixedList});
}

TEST_CASE("a queue of the standard library is a copy in a forked child, and is refused for a fresh one") {
  STATIC_REQUIRE(!commonhold::detail::Storable<std::queue<Any>>);  // what Process::fresh asks of its arguments
  const auto run = program([] {
    std::queue<std::string> queue;
    Process process([&] {
      queue.push("item");
      say("child has", queue.size());
    });
    process.start();
    process.join();
    say("parent has", queue.size());
  });
  CHECK(run.ended_well());
  CHECK(run.output == "child has 1\nparent has 0\n");
}

TEST_CASE("a child puts a list of a number, nothing and a text into a queue, and its parent takes it") {
  const auto run = program([] {
    Manager manager;
    auto queue = manager.queue<Any>();
    Process process(put_mixed_list, queue);
    process.start();
    say(queue.get());
    process.join();
  });
  CHECK(run.ended_well());
  CHECK(run.lines() == std::vector<std::string>{kMixedList});
}

TEST_CASE("a list of a number, nothing and a text goes through a pipe as an Any") {
  const auto run = program([] {
    const auto work = [](Connection& connection) {
      connection.send(mixed_list());
      connection.close();
    };
    auto [mine, theirs] = Pipe();
    Process process(work, std::ref(theirs));
    process.start();
    say(mine.recv<Any>());
    process.join();
  });
  CHECK(run.ended_well());
  CHECK(run.lines() == std::vector<std::string>{kMixedList});
}

TEST_CASE("messages of different types go through a pipe in both directions, each whole and in order") {
  const auto run = program([] {
    const auto work = [](Connection& connection) {
      connection.send(mixed_list());
      connection.send("second");
      say("child got", connection.recv<Any>());
      connection.close();
    };
    auto [mine, theirs] = Pipe();
    Process process(work, std::ref(theirs));
    process.start();
    say(mine.recv<Any>());
    say(mine.recv<Any>());
    mine.send("answer");
    process.join();
  });
  CHECK(run.ended_well());
  CHECK(run.lines() == std::vector<std::string>{kMixedList, "\"second\"", "child got \"answer\""});
}

TEST_CASE("ten processes enter their pids in a manager's dict and list, and each sees its own") {
  const auto run = program([] {
    {
      Manager manager;
      auto dict = manager.dict<int, int>();
      auto list = manager.list<int>(std::views::iota(0, 5));
      const auto enter = [](const Dict<int, int>& dict, const List<int>& list) {
        dict[getpid()] = getpid();
        list.append(getpid());
        say("sees", list.contains(getpid()), "its own in", list);
      };
      std::vector<Process> processes;
      for (int i = 0; i < 10; ++i) {
        Process process(enter, dict, list);
        process.start();
        processes.push_back(std::move(process));
      }
      for (Process& process : processes) process.join();
      for (Process& process : processes)
        say("complete", dict.at(*process.pid()) == *process.pid(), list.count(*process.pid()));
      say("dict", dict.size());
      say("list", list.size());
      say("begins", list.slice(0, 5) == std::vector{0, 1, 2, 3, 4});
    }
  });
  CHECK(run.ended_well());
  CHECK(run.lines_with("sees 1") == 10);
  CHECK(run.lines_with("complete 1 1") == 10);
  CHECK(run.says("dict 10"));
  CHECK(run.says("list 15"));
  CHECK(run.says("begins 1"));
}
