// Tutorial 4: producers and consumers that share a queue.
#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "support/textbook_program.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

std::string item_of(const std::string& maker, int number) {
  return maker + "'s no. " + std::to_string(number) + ".";
}

// Each of them was taken once.
void check_each_taken_once(const ProgramRun& run, const std::vector<std::string>& makers) {
  std::multiset<std::string> taken, wanted;
  for (const auto& line : run.lines()) {
    if (const auto at = line.find(" took "); at != std::string::npos) taken.insert(line.substr(at + 6));
  }
  for (const auto& maker : makers) {
    for (int i = 0; i < 10; ++i) wanted.insert(item_of(maker, i));
  }
  CHECK(taken == wanted);
}

void take_for_ever(const std::string& name, const JoinableQueue<std::string>& queue) {
  for (;;) {
    const auto item = queue.get();
    say(name, "took", item);
    queue.task_done();
  }
}

}  // namespace

TEST_CASE("a queue of five is empty again after one item came and went") {
  const auto run = program([] {
    Manager manager;
    auto queue = manager.queue<int>(5);
    queue.put(1);
    say("took", queue.get());
    say("full", queue.full());
    say("empty", queue.empty());
  });
  CHECK(run.ended_well());
  CHECK(run.output == "took 1\nfull 0\nempty 1\n");
}

TEST_CASE("one end mark ends one of two consumers, and the other one ends when it waited in vain") {
  const auto run = program([] {
    Manager manager;
    auto queue = manager.queue<std::optional<std::string>>();
    auto all_made = manager.event();  // no consumer waits in vain before
    using Items = Queue<std::optional<std::string>>;
    const auto producer = [](const std::string& name, const Items& queue) {
      for (int i = 0; i < 10; ++i) queue.put(item_of(name, i));
    };
    const auto consumer = [&](const std::string& name, const Items& queue) {
      all_made.wait();
      for (;;) {
        try {
          const auto item = queue.get(20ms);
          if (!item) {
            say(name, "is told of the end");
            break;
          }
          say(name, "took", *item);
        } catch (const Empty&) {
          say(name, "waited in vain");
          break;
        }
      }
    };
    Process first(producer, "ann", queue);
    Process second(producer, "ben", queue);
    Process third(producer, "cleo", queue);
    first.start();
    second.start();
    third.start();
    Process here(consumer, "dora", queue);
    Process there(consumer, "emil", queue);
    here.start();
    there.start();
    first.join();
    second.join();
    third.join();
    queue.put(std::nullopt);
    all_made.set();
  });
  CHECK(run.ended_well());
  check_each_taken_once(run, {"ann", "ben", "cleo"});
  CHECK(run.lines_with("is told of the end") == 1);
  CHECK(run.lines_with("waited in vain") == 1);
}

TEST_CASE("three producers join a queue until two daemonic consumers have worked off what all of them put") {
  const auto run = program([] {
    Manager manager;
    auto queue = manager.joinable_queue<std::string>();
    auto all_put = manager.barrier(3);  // else one could join before another one had put its last
    const auto producer = [&](const std::string& name, const JoinableQueue<std::string>& queue) {
      for (int i = 0; i < 10; ++i) queue.put(item_of(name, i));
      all_put.wait();
      queue.join();
      say(name, "ends");
    };
    Process first(producer, "ann", queue);
    Process second(producer, "ben", queue);
    Process third(producer, "cleo", queue);
    first.start();
    second.start();
    third.start();
    Process here(take_for_ever, "dora", queue);
    Process there(take_for_ever, "emil", queue);
    here.set_daemon(true);
    there.set_daemon(true);
    here.start();
    there.start();
    first.join();
    second.join();
  });
  CHECK(run.ended_well());
  check_each_taken_once(run, {"ann", "ben", "cleo"});
  CHECK(run.lines_with(" ends") == 3);
  CHECK(run.line_of(" ends") == 30);
}

TEST_CASE("any number of producers and of daemonic consumers whose Process is dropped share a queue") {
  const auto run = program([] {
    Manager manager;
    auto queue = manager.joinable_queue<std::string>();
    const auto producer = [](const std::string& name, const JoinableQueue<std::string>& queue) {
      for (int i = 0; i < 10; ++i) queue.put(item_of(name, i));
      queue.join();
    };
    std::vector<Process> producers;
    for (int i = 0; i < 10; ++i) {
      Process process(producer, std::to_string(i), queue);
      process.start();
      producers.push_back(std::move(process));
    }
    for (int i = 0; i < 5; ++i) {
      Process process(take_for_ever, std::to_string(i), queue);
      process.set_daemon(true);
      process.start();
    }
    for (Process& process : producers) process.join();
    say("left", queue.size(), queue.unfinished());
  });
  CHECK(run.ended_well());
  check_each_taken_once(run, {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
  CHECK(run.line_of("left 0 0") == 100);
}
