// Tutorial 4: pipes with an end for each process, and a manager's dict that many count down.
#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

#include "support/textbook_program.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

// Starts 70 processes with a count of 100, and says what is left.
template <typename CountDown>
void count_down_by_seventy(const Manager& manager, const CountDown& count_down) {
  auto counts = manager.dict<std::string, int>({{"count", 100}});
  std::vector<Process> processes;
  for (int i = 0; i < 70; ++i) {
    Process process(count_down, counts);
    processes.push_back(std::move(process));
    processes.back().start();
  }
  for (Process& process : processes) process.join();
  say(counts);
}

}  // namespace

TEST_CASE("an unnamed process reads a pipe to its end, which comes when the program has closed both ends") {
  const auto run = program([] {
    Pipe pipe;
    auto& [reading, writing] = pipe;
    const auto read_all = [](Connection& reading, Connection& writing) {
      writing.close();
      for (;;) {
        try {
          say(reading.recv<std::string>());
        } catch (const EndOfFile&) {
          reading.close();
          break;
        }
      }
      say("end of file");
    };
    Process(read_all, std::ref(reading), std::ref(writing)).start();
    reading.close();
    for (int i = 0; i < 20; ++i) writing.send("hello");
    writing.close();
  });
  CHECK(run.ended_well());
  CHECK(run.lines_with("hello") == 20);
  CHECK(run.line_of("end of file") == 20);
}

TEST_CASE("three unnamed consumers share a pipe without a lock, and each message is received once") {
  const auto run = program([] {
    Pipe pipe;
    auto& [taking, making] = pipe;
    const auto producer = [&](const std::string& name) {
      taking.close();
      for (int i = 0; i < 10; ++i) making.send(name + std::to_string(i) + ".");
      making.close();
    };
    const auto consumer = [&](const std::string& name) {
      making.close();
      for (;;) {
        try {
          say(name, "took", taking.recv<std::string>());
        } catch (const EndOfFile&) {
          taking.close();
          break;
        }
      }
      say(name, "ends");
    };
    Process(producer, "item").start();
    for (int i = 0; i < 3; ++i) Process(consumer, std::to_string(i)).start();
    taking.close();
    making.close();
  });
  CHECK(run.ended_well());
  CHECK(run.lines_with(" took ") == 10);
  for (int i = 0; i < 10; ++i) CHECK(run.lines_with("took item" + std::to_string(i) + ".") == 1);
  CHECK(run.lines_with(" ends") == 3);
}

TEST_CASE(
    "counting down a shared dict loses nothing without a lock, but does where reading and writing are two calls") {
  const auto atomically = program([] {
    Manager manager;
    count_down_by_seventy(manager, [](const Dict<std::string, int>& counts) { counts["count"] -= 1; });
  });
  CHECK(atomically.ended_well());
  CHECK(atomically.output == "{\"count\": 30}\n");

  const auto in_two_calls = program([] {
    Manager manager;
    auto all_read = manager.barrier(70);
    count_down_by_seventy(manager, [&](const Dict<std::string, int>& counts) {
      const int count = counts["count"];
      all_read.wait();
      counts["count"] = count - 1;
    });
  });
  CHECK(in_two_calls.ended_well());
  CHECK(in_two_calls.output == "{\"count\": 99}\n");
}

TEST_CASE("under a lock seventy processes count down by seventy, in two calls each") {
  const auto run = program([] {
    Manager manager;
    auto lock = manager.lock();
    count_down_by_seventy(manager, [&](const Dict<std::string, int>& counts) {
      lock.acquire();
      const int count = counts["count"];
      counts["count"] = count - 1;
      lock.release();
    });
  });
  CHECK(run.ended_well());
  CHECK(run.output == "{\"count\": 30}\n");
}
