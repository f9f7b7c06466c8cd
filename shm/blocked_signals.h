// Threads that get no signals: those are for the program's own threads.
#pragma once

#include <signal.h>

#include <system_error>
#include <thread>
#include <utility>

namespace commonhold::shm {

// Threads made while this lives have all signals blocked that others send. Those that a thread causes itself stay
// unblocked: if one is blocked, the kernel kills the process without running a handler (lost_file.h, the program's).
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    for (int own : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) sigdelset(&all, own);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

  // What the calling thread had blocked.
  const sigset_t& before() const { return before_; }

 private:
  sigset_t before_;
};

// Starts a thread that gets no signals and that nobody joins. 0, or the error for which there is none.
template <typename Body>
int start_quiet_thread(Body&& body) {
  const BlockedSignals blocked;
  try {
    std::thread(std::forward<Body>(body)).detach();
    return 0;
  } catch (const std::system_error& refusal) {
    return refusal.code().value();
  }
}

}  // namespace commonhold::shm
