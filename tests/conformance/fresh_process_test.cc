// Processes with a fresh program image: rows of docs/semantics/process.md.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "support/captured_output.h"
#include "support/children.h"
#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using Catch::Contains;

namespace {

void write_to(std::string token, std::vector<std::string> words, double factor) {
  auto list = attach<List<std::string>>(token);
  for (const auto& word : words) list.push_back(word);
  list.push_back(std::to_string(factor));
  list.push_back(current_process().name());
  list.push_back(current_process().authkey());
  list.push_back(parent_process()->name() + std::to_string(parent_process()->pid() == getppid()));
}

void fail_with(std::string text) {
  throw std::runtime_error(text);
}

}  // namespace

TEST_CASE("a fresh process runs a function of this program with its arguments") {
  ManagerHome home;
  Manager manager;
  auto list = manager.list<std::string>();
  auto process = Process::fresh<write_to>({.name = "renewed"}, list.token(), std::vector<std::string>{"a", "b"}, 0.5);
  process.start();
  process.join();
  CHECK(process.exitcode() == std::optional<int>(0));
  CHECK(list == std::vector<std::string>{"a", "b", "0.500000", "renewed", current_process().authkey(), "MainProcess1"});
}

TEST_CASE("a fresh process ends as others do") {
  PlainTermination plain;
  std::optional<int> code;
  const std::string said = output_of(
      STDERR_FILENO, [&] { code = run(Process::fresh<fail_with>({.name = "renewed"}, std::string("no luck"))); });
  CHECK(code == std::optional<int>(1));
  CHECK_THAT(said, Contains("Process renewed:") && Contains("no luck"));
  CHECK(run(Process::fresh<[](int status) { throw Exit(status); }>(9)) == std::optional<int>(9));
  auto process = Process::fresh<stay>({.daemon = true});
  process.start();
  CHECK(process.is_alive());
  process.terminate();
  process.join();
  CHECK(process.exitcode() == std::optional<int>(-SIGTERM));
}

TEST_CASE("a fresh daemon ends when its parent is killed") {
  PlainTermination plain;
  PlainPipe pids;
  Process parent([&] {
    auto daemon = Process::fresh<stay>({.daemon = true});
    daemon.start();
    pids.write(*daemon.pid());
    pause();
  });
  parent.start();
  const pid_t daemon = pids.read();
  parent.kill();
  parent.join();
  CHECK(eventually([&] { return is_gone(daemon); }));
}
