// A server that is killed at any system call of its start or its end: the name starts again, and no file of the dead
// one stays.
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <functional>
#include <set>
#include <string>

#include "manager/server_core.h"
#include "rpc/folder_removal.h"
#include "support/process_shared.h"
#include "support/server_ground.h"

using namespace commonhold;
using manager::ServerCore;

namespace {

// Runs body() in a child and kills it at the `stop`-th time that it enters or leaves a system call. False when it ended
// before.
bool killed_at(int stop, const std::function<void()>& body) {
  pid_t child = fork();
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(99);
    raise(SIGSTOP);
    body();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSTOPPED(status));  // else this machine forbids ptrace
  REQUIRE(ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0);
  for (int seen = 0; seen < stop;) {
    REQUIRE(ptrace(PTRACE_SYSCALL, child, nullptr, nullptr) == 0);
    REQUIRE(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status)) {
      REQUIRE(WEXITSTATUS(status) == 0);
      return false;
    }
    REQUIRE(WIFSTOPPED(status));
    if (WSTOPSIG(status) == (SIGTRAP | 0x80)) ++seen;
  }
  kill(child, SIGKILL);
  REQUIRE(waitpid(child, &status, 0) == child);
  return true;
}

std::unique_ptr<ServerCore> start(const std::string& name) {
  manager::CoreOptions options;
  options.address = rpc::existing_address(name);
  options.memory_limit = 1 << 20;
  options.log = [](const std::string&) {};
  return std::make_unique<ServerCore>(std::move(options));
}

void end(std::unique_ptr<ServerCore> core, ServerCore::End how) {
  core->ask_to_end(how);
  core->finish();
}

// Starts the name again: the folder holds what a server makes and nothing else, and it can be taken away.
void require_start(const std::string& name, int stop) {
  pid_t next = test::spawn([&]() {
    auto core = start(name);
    std::set<std::string> files;
    for (auto& entry : std::filesystem::directory_iterator(core->address().folder)) {
      files.insert(entry.path().filename().string());
    }
    if (files != std::set<std::string>{"authkey", "bell", "locks", "segment", "socket"}) {
      std::string found;
      for (const std::string& file : files) found += file + " ";
      throw std::runtime_error("the folder holds " + found);
    }
    end(std::move(core), ServerCore::End::kRemove);
  });
  INFO("killed at stop " << stop);
  REQUIRE(test::wait_for(next) == 0);
}

// All the places at once; returns how many there were.
int kill_everywhere(const std::string& name, const std::function<void()>& body) {
  int stop = 1;
  for (; killed_at(stop, body); ++stop) {
    require_start(name, stop);
    rpc::remove_ended_folders();
  }
  return stop - 1;
}

}  // namespace

TEST_CASE("a name starts again whatever system call of its first start its server was killed at") {
  test::ServerGround ground;
  const std::string name = GENERATE(as<std::string>(), "stock", "FOLDER");
  const std::string place = name == "stock" ? name : ground.root() + "/given";
  REQUIRE(kill_everywhere(place, [&]() {
            auto core = start(place);
            (void)core.release();
          }) > 40);
  require_start(place, 0);
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a name starts again whatever system call of its end its server was killed at") {
  test::ServerGround ground;
  const std::string name = GENERATE(as<std::string>(), "stock", "FOLDER");
  const auto how = GENERATE(ServerCore::End::kRemove, ServerCore::End::kKeep);
  const std::string place = name == "stock" ? name : ground.root() + "/given";
  REQUIRE(kill_everywhere(place, [&]() { end(start(place), how); }) > 40);
  require_start(place, 0);
  REQUIRE(ground.leftovers() == "");
}
