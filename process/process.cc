#include <commonhold/process.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <iostream>
#include <memory>

#include <commonhold/detail/manager_calls.h>

namespace commonhold {

namespace {

// Who this process is among those that Process started. Changed in a child only, before its function runs.
struct Identity {
  std::string name = "MainProcess";
  std::string numbers;  // "3:1": the first child of the third child
  int children = 0;
};

Identity& identity() {
  static auto* self = new Identity;
  return *self;
}

// In the order of the reference: what was written so far must come out once.
void flush_streams() noexcept {
  try {
    std::cout.flush();
    std::cerr.flush();
    std::clog.flush();
  } catch (...) {
    // Streams may throw when asked to; broken ones do not change how a process ends.
  }
  fflush(nullptr);
}

// Ends this process: flushed, its sessions left, nothing of the parent's run.
[[noreturn]] void end_child(int status) noexcept {
  flush_streams();
  detail::leave_all_sessions();
  _exit(status);
}

// The first exit handler to run, because it is registered last: std::exit in a child ends here.
void end_child_at_exit(int status, void*) {
  end_child(status);
}

std::string what_of(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an exception that is no std::exception";
  }
}

int pidfd_open(pid_t pid) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
}

}  // namespace

struct Process::State {
  ProcessOptions options;
  std::string numbers;
  std::unique_ptr<Function> function;
  pid_t made_by = getpid();
  pid_t pid = 0;
  int sentinel = -1;
  bool ended = false;
  std::optional<int> exitcode;  // stays empty when somebody else waited for the process

  // Asks the kernel whether it ended, waiting when `options` is 0.
  void reap(int wait_options) {
    int status = 0;
    pid_t found = 0;
    do {
      found = waitpid(pid, &status, wait_options);
    } while (found < 0 && errno == EINTR);
    if (found == 0) return;
    ended = true;
    if (found == pid) exitcode = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }
};

Process::Process(ProcessOptions options, std::unique_ptr<Function> function) : state_(std::make_unique<State>()) {
  Identity& self = identity();
  state_->numbers = (self.numbers.empty() ? "" : self.numbers + ":") + std::to_string(++self.children);
  state_->options = std::move(options);
  if (state_->options.name.empty()) state_->options.name = "Process-" + state_->numbers;
  state_->function = std::move(function);
}

Process::Process(Process&&) noexcept = default;

Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    finish();
    state_ = std::move(other.state_);
  }
  return *this;
}

Process::~Process() {
  finish();
}

void Process::finish() noexcept {
  if (state_ == nullptr) return;
  if (state_->pid != 0 && state_->made_by == getpid() && !state_->ended) {
    if (state_->options.daemon) ::kill(state_->pid, kTerminate);
    state_->reap(0);
  }
  if (state_->sentinel >= 0) close(state_->sentinel);
  state_.reset();
}

void Process::start() {
  if (state_ == nullptr) throw ProcessError("start() of a Process that was moved from");
  State& state = *state_;
  if (state.pid != 0) throw ProcessError(state.options.name + " was started already; a Process runs once");
  if (state.made_by != getpid()) {
    throw ProcessError(state.options.name + " was made by process " + std::to_string(state.made_by) +
                       ", and only that one can start it");
  }
  flush_streams();
  const pid_t pid = fork();
  if (pid < 0) {
    throw SystemError(errno, "starting " + state.options.name + " failed: " + strerror(errno));
  }
  if (pid == 0) run_child();
  state.pid = pid;
  // Before anybody can wait for the child, so the number is still its own.
  state.sentinel = pidfd_open(pid);
  state.function.reset();
}

void Process::run_child() {
  Identity& self = identity();
  self = {state_->options.name, state_->numbers, 0};
  on_exit(&end_child_at_exit, nullptr);
  int status = 0;
  try {
    state_->function->run();
  } catch (...) {
    status = 1;
    flush_streams();
    std::cerr << "Process " << self.name << ":\n  " << what_of(std::current_exception()) << std::endl;
  }
  end_child(status);
}

Process::State& Process::started(const char* call) const {
  if (state_ == nullptr) throw ProcessError(std::string(call) + "() of a Process that was moved from");
  if (state_->pid == 0)
    throw ProcessError(std::string(call) + "() of " + state_->options.name + ", which was not started");
  if (state_->made_by != getpid()) {
    throw ProcessError(std::string(call) + "() of " + state_->options.name + ", which is a child of process " +
                       std::to_string(state_->made_by) + ", not of this one");
  }
  return *state_;
}

void Process::join() {
  wait(detail::kForever);
}

bool Process::wait(std::int64_t wait) {
  State& state = started("join");
  if (state.ended) return true;
  if (wait == detail::kForever) {
    state.reap(0);
    return true;
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(wait);
  for (;;) {
    state.reap(WNOHANG);
    if (state.ended) return true;
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= left.zero()) return false;
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    // Without a descriptor (an old kernel, no descriptors left) it is looked at every millisecond.
    const bool watched = state.sentinel >= 0;
    pollfd ended{state.sentinel, POLLIN, 0};
    poll(&ended, watched ? 1 : 0, watched ? static_cast<int>(std::min<std::int64_t>(milliseconds, 1 << 30)) : 1);
  }
}

bool Process::is_alive() {
  if (state_ == nullptr || state_->pid == 0) return false;
  State& state = started("is_alive");
  if (!state.ended) state.reap(WNOHANG);
  return !state.ended;
}

std::optional<int> Process::exitcode() {
  if (state_ == nullptr || state_->pid == 0) return std::nullopt;
  State& state = started("exitcode");
  if (!state.ended) state.reap(WNOHANG);
  return state.exitcode;
}

std::optional<int> Process::pid() const {
  return state_ == nullptr || state_->pid == 0 ? std::nullopt : std::optional<int>(state_->pid);
}

const std::string& Process::name() const {
  if (state_ == nullptr) throw ProcessError("name() of a Process that was moved from");
  return state_->options.name;
}

void Process::set_name(std::string name) {
  if (state_ == nullptr) throw ProcessError("set_name() of a Process that was moved from");
  state_->options.name = std::move(name);
}

bool Process::daemon() const {
  return state_ != nullptr && state_->options.daemon;
}

void Process::signal(int number) {
  State& state = started(number == kKill ? "kill" : "terminate");
  if (!state.ended) state.reap(WNOHANG);
  if (!state.ended) ::kill(state.pid, number);
}

int Process::sentinel() const {
  const State& state = started("sentinel");
  if (state.sentinel < 0) throw SystemError(ENOSYS, "no descriptor could be had for " + state.options.name);
  return state.sentinel;
}

std::string current_process_name() {
  return identity().name;
}

}  // namespace commonhold
