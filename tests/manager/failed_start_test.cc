// A server whose start fails at any system call leaves nothing behind.
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <functional>
#include <set>
#include <string>

#include "manager/server_core.h"
#include "support/server_ground.h"

using namespace commonhold;
using manager::ServerCore;

namespace {

// Those that make, open or change something; those that look at an open descriptor do not fail, and those that take
// back are not among them.
const std::set<unsigned long long> kThatMayFail = {
    SYS_openat,   SYS_mkdir, SYS_mkdirat, SYS_mknodat, SYS_linkat, SYS_ftruncate, SYS_fallocate,
    SYS_pwrite64, SYS_mmap,  SYS_statfs,  SYS_fstatfs, SYS_fcntl,  SYS_rename,    SYS_renameat,
    SYS_socket,   SYS_bind,  SYS_listen,  SYS_chmod,   SYS_write,
};

struct Outcome {
  bool failed_call = false;     // the start was over before, otherwise
  unsigned long long call = 0;  // its number
  bool started = false;
  int status = 0;
};

void next_stop(pid_t child, int& status) {
  REQUIRE(ptrace(PTRACE_SYSCALL, child, nullptr, nullptr) == 0);
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSTOPPED(status));
}

// Starts a server in a child, where the `which`-th system call of the start fails with `error`, and ends it if it
// starts.
Outcome start_with_failure(const std::string& name, int which, int error) {
  pid_t child = fork();
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(99);
    raise(SIGSTOP);
    std::unique_ptr<ServerCore> core;
    try {
      manager::CoreOptions options;
      options.address = rpc::existing_address(name);
      options.memory_limit = 1 << 20;
      options.log = [](const std::string&) {};
      core = std::make_unique<ServerCore>(std::move(options));
    } catch (const std::exception&) {
    }
    raise(SIGSTOP);
    if (core == nullptr) _exit(1);
    core->ask_to_end(ServerCore::End::kRemove);
    core->finish();
    _exit(0);
  }
  Outcome outcome;
  REQUIRE(waitpid(child, &outcome.status, 0) == child);
  REQUIRE(WIFSTOPPED(outcome.status));  // else this machine forbids ptrace
  REQUIRE(ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0);
  for (int seen = 0;;) {
    next_stop(child, outcome.status);
    if (WSTOPSIG(outcome.status) == SIGSTOP) break;
    if (WSTOPSIG(outcome.status) != (SIGTRAP | 0x80)) continue;
    user_regs_struct registers{};
    REQUIRE(ptrace(PTRACE_GETREGS, child, nullptr, &registers) == 0);
    const bool chosen = kThatMayFail.count(registers.orig_rax) != 0 && ++seen == which;
    if (chosen) {
      outcome.failed_call = true;
      outcome.call = registers.orig_rax;
      registers.orig_rax = ~0ull;  // none: the call does nothing
      REQUIRE(ptrace(PTRACE_SETREGS, child, nullptr, &registers) == 0);
    }
    next_stop(child, outcome.status);  // it returns
    if (chosen) {
      registers.rax = static_cast<unsigned long long>(-error);
      REQUIRE(ptrace(PTRACE_SETREGS, child, nullptr, &registers) == 0);
    }
  }
  REQUIRE(ptrace(PTRACE_CONT, child, nullptr, nullptr) == 0);
  REQUIRE(waitpid(child, &outcome.status, 0) == child);
  outcome.started = WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 0;
  return outcome;
}

}  // namespace

TEST_CASE("a start that fails at any system call leaves nothing") {
  test::ServerGround ground;
  const std::string name = GENERATE(as<std::string>(), "stock", "FOLDER");
  const int error = GENERATE(ENOSPC, EMFILE, EACCES);
  const std::string place = name == "stock" ? name : ground.root() + "/given";
  int failed_starts = 0;
  for (int which = 1;; ++which) {
    const Outcome outcome = start_with_failure(place, which, error);
    INFO("call " << which << " (system call " << outcome.call << ") failed with error " << error);
    REQUIRE(WIFEXITED(outcome.status));
    REQUIRE(ground.leftovers() == "");
    if (!outcome.failed_call) break;
    if (!outcome.started) ++failed_starts;
  }
  CHECK(failed_starts > 10);
}
