// Tutorial 0: pipes, their end, and several consumers at one end.
#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>
#include <concepts>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "support/textbook_program.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

void receive_until_the_end(Pipe& pipe, const std::string& name) {
  auto& [produce, consume] = pipe;
  produce.close();
  for (;;) {
    try {
      say(name, "got", consume.recv<int>());
    } catch (const EndOfFile&) {
      break;
    }
  }
}

void send_ten(Pipe& pipe, int from) {
  auto& [produce, consume] = pipe;
  consume.close();
  for (int i = 0; i < 10; ++i) produce.send(from + i);
}

}  // namespace

TEST_CASE("the two ends of a pipe in one process: what is sent into one comes out of the other") {
  const auto run = program([] {
    auto [left, right] = Pipe();
    left.send("aaa");
    say(right.recv<std::string>());
  });
  CHECK(run.ended_well());
  CHECK(run.output == "aaa\n");
}

TEST_CASE("a child that closed its copy of the sending end gets all messages and then the end of file") {
  const auto run = program([] {
    auto [left, right] = Pipe();
    const auto consume = [](Connection& left, Connection& right) {
      left.close();
      for (;;) {
        try {
          say(right.recv<std::string>());
        } catch (const EndOfFile&) {
          say("end of file");
          break;
        }
      }
    };
    Process process(consume, std::ref(left), std::ref(right));
    process.start();
    right.close();
    for (int i = 0; i < 10; ++i) left.send("hello");
    left.close();
  });
  CHECK(run.ended_well());
  CHECK(run.lines_with("hello") == 10);
  CHECK(run.line_of("end of file") == 10);
}

TEST_CASE("a child that keeps the sending end open sees no end, though the program has closed both ends") {
  const auto waits = [](const ProgramRun& run) { return run.says("no end"); };
  const auto run = program_until(waits, [] {
    Manager manager;
    auto parent_closed = manager.event();
    auto [left, right] = Pipe();
    const auto consume = [&](Connection& right) {
      for (int i = 0; i < 10; ++i) say(right.recv<std::string>());
      parent_closed.wait();
      say(right.poll() ? "the end" : "no end");
      for (;;) say(right.recv<std::string>());
    };
    Process process(consume, std::ref(right));
    process.start();
    right.close();
    for (int i = 0; i < 10; ++i) left.send("hello");
    left.close();
    parent_closed.set();
  });
  CHECK(run.lines_with("hello") == 10);
  CHECK(run.lines().back() == "no end");
}

TEST_CASE("five consumers at one end of a pipe get each message of six producers whole and once, without a lock") {
  // A pipe where a pipe and a number are expected does not compile.
  STATIC_REQUIRE_FALSE(std::constructible_from<Process, void (&)(Pipe&, int), std::reference_wrapper<Pipe>>);
  const auto run = program([] {
    Pipe pipe;
    for (int i = 0; i < 5; ++i) {
      Process consumer(receive_until_the_end, std::ref(pipe), "consumer" + std::to_string(i));
      consumer.start();
    }
    for (int i = 0; i < 5; ++i) {
      Process producer(send_ten, std::ref(pipe), 10 * i);
      producer.start();
    }
    send_ten(pipe, 50);
    pipe.first.close();
    pipe.second.close();
  });
  CHECK(run.ended_well());
  CHECK(run.lines().size() == 60);
  for (int number = 0; number < 60; ++number) {
    std::size_t times = 0;
    for (const auto& line : run.lines()) times += line.ends_with(" got " + std::to_string(number));
    INFO(number);
    CHECK(times == 1);
  }
}

TEST_CASE("consumers that receive under a lock stop at a message that means nothing, one each") {
  const auto run = program([] {
    Pipe pipe;
    auto& [produce, consume] = pipe;
    Manager manager;
    auto lock = manager.lock();
    const auto eat = [](Pipe& pipe, std::string name, Lock lock) {
      auto& [produce, consume] = pipe;
      produce.close();
      for (;;) {
        lock.acquire();
        const auto bun = consume.recv<std::optional<int>>();
        lock.release();
        if (!bun) break;
        say(name, "got", *bun);
      }
      say(name, "stops");
      consume.close();
    };
    const auto bake = [](Pipe& pipe, int buns) {
      auto& [produce, consume] = pipe;
      consume.close();
      for (int i = 0; i < buns; ++i) produce.send(i);
      produce.send(std::nullopt);
      produce.send(std::nullopt);
      produce.close();
    };
    Process first(eat, std::ref(pipe), "first", lock);
    Process second(eat, std::ref(pipe), "second", lock);
    Process baker(bake, std::ref(pipe), 10);
    first.start();
    second.start();
    baker.start();
    produce.close();
    consume.close();
    first.join();
    second.join();
    baker.join();
    say("the program ends");
  });
  CHECK(run.ended_well());
  CHECK(run.lines_with(" got ") == 10);
  for (int i = 0; i < 10; ++i) CHECK(run.lines_with("got " + std::to_string(i)) == 1);
  CHECK(run.says("first stops"));
  CHECK(run.says("second stops"));
  CHECK(run.lines().back() == "the program ends");
}
