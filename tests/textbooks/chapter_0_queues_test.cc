// Tutorial 0: queues within a process and between processes, producers and consumers.
#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>

#include "support/textbook_program.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

template <typename Item>
concept PutsNothing = requires(Queue<Item> queue) {
  queue.put_nowait();
};

// Ten of its goods, each announced before it is put.
void produce(const Queue<std::string>& queue, const std::string& name, const std::string& goods) {
  for (int i = 0; i < 10; ++i) {
    std::this_thread::sleep_for(1ms);
    const std::string item = goods + std::to_string(i);
    say(name, "made", item);
    queue.put(item);
  }
}

// Twenty items were made and eaten, each once and after it was made, and those of one producer in the order of its puts
// when `in_order`.
void check_all_was_eaten(const ProgramRun& run, bool in_order) {
  CHECK(run.lines_with(" made ") == 20);
  CHECK(run.lines_with(" ate ") == 20);
  for (const std::string goods : {"apple", "pear"}) {
    for (int i = 0; i < 10; ++i) {
      const std::string item = goods + std::to_string(i);
      INFO(item);
      CHECK(run.lines_with("ate " + item) == 1);
      CHECK(run.line_of("made " + item) < run.line_of("ate " + item));
      if (in_order && i > 0) CHECK(run.line_of("ate " + goods + std::to_string(i - 1)) < run.line_of("ate " + item));
    }
  }
}

}  // namespace

TEST_CASE("a queue of one process gives its items in order, and a put without an item does not compile") {
  STATIC_REQUIRE_FALSE(PutsNothing<int>);
  const auto run = program([] {
    Manager manager;
    auto queue = manager.queue<int>(5);
    say("size", queue.qsize());
    queue.put(12);
    queue.put(4);
    queue.put(4);
    queue.put_nowait(7);
    say("got", queue.get());
    say("got", queue.get());
    say("got", queue.get_nowait());
    say("got", queue.get_nowait());
    try {
      say("got", queue.get_nowait());
    } catch (const Empty&) {
      say("nothing is left");
    }
    say(queue.full() ? "full" : "not full", queue.empty() ? "empty" : "not empty");
  });
  CHECK(run.ended_well());
  CHECK(run.output == "size 0\ngot 12\ngot 4\ngot 4\ngot 7\nnothing is left\nnot full empty\n");
}

TEST_CASE("what a program puts after it started a child, the child gets") {
  const auto run = program([] {
    Manager manager;
    auto queue = manager.queue<int>();
    Process process([](Queue<int> queue) { say(queue.get()); }, queue);
    process.start();
    queue.put(123);
  });
  CHECK(run.ended_well());
  CHECK(run.output == "123\n");
}

TEST_CASE("one child gets what another puts, though the same Process object started both") {
  const auto run = program([] {
    Manager manager;
    auto queue = manager.queue<int>();
    Process process([](Queue<int> queue) { say(queue.get()); }, queue);
    process.start();
    process = Process([](Queue<int> queue) { queue.put(123); }, queue);
    process.start();
  });
  CHECK(run.ended_well());
  CHECK(run.output == "123\n");
}

TEST_CASE("a program gets what its child puts, without joining it") {
  const auto run = program([] {
    Manager manager;
    auto queue = manager.queue<int>();
    Process process([](Queue<int> queue) { queue.put(123); }, queue);
    process.start();
    say(queue.get());
  });
  CHECK(run.ended_well());
  CHECK(run.output == "123\n");
}

TEST_CASE("a consumer eats what two producers make until it gets a word that ends it; what is left keeps nobody") {
  const auto run = program([] {
    Manager manager;
    auto queue = manager.queue<std::string>(10);
    const auto consume = [](Queue<std::string> queue, std::string name) {
      for (;;) {
        const std::string food = queue.get();
        if (food == "stop") break;
        say(name, "ate", food);
        std::this_thread::sleep_for(1ms);
      }
      say(name, "stops");
    };
    Process consumer(consume, queue, "anna");
    consumer.start();
    Process first(produce, queue, "bert", "apple");
    first.start();
    Process second(produce, queue, "carl", "pear");
    second.start();
    first.join();
    second.join();
    queue.put("stop");
    queue.put("stop");  // for a consumer that is not there
  });
  CHECK(run.ended_well());
  check_all_was_eaten(run, true);
  CHECK(run.lines().back() == "anna stops");
}

TEST_CASE("producers wait until all they made is eaten, and daemonic consumers end with the program, unasked") {
  const auto run = program([] {
    Manager manager;
    auto queue = manager.joinable_queue<std::string>();
    const auto consume = [](JoinableQueue<std::string> queue, std::string name) {
      for (;;) {
        const std::string food = queue.get();
        say(name, "ate", food);
        std::this_thread::sleep_for(1ms);
        queue.task_done();
      }
    };
    const auto produce_and_wait = [](JoinableQueue<std::string> queue, std::string name, std::string goods) {
      produce(queue, name, goods);
      queue.join();
      say(name, "ends");
    };
    Process first_consumer(consume, queue, "anna");
    first_consumer.set_daemon(true);
    first_consumer.start();
    Process second_consumer(consume, queue, "anna");
    second_consumer.set_daemon(true);
    second_consumer.start();
    Process first(produce_and_wait, queue, "bert", "apple");
    first.start();
    Process second(produce_and_wait, queue, "carl", "pear");
    second.start();
    first.join();
    second.join();
  });
  CHECK(run.ended_well());
  check_all_was_eaten(run, false);
  CHECK(run.says("bert ends"));
  CHECK(run.says("carl ends"));
  CHECK(run.lines().back().ends_with("ends"));
}
