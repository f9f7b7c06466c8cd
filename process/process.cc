#include <commonhold/process.h>

#include <errno.h>
#include <fmt/format.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <ostream>

#include <commonhold/detail/signature.h>

#include "process/child.h"
#include "process/fresh.h"
#include "process/identity.h"

namespace commonhold {

struct Process::State {
  std::shared_ptr<detail::Child> child = std::make_shared<detail::Child>();
  std::unique_ptr<detail::Function> function;
  std::optional<detail::FreshCall> fresh;
};

namespace {

// "Worker", of commonhold::Worker and of (anonymous namespace)::Worker.
std::string class_of(const Process& process) {
  const std::string name = detail::demangled(typeid(process));
  const auto colon = name.rfind("::");
  return colon == std::string::npos ? name : name.substr(colon + 2);
}

}  // namespace

Process::Process(ProcessOptions options) : state_(std::make_unique<State>()) {
  state_->child->name = std::move(options.name);
  if (options.daemon) state_->child->daemon = *options.daemon;
  state_->child->waits_for_threads = options.wait_for_threads;
}

Process::Process(ProcessOptions options, std::unique_ptr<detail::Function> function) : Process(std::move(options)) {
  state_->function = std::move(function);
}

Process::Process(ProcessOptions options, detail::FreshCall call) : Process(std::move(options)) {
  state_->fresh = std::move(call);
}

Process::Process(Process&&) noexcept = default;

Process& Process::operator=(Process&&) noexcept = default;

// The ledger has the child until it has ended.
Process::~Process() = default;

void Process::end_child() noexcept {
  if (state_ == nullptr) return;
  detail::Child& child = *state_->child;
  if (child.pid == 0 || !child.is_mine() || child.closed) return;
  try {
    child.signal(kTerminate);
    child.wait(detail::kForever);
  } catch (...) {
    // No memory left: it stays in the ledger, and is waited for at the end.
  }
}

Process::State& Process::usable(const char* call) const {
  if (state_ == nullptr) throw ProcessError(std::string(call) + "() of a Process that was moved from");
  if (state_->child->closed) throw Closed(std::string(call) + "() of " + name() + ", which is closed");
  return *state_;
}

Process::State& Process::started(const char* call) const {
  State& state = usable(call);
  if (state.child->pid == 0) throw ProcessError(std::string(call) + "() of " + name() + ", which was not started");
  if (!state.child->is_mine()) {
    throw ProcessError(std::string(call) + "() of " + name() + ", which is a child of process " +
                       std::to_string(state.child->made_by) + ", not of this one");
  }
  return state;
}

void Process::run() {
  State& state = usable("run");
  if (state.function != nullptr) state.function->run();
}

void Process::start() {
  start(false);
}

void Process::start_quietly() {
  start(true);
}

void Process::start(bool quietly) {
  State& state = usable("start");
  detail::Child& child = *state.child;
  if (child.pid != 0) throw ProcessError(name() + " was started already; a Process runs once");
  if (!child.is_mine()) {
    throw ProcessError(name() + " was made by process " + std::to_string(child.made_by) +
                       ", and only that one can start it");
  }
  if (detail::identity().daemon) {
    throw ProcessError(name() + " cannot be started: " + current_process_name() +
                       " is daemonic, and nobody would wait for its children when it is terminated");
  }
  name();                                          // the child's is the default one where none was given
  (void)detail::OwnProcesses::instance().alive();  // what is left of the ended ones goes
  child.quiet = quietly;
  quietly ? detail::flush_standard_streams() : detail::flush_streams();
  if (state.fresh) {
    child.pid = detail::spawn_fresh(child, *state.fresh);
  } else {
    fork_child(state);
  }
  // Before anybody can wait for the child, so the number is still its own.
  child.sentinel = detail::open_pidfd(child.pid);
  child.sentinel_identity = detail::identity_of(child.sentinel);
  detail::OwnProcesses::instance().add(state.child);
  state.function.reset();
}

void Process::fork_child(State& state) {
  const pid_t pid = fork();
  if (pid < 0) throw SystemError(errno, "starting " + name() + " failed: " + strerror(errno));
  if (pid != 0) {
    state.child->pid = pid;
    return;
  }
  const detail::Child& child = *state.child;
  if (child.quiet) ::signal(SIGTERM, SIG_DFL);  // a handler would be one of the program's
  if (child.daemon) detail::end_with_parent(child.made_by);
  detail::identity().become(child);
  detail::end_as_child();
  detail::run_child([](void* self) { static_cast<Process*>(self)->run(); }, this);
}

bool Process::wait(std::int64_t wait) {
  return started("join").child->wait(wait);
}

bool Process::is_alive() {
  return usable("is_alive").child->pid != 0 && !started("is_alive").child->has_ended();
}

std::optional<int> Process::exitcode() {
  if (usable("exitcode").child->pid == 0) return std::nullopt;
  return started("exitcode").child->exitcode();
}

std::optional<int> Process::pid() const {
  const pid_t pid = usable("pid").child->pid;
  return pid == 0 ? std::nullopt : std::optional<int>(pid);
}

const std::string& Process::name() const {
  if (state_ == nullptr) throw ProcessError("name() of a Process that was moved from");
  std::string& name = state_->child->name;
  if (name.empty()) name = class_of(*this) + "-" + state_->child->numbers;
  return name;
}

void Process::set_name(std::string name) {
  if (state_ == nullptr) throw ProcessError("set_name() of a Process that was moved from");
  state_->child->name = std::move(name);
}

bool Process::daemon() const {
  return state_ != nullptr && state_->child->daemon;
}

void Process::set_daemon(bool daemon) {
  detail::Child& child = *usable("set_daemon").child;
  if (child.pid != 0) throw ProcessError("set_daemon() of " + name() + ", which was started already");
  child.daemon = daemon;
}

void Process::signal(int number) {
  started(number == kKill ? "kill" : "terminate").child->signal(number);
}

void Process::close() {
  if (state_ == nullptr || state_->child->closed) return;
  detail::Child& child = *state_->child;
  if (child.pid != 0 && child.is_mine() && !child.has_ended()) {
    throw ProcessError("close() of " + name() + ", which runs; join it or end it first");
  }
  child.closed = true;
  child.close_sentinel();
  state_->function.reset();
}

int Process::sentinel() const {
  const int sentinel = started("sentinel").child->sentinel;
  if (sentinel < 0) throw SystemError(ENOSYS, "no descriptor could be had for " + name());
  return sentinel;
}

std::string Process::describe() {
  if (state_ == nullptr) return "<Process moved>";
  detail::Child& child = *state_->child;
  std::string text = fmt::format("<{} name='{}'", class_of(*this), name());
  if (child.pid != 0) text += fmt::format(" pid={}", child.pid.load());
  text += fmt::format(" parent={}", child.made_by);
  if (child.closed) {
    text += " closed";
  } else if (child.pid == 0) {
    text += " initial";
  } else if (!child.is_mine()) {
    text += " unknown";
  } else if (!child.has_ended()) {
    text += " started";
  } else {
    text += " stopped";
    if (const auto code = child.exitcode(); code && *code < 0 && sigabbrev_np(-*code) != nullptr) {
      text += std::string(" exitcode=-SIG") + sigabbrev_np(-*code);
    } else if (code) {
      text += " exitcode=" + std::to_string(*code);
    }
  }
  return text + (child.daemon ? " daemon>" : ">");
}

std::ostream& operator<<(std::ostream& out, Process& process) {
  return out << process.describe();
}

}  // namespace commonhold
