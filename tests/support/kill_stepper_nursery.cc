#include "support/kill_stepper_nursery.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>

#include "support/kill_stepper_recorder.h"

namespace commonhold::test {
namespace {

constexpr char kRunOne = 'r', kEnd = 'e';

// Reads or writes a whole message; false when the other end is gone.
bool receive(int channel, void* message, std::size_t size) {
  ssize_t got;
  do {
    got = ::recv(channel, message, size, 0);
  } while (got < 0 && errno == EINTR);
  return got == static_cast<ssize_t>(size);
}

bool send(int channel, const void* message, std::size_t size) {
  ssize_t sent;
  do {
    sent = ::send(channel, message, size, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(size);
}

[[noreturn]] void serve(int channel, VictimBoard& board, const std::function<void()>& enter,
                        const std::function<void()>& op) {
  make_code_writable();
  const pid_t nursery = ::getpid();
  char order;
  while (receive(channel, &order, sizeof order) && order == kRunOne) {
    VictimFate fate;
    fate.pid = ::fork();
    if (fate.pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // one that is paused would stay
      if (::getppid() != nursery) ::_exit(0);
      run_victim(board, enter, op);
    }
    if (fate.pid > 0) {
      while (::waitpid(fate.pid, &fate.wait_status, 0) < 0 && errno == EINTR) {
      }
    } else {
      fate.wait_status = errno;
    }
    if (!send(channel, &fate, sizeof fate)) break;
  }
  ::_exit(0);
}

}  // namespace

VictimNursery::VictimNursery(VictimBoard& board, const std::function<void()>& enter, const std::function<void()>& op) {
  KillRecorder::share_what_is_learned();
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    throw std::system_error(errno, std::generic_category(), "socketpair for the victim nursery");
  }
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::close(ends[0]);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(0);
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::signal(SIGCHLD, SIG_DFL);
    serve(ends[1], board, enter, op);
  }
  const int error = errno;
  ::close(ends[1]);
  channel_ = ends[0];
  if (pid_ < 0) {
    ::close(channel_);
    throw std::system_error(error, std::generic_category(), "fork of the victim nursery");
  }
}

VictimNursery::~VictimNursery() {
  (void)send(channel_, &kEnd, sizeof kEnd);  // nurseries that were made later have our end of the channel, too
  ::close(channel_);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

VictimFate VictimNursery::run_one() {
  start_one();
  return await_one();
}

void VictimNursery::start_one() {
  if (!send(channel_, &kRunOne, sizeof kRunOne)) {
    throw std::runtime_error("the victim nursery (pid " + std::to_string(pid_) + ") is gone");
  }
}

VictimFate VictimNursery::await_one() {
  VictimFate fate;
  if (!receive(channel_, &fate, sizeof fate)) {
    throw std::runtime_error("the victim nursery (pid " + std::to_string(pid_) + ") is gone");
  }
  if (fate.pid < 0) {
    throw std::system_error(fate.wait_status, std::generic_category(), "fork of a victim");
  }
  return fate;
}

}  // namespace commonhold::test
