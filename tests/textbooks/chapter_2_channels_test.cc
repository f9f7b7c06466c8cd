// Tutorial 2: queues, a pipe and a manager's dict between processes.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/textbook_program.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

using Meals = Queue<std::optional<std::string>>;  // nothing: no more will come

void cook(const Meals& meals) {
  for (int i = 0; i < 10; ++i) {
    const std::string meal = "soup" + std::to_string(i) + ".";
    say("cooked", meal);
    meals.put(meal);
  }
}

void eat(const Meals& meals, const std::string& name) {
  for (;;) {
    const auto meal = meals.get();
    if (!meal) break;
    say(name, "ate", *meal);
  }
}

void check_each_eaten_once(const ProgramRun& run) {
  for (int i = 0; i < 10; ++i) {
    const std::string meal = "soup" + std::to_string(i) + ".";
    CHECK(run.lines_with("cooked " + meal) == 1);
    CHECK(run.lines_with("ate " + meal) == 1);
  }
}

}  // namespace

TEST_CASE("a queue of three refuses a fourth item, and an empty one has none to take, without waiting") {
  const auto run = program([] {
    Manager manager;
    auto queue = manager.queue<int>(3);
    queue.put(3);
    queue.put(3);
    queue.put(3);
    try {
      queue.put_nowait(3);
    } catch (const Full&) {
      say("no room");
    }
    say("full", queue.full());
    for (int i = 0; i < 3; ++i) say("took", queue.get());
    try {
      queue.get_nowait();
    } catch (const Empty&) {
      say("nothing there");
    }
    say("empty", queue.empty());
  });
  CHECK(run.ended_well());
  CHECK(run.output == "no room\nfull 1\ntook 3\ntook 3\ntook 3\nnothing there\nempty 1\n");
}

TEST_CASE("a list that a child puts into a queue arrives in its parent as it was") {
  const auto run = program([] {
    Manager manager;
    auto queue = manager.queue<Any>();
    Process process([](const Queue<Any>& queue) { queue.put(Any::list(17, "from a child", "hello")); }, queue);
    process.start();
    say(queue.get());
    process.join();
  });
  CHECK(run.ended_well());
  CHECK(run.output == "[17, \"from a child\", \"hello\"]\n");
}

TEST_CASE("ten processes put into a queue of three what ten others take, each item once") {
  const auto run = program([] {
    Manager manager;
    std::vector<Process> givers, takers;
    auto queue = manager.queue<std::string>(3);
    const auto give = [](const Queue<std::string>& queue) { queue.put("put by " + std::to_string(getpid())); };
    const auto take = [](const Queue<std::string>& queue) { say("taken by", getpid(), queue.get()); };
    for (int i = 0; i < 10; ++i) {
      Process process(give, queue);
      process.start();
      say("will be put by", *process.pid());
      givers.push_back(std::move(process));
    }
    for (int i = 0; i < 10; ++i) {
      Process process(take, queue);
      process.start();
      takers.push_back(std::move(process));
    }
    for (Process& process : givers) process.join();
    for (Process& process : takers) process.join();
    say("left", queue.size());
  });
  CHECK(run.ended_well());
  CHECK(run.lines_with("taken by") == 10);
  for (const auto& line : run.lines()) {
    if (line.find("will be ") != 0) continue;
    std::size_t times = 0;
    for (const auto& other : run.lines()) {
      const auto at = other.find(" put by ");
      times += other.find("taken by") == 0 && other.substr(at + 1) == line.substr(std::string("will be ").size());
    }
    CHECK(times == 1);
  }
  CHECK(run.says("left 0"));
}

TEST_CASE("consumers that nobody tells of the end keep the program from ending") {
  const auto run = program([] {
    Manager manager;
    auto meals = manager.queue<std::optional<std::string>>();
    Process kitchen([&] {
      Process producer(cook, meals);
      producer.start();
      Process first(eat, meals, "ann");
      first.start();
      Process second(eat, meals, "ben");
      second.start();
      producer.join();
      say("nothing left to do");
    });
    kitchen.start();
    eventually([&] { return meals.empty() && meals.unfinished() == 10; });
    say("ended", kitchen.join_for(50ms));
    meals.put(std::nullopt);
    say("ended", kitchen.join_for(50ms));
    meals.put(std::nullopt);
    kitchen.join();
    say("ended at last with", *kitchen.exitcode());
  });
  CHECK(run.ended_well());
  check_each_eaten_once(run);
  CHECK(run.says("nothing left to do"));
  CHECK(run.lines_with("ended 0") == 2);
  CHECK(run.says("ended at last with 0"));
}

TEST_CASE("an empty optional for each consumer ends them, and with them the program") {
  const auto run = program([] {
    Manager manager;
    auto meals = manager.queue<std::optional<std::string>>();
    Process producer(cook, meals);
    producer.start();
    Process first(eat, meals, "ann");
    first.start();
    Process second(eat, meals, "ben");
    second.start();
    producer.join();
    meals.put(std::nullopt);
    meals.put(std::nullopt);
  });
  CHECK(run.ended_well());
  check_each_eaten_once(run);
}

TEST_CASE("a producer that joins its queue ends when all is worked off, and a daemonic consumer with the program") {
  const auto run = program([] {
    Manager manager;
    auto meals = manager.joinable_queue<std::string>(5);
    const auto consumer = [](const JoinableQueue<std::string>& meals, const std::string& name) {
      for (;;) {
        const auto meal = meals.get();
        say(name, "ate", meal);
        meals.task_done();
      }
    };
    const auto producer = [](const JoinableQueue<std::string>& meals) {
      for (int i = 0; i < 10; ++i) {
        const std::string meal = "soup" + std::to_string(i) + ".";
        say("cooked", meal);
        meals.put(meal);
      }
      meals.join();
      say("all eaten");
    };
    Process eater(consumer, meals, "ann");
    Process kitchen(producer, meals);
    eater.set_daemon(true);
    eater.start();
    kitchen.start();
    kitchen.join();
  });
  CHECK(run.ended_well());
  check_each_eaten_once(run);
  CHECK(run.line_of("all eaten") == 20);
}

TEST_CASE("a process that adds what comes through a pipe ends when the other end is closed everywhere") {
  const auto run = program([] {
    Pipe pipe;
    auto& [server, client] = pipe;
    Process adder([&] {
      client.close();
      for (;;) {
        try {
          const auto [x, y] = server.recv<std::pair<int, int>>();
          server.send(x + y);
        } catch (const EndOfFile&) {
          server.close();
          break;
        }
      }
      say("adder ends");
    });
    adder.start();
    server.close();
    client.send(std::pair(10, 20));
    say(client.recv<int>());
    client.close();
    adder.join();
    say("main ends");
  });
  CHECK(run.ended_well());
  CHECK(run.output == "30\nadder ends\nmain ends\n");
}

TEST_CASE("a hundred processes that count down a shared dict under a lock leave nothing") {
  const auto run = program([] {
    Manager manager;
    auto lock = manager.lock();
    auto counts = manager.dict<std::string, int>({{"count", 100}});
    const auto count_down = [](const Dict<std::string, int>& counts, const Lock& lock) {
      std::scoped_lock guard(lock);
      counts["count"] = counts["count"] - 1;
    };
    std::vector<Process> processes;
    for (int i = 0; i < 100; ++i) {
      Process process(count_down, counts, lock);
      process.start();
      processes.push_back(std::move(process));
    }
    for (Process& process : processes) process.join();
    say(counts);
  });
  CHECK(run.ended_well());
  CHECK(run.output == "{\"count\": 0}\n");
}
