#include <commonhold/current_process.h>
#include <commonhold/detail/present.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "process/child.h"
#include "process/identity.h"

namespace commonhold {

std::string CurrentProcess::name() const {
  return detail::identity().name;
}

void CurrentProcess::set_name(std::string name) {
  detail::identity().name = std::move(name);
}

int CurrentProcess::pid() const {
  return getpid();
}

bool CurrentProcess::daemon() const {
  return detail::identity().daemon;
}

std::string CurrentProcess::authkey() const {
  return detail::identity().authkey;
}

void CurrentProcess::set_authkey(std::string key) {
  if (key.empty()) throw ValueError("an empty authkey protects nothing; give at least one byte");
  detail::identity().authkey = std::move(key);
}

std::string current_process_name() {
  return detail::identity().name;
}

std::optional<ParentProcess> parent_process() {
  const detail::Identity& self = detail::identity();
  if (self.parent == 0) return std::nullopt;
  return ParentProcess(self.parent_name, self.parent);
}

bool ParentProcess::wait(std::int64_t wait) const {
  using Clock = std::chrono::steady_clock;
  const auto end = wait == detail::kForever ? Clock::time_point::max() : Clock::now() + std::chrono::nanoseconds(wait);
  const int watched = detail::open_pidfd(pid_);
  // Whoever bears the number while it is this process's parent is the parent; the descriptor was opened before that.
  bool ended = getppid() != pid_;
  while (!ended) {
    const auto left = wait == detail::kForever ? std::chrono::hours(1) : end - Clock::now();
    if (left <= left.zero()) break;
    const auto most = watched >= 0 ? std::chrono::milliseconds(1000) : std::chrono::milliseconds(1);
    const auto now = std::min(most, std::chrono::ceil<std::chrono::milliseconds>(left));
    pollfd readable{watched, POLLIN, 0};
    poll(&readable, watched >= 0 ? 1 : 0, static_cast<int>(now.count()));
    ended = getppid() != pid_;
  }
  if (watched >= 0) close(watched);
  return ended;
}

detail::Child& ProcessHandle::child() const {
  detail::Child& child = detail::present(child_, "a ProcessHandle");
  if (!child.is_mine()) {
    throw ProcessError(child.name + " is a child of process " + std::to_string(child.made_by) + ", not of this one");
  }
  return child;
}

std::string ProcessHandle::name() const {
  return detail::present(child_, "a ProcessHandle").name;
}
int ProcessHandle::pid() const {
  return detail::present(child_, "a ProcessHandle").pid;
}
bool ProcessHandle::daemon() const {
  return detail::present(child_, "a ProcessHandle").daemon;
}
bool ProcessHandle::is_alive() const {
  return !child().has_ended();
}
std::optional<int> ProcessHandle::exitcode() const {
  return child().exitcode();
}
bool ProcessHandle::wait(std::int64_t wait) const {
  return child().wait(wait);
}
void ProcessHandle::terminate() const {
  child().signal(SIGTERM);
}
void ProcessHandle::kill() const {
  child().signal(SIGKILL);
}

std::vector<ProcessHandle> active_children() {
  std::vector<ProcessHandle> all;
  for (auto& child : detail::OwnProcesses::instance().alive()) all.emplace_back(std::move(child));
  return all;
}

int cpu_count() {
  return static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
}

int usable_cpu_count() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpu_count();
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace commonhold
