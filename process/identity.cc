#include "process/identity.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <exception>
#include <iostream>

#include <commonhold/detail/manager_calls.h>
#include <commonhold/process.h>

#include "process/child.h"
#include "process/unjoined_threads.h"

namespace commonhold::detail {

namespace {

constexpr std::size_t kAuthkeyBytes = 32;

std::string draw_authkey() {
  std::string key(kAuthkeyBytes, '\0');
  ssize_t got = 0;
  do {
    got = getrandom(key.data(), key.size(), 0);
  } while (got < 0 && errno == EINTR);
  if (got != static_cast<ssize_t>(key.size()))
    throw SystemError(errno, "the kernel gave no random bytes for an authkey");
  return key;
}

// Written before the signal can come, in the child that it is for.
volatile pid_t watched_parent = 0;

// Sends this process SIGKILL when it runs out; made before the signal can come.
timer_t last_resort;
volatile bool has_last_resort = false;
constexpr time_t kSecondsToEnd = 2;

// SIGTERM, and SIGKILL for one that ignores it: nobody is left who could do it later.
void end_without_parent() {
  kill(getpid(), SIGTERM);
  itimerspec in_time{};
  in_time.it_value.tv_sec = kSecondsToEnd;
  if (!has_last_resort || timer_settime(last_resort, 0, &in_time, nullptr) != 0) kill(getpid(), SIGKILL);
}

extern "C" void on_parent_signal(int) {
  const int kept = errno;
  // The kernel tells of the end of the thread that forked; the process may live on, and then its end is told as well.
  if (getppid() != watched_parent) end_without_parent();
  errno = kept;
}

}  // namespace

std::string Identity::next_child_numbers() {
  const std::string number = std::to_string(++children);
  return numbers.empty() ? number : numbers + ":" + number;
}

void Identity::become(const Child& child) {
  parent_name = std::move(name);
  parent = child.made_by;
  name = child.name;
  numbers = child.numbers;
  daemon = child.daemon;
  quiet = child.quiet;
  waits_for_threads = child.waits_for_threads;
  children = 0;
}

Identity& identity() {
  static auto* self = [] {
    auto* made = new Identity;
    made->authkey = draw_authkey();  // before any child is made, so that all of a program have the same
    return made;
  }();
  return *self;
}

void flush_standard_streams() noexcept {
  try {
    std::cout.flush();
    std::cerr.flush();
    std::clog.flush();
  } catch (...) {
    // Streams may throw when asked to; broken ones do not change how a process ends.
  }
  fflush(stdout);
  fflush(stderr);
}

void flush_streams() noexcept {
  flush_standard_streams();
  fflush(nullptr);
}

void end_child(int status) noexcept {
  OwnProcesses::instance().end();
  if (identity().waits_for_threads) await_unjoined_threads();
  identity().quiet ? flush_standard_streams() : flush_streams();
  leave_all_sessions();
  _exit(status);
}

void end_as_child() {
  // The first exit handler to run, because it is registered last.
  on_exit([](int status, void*) { end_child(status); }, nullptr);
}

void end_with_parent(pid_t parent) noexcept {
  watched_parent = parent;
  sigevent expiry{};
  expiry.sigev_notify = SIGEV_SIGNAL;
  expiry.sigev_signo = SIGKILL;
  has_last_resort = timer_create(CLOCK_MONOTONIC, &expiry, &last_resort) == 0;
  const int number = SIGRTMAX - 6;
  struct sigaction action {};
  action.sa_handler = on_parent_signal;
  action.sa_flags = SA_RESTART;
  sigaction(number, &action, nullptr);
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, number);
  sigaddset(&wanted, SIGTERM);
  sigprocmask(SIG_UNBLOCK, &wanted, nullptr);
  prctl(PR_SET_PDEATHSIG, number);
  if (getppid() != parent) end_without_parent();  // it ended before it could be watched
}

void run_child(void (*run)(void*), void* argument) noexcept {
  int status = 0;
  std::string said;
  try {
    run(argument);
  } catch (const Exit& exit) {
    status = exit.status();
    if (!exit.text().empty()) said = exit.text();
  } catch (const std::exception& error) {
    status = 1;
    said = "Process " + identity().name + ":\n  " + error.what();
  } catch (...) {
    status = 1;
    said = "Process " + identity().name + ":\n  an exception that is no std::exception";
  }
  if (!said.empty()) {
    flush_streams();
    try {
      std::cerr << said << std::endl;
    } catch (...) {
      // As in flush_streams.
    }
  }
  end_child(status);
}

}  // namespace commonhold::detail
