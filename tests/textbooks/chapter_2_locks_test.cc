// Tutorial 2: processes that share a terminal or a file, without a lock and with one.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>

#include "support/textbook_program.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

// A file with the number of tickets that are left.
class TicketFile {
 public:
  explicit TicketFile(int count)
      : path_(std::filesystem::temp_directory_path() / ("commonhold-tickets-" + std::to_string(getpid()))) {
    write(count);
  }
  ~TicketFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  TicketFile(const TicketFile&) = delete;
  TicketFile& operator=(const TicketFile&) = delete;

  int read() const {
    int count = -1;
    std::ifstream(path_) >> count;
    return count;
  }
  void write(int count) const { std::ofstream(path_) << count << '\n'; }

 private:
  std::filesystem::path path_;
};

constexpr const char* kBuyers[] = {"ann", "ben", "cleo", "dora"};

}  // namespace

TEST_CASE("without a lock the lines of processes are mixed") {
  const auto run = program([] {
    Manager manager;
    auto all_run = manager.barrier(3);
    const auto work = [&](int number) {
      say(number, "runs");
      all_run.wait();
      say(number, "is done");
    };
    for (int i = 0; i < 3; ++i) {
      Process process(work, i);
      process.start();
    }
  });
  CHECK(run.ended_well());
  REQUIRE(run.lines().size() == 6);
  CHECK(run.line_of("is done") == 3);
}

TEST_CASE("a lock keeps what a process says between acquire and release together") {
  const auto run = program([] {
    Manager manager;
    auto lock = manager.lock();
    const auto work = [](const Lock& lock, int number) {
      lock.acquire();
      say(number, "runs");
      say(number, "is done");
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
  for (std::size_t i = 0; i < 6; i += 2) {
    CHECK(lines[i].substr(1) == " runs");
    CHECK(lines[i + 1] == lines[i].substr(0, 1) + " is done");
  }
}

TEST_CASE("without a lock one ticket is sold to everyone who looked before the first one wrote") {
  const TicketFile tickets(1);
  const auto run = program([&] {
    Manager manager;
    auto all_looked = manager.barrier(4);
    const auto buy = [&](const std::string& name) {
      int left = tickets.read();
      all_looked.wait();
      if (left >= 1) {
        say(name, "has a ticket");
        tickets.write(left - 1);
      } else {
        say("nothing left for", name);
      }
    };
    for (const char* name : kBuyers) Process(buy, name).start();
  });
  CHECK(run.ended_well());
  CHECK(run.lines_with("has a ticket") == 4);
  CHECK(tickets.read() == 0);
}

TEST_CASE("under a lock one ticket is sold once, and all others are told so") {
  const TicketFile tickets(1);
  const auto run = program([&] {
    Manager manager;
    auto lock = manager.lock();
    auto all_looked = manager.barrier(4);
    const auto buy = [&](const std::string& name) {
      int left = tickets.read();
      if (left >= 1) {
        say(name, "has a ticket");
        tickets.write(left - 1);
      } else {
        say("nothing left for", name);
      }
    };
    const auto look_and_buy = [&](const std::string& name, const Lock& lock) {
      say(name, "sees", tickets.read());
      all_looked.wait();
      say(name, "waits");
      std::scoped_lock guard(lock);
      buy(name);
    };
    for (const char* name : kBuyers) Process(look_and_buy, name, lock).start();
  });
  CHECK(run.ended_well());
  CHECK(run.lines_with("sees 1") == 4);
  CHECK(run.lines_with("waits") == 4);
  CHECK(run.lines_with("has a ticket") == 1);
  CHECK(run.lines_with("nothing left for") == 3);
  CHECK(run.line_of("has a ticket") < run.line_of("nothing left"));
  CHECK(tickets.read() == 0);
}
