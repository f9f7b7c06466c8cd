#include "process/child.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include <commonhold/detail/lock_calls.h>
#include <commonhold/detail/stopping.h>

#include "process/identity.h"

namespace commonhold::detail {

int open_pidfd(pid_t pid) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
}

Child::Child() : made_by(getpid()), numbers(identity().next_child_numbers()), daemon(identity().daemon) {}

Child::~Child() {
  close_sentinel();
}

bool Child::is_mine() const {
  return made_by == getpid();
}

void Child::close_sentinel() {
  const int open = sentinel.exchange(-1);
  close_kept(open, sentinel_identity);
}

// Asks the kernel whether it ended.
void Child::reap() {
  {
    std::scoped_lock guard(mutex_);
    if (ended_) return;
    int status = 0;
    pid_t found = 0;
    do {
      found = waitpid(pid, &status, WNOHANG);
    } while (found < 0 && errno == EINTR);
    if (found == 0) return;
    ended_ = true;
    if (found > 0) exitcode_ = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }
  OwnProcesses::instance().remove(*this);
}

bool Child::wait(std::int64_t wait) {
  using Clock = std::chrono::steady_clock;
  const auto end = wait == kForever ? Clock::time_point::max() : Clock::now() + std::chrono::nanoseconds(wait);
  for (;;) {
    reap();
    {
      std::scoped_lock guard(mutex_);
      if (ended_) return true;
    }
    std::int64_t milliseconds = 1 << 30;
    if (wait != kForever) {
      const auto left = end - Clock::now();
      if (left <= left.zero()) return false;
      milliseconds = std::min<std::int64_t>(milliseconds, std::chrono::ceil<std::chrono::milliseconds>(left).count());
    }
    // Without a descriptor (an old kernel, no descriptors left) it is looked at every millisecond.
    const bool watched = sentinel >= 0;
    pollfd ended[] = {{sentinel, POLLIN, 0}, {wait == 0 ? -1 : stop_descriptor(), POLLIN, 0}};
    poll(ended, 2, watched ? static_cast<int>(milliseconds) : 1);
    if (ended[1].revents != 0) end_if_stopped("join()");
  }
}

std::optional<int> Child::exitcode() {
  reap();
  std::scoped_lock guard(mutex_);
  return exitcode_;
}

void Child::signal(int number) {
  reap();
  std::scoped_lock guard(mutex_);  // nobody reaps it meanwhile, so the number is its own
  if (!ended_) ::kill(pid, number);
}

OwnProcesses& OwnProcesses::instance() {
  static auto* own = new OwnProcesses;  // leaked: it is needed until the very end
  return *own;
}

OwnProcesses::OwnProcesses() {
  pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                 [] {
                   // Forgotten, not destroyed: what the finalizers hold is the parent's.
                   new (&instance().children_) std::vector<std::shared_ptr<Child>>;
                   new (&instance().finalizers_) std::vector<Finalizer>;
                   instance().mutex_.unlock();
                 });
  std::atexit([] { instance().end(); });
}

void OwnProcesses::add(std::shared_ptr<Child> child) {
  std::scoped_lock guard(mutex_);
  children_.push_back(std::move(child));
}

void OwnProcesses::remove(const Child& child) {
  std::shared_ptr<Child> kept;  // destroyed after the mutex is free
  std::scoped_lock guard(mutex_);
  const auto at =
      std::find_if(children_.begin(), children_.end(), [&](const auto& one) { return one.get() == &child; });
  if (at == children_.end()) return;
  kept = std::move(*at);
  children_.erase(at);
}

std::vector<std::shared_ptr<Child>> OwnProcesses::alive() {
  std::vector<std::shared_ptr<Child>> all;
  {
    std::scoped_lock guard(mutex_);
    all = children_;
  }
  std::erase_if(all, [](const auto& child) { return child->has_ended(); });
  return all;
}

std::uint64_t OwnProcesses::add_finalizer(int priority, std::function<void()> run) {
  std::scoped_lock guard(mutex_);
  finalizers_.push_back({++last_id_, priority, std::move(run)});
  return last_id_;
}

void OwnProcesses::remove_finalizer(std::uint64_t id) {
  std::scoped_lock guard(mutex_);
  std::erase_if(finalizers_, [id](const Finalizer& one) { return one.id == id; });
}

bool OwnProcesses::run_one_finalizer() {
  std::function<void()> run;
  {
    std::scoped_lock guard(mutex_);
    if (finalizers_.empty()) return false;
    auto first = finalizers_.begin();
    for (auto at = first; at != finalizers_.end(); ++at) {
      if (at->priority >= first->priority) first = at;
    }
    run = std::move(first->run);
    finalizers_.erase(first);
  }
  run();
  return true;
}

void OwnProcesses::end() noexcept {
  try {
    while (run_one_finalizer()) {
    }
    for (const auto& child : alive()) {
      if (child->daemon) child->signal(SIGTERM);
    }
    // Ended ones leave the ledger, and other threads may start more.
    for (auto left = alive(); !left.empty(); left = alive()) {
      for (const auto& child : left) child->wait(kForever);
    }
  } catch (...) {
    // No memory left: the children go on without being waited for.
  }
}

}  // namespace commonhold::detail
