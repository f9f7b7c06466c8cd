// Tutorial 0: processes that share the terminal, a file, seats and a traffic light.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>

#include "support/textbook_program.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

int tickets_left() {
  int left = 0;
  std::ifstream("tickets") >> left;
  return left;
}
void write_tickets(int left) {
  std::ofstream("tickets") << left;
}

void look(int person) {
  say("person", person, "sees", tickets_left());
}
void buy(int person) {
  const int left = tickets_left();
  std::this_thread::sleep_for(2ms);
  if (left > 0) say("person", person, "bought one");
  std::this_thread::sleep_for(2ms);
  write_tickets(left > 0 ? left - 1 : left);
}

}  // namespace

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

TEST_CASE("under a lock processes that were started side by side work one after the other") {
  const auto run = program([] {
    Manager manager;
    auto lock = manager.lock();
    const auto work = [](Lock lock, int number) {
      lock.acquire();
      say(number, getpid(), "runs");
      std::this_thread::sleep_for(5ms);
      say(number, getpid(), "is done");
      lock.release();
    };
    for (int i = 0; i < 3; ++i) {
      Process process(work, lock, i);
      process.start();
    }
  });
  CHECK(run.ended_well());
  const auto lines = run.lines();
  REQUIRE(lines.size() == 6);
  for (std::size_t i = 0; i < lines.size(); i += 2) {
    const std::string who = lines[i].substr(0, lines[i].rfind(" runs"));
    CHECK(lines[i] == who + " runs");
    CHECK(lines[i + 1] == who + " is done");
  }
}

TEST_CASE("ten buyers of three tickets in a file buy three when each buys under the lock") {
  const auto run = program([] {
    write_tickets(3);
    Manager manager;
    auto lock = manager.lock();
    const auto task = [](int person, Lock lock) {
      look(person);
      lock.acquire();
      buy(person);
      lock.release();
    };
    for (int i = 0; i < 10; ++i) {
      Process process(task, i, lock);
      process.start();
    }
    for (const auto& buyer : active_children()) buyer.join();
    say("left:", tickets_left());
  });
  CHECK(run.ended_well());
  CHECK(run.lines_with("sees") == 10);
  CHECK(run.lines_with("bought one") == 3);
  CHECK(run.says("left: 0"));
}

TEST_CASE("a semaphore of four lets four of ten guests in at once, and never five") {
  const auto run = program([] {
    Manager manager;
    auto seats = manager.semaphore(4);
    auto entered = manager.value(0);
    auto all_seats_taken = manager.event();
    const auto sing = [&](int guest, Semaphore seats) {
      seats.acquire();
      say("guest", guest, "enters");
      if (++entered == 4) all_seats_taken.set();
      all_seats_taken.wait();
      std::this_thread::sleep_for(5ms);  // a fifth one would come in
      say("guest", guest, "leaves");
      seats.release();
    };
    for (int i = 0; i < 10; ++i) {
      Process process(sing, i, seats);
      process.start();
    }
  });
  CHECK(run.ended_well());
  CHECK(run.lines_with("enters") == 10);
  CHECK(run.lines_with("leaves") == 10);
  int inside = 0, most = 0;
  for (const auto& line : run.lines()) {
    inside += line.ends_with("enters") ? 1 : -1;
    most = std::max(most, inside);
  }
  CHECK(most == 4);
  CHECK(inside == 0);
}

TEST_CASE("cars wait for the green light, ambulances only for a while, and the light goes on until it is interrupted") {
  constexpr int kVehicles = 20;
  const auto all_passed = [](const ProgramRun& run) { return run.lines_with("passes") == kVehicles; };
  const auto run = program_until(all_passed, [] {
    Manager manager;
    auto green = manager.event();
    auto ambulance_passed = manager.event();
    const auto light = [&](Event green) {
      say("red");
      ambulance_passed.wait();  // it is an ambulance that passes first
      for (;;) {
        if (green.is_set()) {
          say("red");
          green.clear();
        } else {
          say("green");
          green.set();
        }
        std::this_thread::sleep_for(5ms);
      }
    };
    const auto car = [](int number, Event green) {
      if (!green.is_set()) {
        say("car", number, "waits");
        green.wait();
      }
      say("car", number, "passes");
    };
    const auto ambulance = [&](int number, Event green) {
      if (!green.is_set()) green.wait(1ms);
      say("ambulance", number, "passes");
      ambulance_passed.set();
    };
    Process process(light, green);
    process.start();
    for (int i = 0; i < kVehicles; ++i) {
      process = i % 2 == 0 ? Process(car, i, green) : Process(ambulance, i, green);
      process.start();
      if (i % 3 == 0) std::this_thread::sleep_for(1ms);
    }
  });
  CHECK(run.exitcode == -SIGINT);
  CHECK(run.line_of("red") < run.line_of("green"));
  CHECK(run.line_of("ambulance") < run.line_of("green"));
  const auto lines = run.lines();
  for (std::size_t i = 0; i < run.line_of("green"); ++i) {
    CHECK_FALSE((lines[i].starts_with("car") && lines[i].ends_with("passes")));
  }
}
