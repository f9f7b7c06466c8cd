// A place for tests with servers: a runtime root of its own, and proof at the end that neither files nor processes
// are left.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "rpc/address.h"
#include "rpc/spawn.h"

namespace commonhold::test {

// Sets COMMONHOLD_HOME for this process and its children, and makes this process the parent of every server that its
// children leave behind.
class ServerGround {
 public:
  ServerGround();
  ~ServerGround();  // kills what is left and removes the root
  ServerGround(const ServerGround&) = delete;
  ServerGround& operator=(const ServerGround&) = delete;

  const std::string& root() const { return root_; }
  rpc::ManagerAddress address(const std::string& name) const { return rpc::existing_address(name); }

  // What is left after everything had time to end: names of files and numbers of processes, empty when all is well.
  std::string leftovers() const;

 private:
  std::string root_;
};

struct CommandResult {
  int status = -1;  // the exit status, or minus the signal that ended it
  std::string out, err;
};

// The `commonhold` command of this build.
std::string command_path();
// Runs it with these arguments, and these additions to the environment ("NAME=value").
CommandResult run_command(const std::vector<std::string>& arguments, const std::vector<std::string>& environment = {});

// An anonymous server as rpc/spawn.h starts it, by the command or by this test program's own image.
class AnonymousServer {
 public:
  enum class Start { kCommand, kOwnImage };
  explicit AnonymousServer(Start start = Start::kCommand, rpc::SpawnRequest request = {});
  ~AnonymousServer() { let_go(); }
  AnonymousServer(const AnonymousServer&) = delete;
  AnonymousServer& operator=(const AnonymousServer&) = delete;

  const rpc::ReadyLine& line() const { return line_; }
  const std::string& folder() const { return line_.folder; }
  rpc::ManagerAddress address() const { return rpc::existing_address(line_.folder); }
  int lifeline() const { return lifeline_; }
  void let_go();  // closes this process's end of the lifeline

 private:
  rpc::ReadyLine line_;
  int lifeline_ = -1;
};

// Waits until condition() holds, for at most ten seconds; what it said last.
template <typename Condition>
bool eventually(Condition&& condition) {
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (;;) {
    if (condition()) return true;
    if (std::chrono::steady_clock::now() > until) return false;
    timespec pause{0, 500'000};
    nanosleep(&pause, nullptr);
  }
}

// The server of a manager as the kernel knows it, 0 for none.
int server_pid(const rpc::ManagerAddress& address);

// kill -9 of the manager's server; returns when the kernel has given up its locks. Throws when there is none.
void kill_server(const rpc::ManagerAddress& address);

}  // namespace commonhold::test
