// Tutorial 0: processes that share the terminal, a file, seats and a traffic light.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "support/textbook_program.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

TEST_CASE("processes started in a loop that keeps none of them run side by side, and the program waits for all") {
  const auto run = program([] {
    Manager manager;
    auto all_run = manager.barrier(3);
    const auto work = [&](int number) {
      say(number, getpid(), "runs");
      all_run.wait();
      say(number, getpid(), "is done");
    };
    for (int i = 0; i < 3; ++i) {
      Process process(work, i);
      process.start();
    }
  });
  CHECK(run.ended_well());
  CHECK(run.lines_with("runs") == 3);
  CHECK(run.lines_with("is done") == 3);
  CHECK(run.line_of("is done") == 3);
}
