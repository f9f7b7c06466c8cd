// Tutorial 2: starting processes, waiting for them, ending them, and classes of one's own.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

#include "support/children.h"
#include "support/textbook_program.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

// The words of a line.
std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

void print_numbers_and_ids(int a, int b, int c) {
  say(a, b, c, getpid(), getppid());
}

// Each line after the first is "a b c pid ppid" of a child; the first one is "main" and the program's pid.
void check_three_children(const ProgramRun& run, const std::set<std::string>& wanted) {
  REQUIRE(run.lines().size() == 4);
  const std::string parent = words_of(run.lines()[0]).at(1);
  std::set<std::string> numbers, pids;
  for (std::size_t i = 1; i < 4; ++i) {
    const auto words = words_of(run.lines()[i]);
    REQUIRE(words.size() == 5);
    numbers.insert(words[0] + words[1] + words[2]);
    pids.insert(words[3]);
    CHECK(words[4] == parent);
  }
  CHECK(numbers == wanted);
  CHECK(pids.size() == 3);
  CHECK(pids.count(parent) == 0);
}

class NumbersProcess : public Process {
 public:
  NumbersProcess(int a, int b) : a_(a), b_(b) {}
  void run() override {
    say("ran in", getpid(), "with", a_, b_);
    call_member();
  }

 private:
  void call_member() { say("member called"); }
  int a_, b_;
};

class IdProcess : public Process {
 public:
  void run() override { say(getpid()); }
};

}  // namespace

TEST_CASE("three unnamed processes run at the same time, and the program ends after all of them") {
  const auto run = program([] {
    Manager manager;
    auto all_run = manager.barrier(3);
    const auto work = [&] {
      all_run.wait();
      say(0);
    };
    Process(work).start();
    Process(work).start();
    Process(work).start();
  });
  CHECK(run.ended_well());
  CHECK(run.output == "0\n0\n0\n");
}

TEST_CASE("each unnamed process gets its arguments, has a pid of its own and the program as its parent") {
  const auto run = program([] {
    say("main", getpid());
    Process(print_numbers_and_ids, 1, 2, 3).start();
    Process(print_numbers_and_ids, 4, 5, 6).start();
    Process(print_numbers_and_ids, 7, 8, 9).start();
  });
  CHECK(run.ended_well());
  check_three_children(run, {"123", "456", "789"});
}

TEST_CASE("a loop over the arguments starts an unnamed process for each") {
  const auto run = program([] {
    say("main", getpid());
    for (int i = 1; i < 4; ++i) Process(print_numbers_and_ids, i, i + 1, i + 2).start();
  });
  CHECK(run.ended_well());
  check_three_children(run, {"123", "234", "345"});
}

TEST_CASE("a terminated process was alive, is dead when it has been joined, and keeps its name and pid") {
  const auto run = program([] {
    Process process(
        [](int number) {
          stay();
          say("never said", number);
        },
        1);
    process.start();
    say("after start", process.is_alive());
    process.terminate();
    say("perhaps still", process.is_alive());
    process.join();
    say("after join", process.is_alive());
    say("name", process.name());
    say("pid", *process.pid() > 0 && *process.pid() != getpid());
    say("code", *process.exitcode());
  });
  CHECK(run.ended_well());
  CHECK(run.says("after start 1"));
  CHECK(run.says("after join 0"));
  CHECK(run.says("name Process-"));
  CHECK(run.says("pid 1"));
  CHECK(run.says("code " + std::to_string(-SIGTERM)));
  CHECK(!run.says("never"));
}

TEST_CASE("what is said after join comes after the joined process, and after all of a list of joined ones") {
  const auto run = program([] {
    Manager manager;
    auto all_run = manager.barrier(4);
    const auto mail = [](const std::string& to) { say("sent to", to); };
    const auto mail_together = [&](const std::string& to) {
      all_run.wait();
      mail(to);
    };
    Process process(mail, "ann");
    process.start();
    process.join();
    say("first round over");

    std::vector<Process> processes;
    for (const char* to : {"ben", "cleo", "dora", "emil"}) {
      process = Process(mail_together, std::string(to));
      process.start();
      processes.push_back(std::move(process));
    }
    for (Process& each : processes) each.join();
    say("second round over");
  });
  CHECK(run.ended_well());
  REQUIRE(run.lines().size() == 7);
  CHECK(run.line_of("sent to ann") == 0);
  CHECK(run.line_of("first round over") == 1);
  for (const char* to : {"ben", "cleo", "dora", "emil"}) CHECK(run.lines_with(std::string("sent to ") + to) == 1);
  CHECK(run.line_of("second round over") == 6);
}

TEST_CASE("a daemonic process ends with the program, which joins the other one first") {
  const auto run = program([] {
    Manager manager;
    auto ticks = manager.semaphore(0);
    const auto clock = [&] {
      for (int i = 0; i < 20; ++i) {
        ticks.acquire();
        say("tick");
      }
      say("clock ran down");
    };
    const auto work = [&] {
      say("work begins");
      ticks.release(6);
      eventually([&] { return ticks.get_value() == 0; });
      say("work ends");
    };
    Process daemon(clock);
    daemon.set_daemon(true);
    daemon.start();
    Process worker(work);
    worker.start();
    say("main goes on");
    say("main is done");
    worker.join();
  });
  CHECK(run.ended_well());
  CHECK(run.line_of("work begins") < run.line_of("work ends"));
  CHECK(run.says("work ends"));
  CHECK(run.lines_with("tick") >= 5);
  CHECK(run.lines_with("tick") <= 6);
  CHECK(!run.says("clock ran down"));
}

TEST_CASE("unnamed objects of a class with members run its run() in ten processes") {
  const auto run = program([] {
    for (int i = 0; i < 10; ++i) NumbersProcess(1, 2).start();
  });
  CHECK(run.ended_well());
  std::set<std::string> pids;
  for (const auto& line : run.lines()) {
    if (line.find("ran in") == 0) pids.insert(words_of(line).at(2));
  }
  CHECK(pids.size() == 10);
  CHECK(run.lines_with("with 1 2") == 10);
  CHECK(run.lines_with("member called") == 10);
}

TEST_CASE("a class that overrides run() alone needs no constructor") {
  const auto run = program([] {
    for (int i = 0; i < 10; ++i) IdProcess().start();
  });
  CHECK(run.ended_well());
  const auto lines = run.lines();
  CHECK(lines.size() == 10);
  CHECK(std::set<std::string>(lines.begin(), lines.end()).size() == 10);
}
