// A child that runs one operation instruction by instruction and can be stopped (SIGSTOP) at any of them, as long as a
// test needs to do something else meanwhile. x86-64 Linux; not for sanitizer builds.
#pragma once

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "support/process_shared.h"

namespace commonhold::test {

class SteppedChild {
 public:
  // Stops before the first instruction of operation(); enter() runs before at full speed. `watched`: words of shared
  // memory whose changes are counted.
  template <typename Enter, typename Operation>
  SteppedChild(std::vector<const std::atomic<std::uint64_t>*> watched, Enter enter, Operation operation) {
    watched_ = std::move(watched);
    child_ = spawn([&] {
      enter();
      current_ = this;
      for (const auto* word : watched_) last_.push_back(word->load());
      struct sigaction action {};
      action.sa_sigaction = &on_trap;
      action.sa_flags = SA_SIGINFO;
      sigaction(SIGTRAP, &action, nullptr);
      kill(getpid(), SIGSTOP);
      asm volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
      operation();
      asm volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "memory", "cc");
    });
    wait_for_stop();
  }
  ~SteppedChild() {
    if (over_) return;
    kill(child_, SIGKILL);
    wait_for(child_);
  }
  SteppedChild(const SteppedChild&) = delete;
  SteppedChild& operator=(const SteppedChild&) = delete;

  // Lets it run until so many instructions are done since the beginning. False: it ended before.
  bool run_until(std::uint64_t instructions) {
    board_->stop_at = instructions;
    return go_on();
  }
  // Lets it run until the watched words have changed so many times since the beginning.
  bool run_until_change(std::uint64_t changes) {
    board_->stop_at_change = changes;
    return go_on();
  }
  // Lets it run to its end; its exit status as wait_for() gives it.
  int finish() {
    board_->stop_at = board_->stop_at_change = ~std::uint64_t{0};
    (void)go_on();
    return status_;
  }
  // The same at full speed: instructions() does not count what is left.
  int finish_at_full_speed() {
    board_->at_full_speed = true;
    return finish();
  }
  std::uint64_t instructions() const { return board_->done; }
  pid_t pid() const { return child_; }

 private:
  struct Board {
    std::atomic<std::uint64_t> stop_at{~std::uint64_t{0}}, stop_at_change{~std::uint64_t{0}}, done{0}, changes{0};
    std::atomic<bool> at_full_speed{false};
  };

  bool go_on() {
    if (over_) return false;
    kill(child_, SIGCONT);
    return wait_for_stop();
  }
  bool wait_for_stop() {
    int status = 0;
    while (waitpid(child_, &status, WUNTRACED) < 0 && errno == EINTR) {
    }
    if (WIFSTOPPED(status)) return true;
    over_ = true;
    status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return false;
  }

  static void on_trap(int, siginfo_t*, void* context) {
    SteppedChild& self = *current_;
    Board& board = *self.board_;
    if (board.at_full_speed) {
      static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~0x100;
      return;
    }
    bool changed = false;
    for (std::size_t i = 0; i < self.watched_.size(); ++i) {
      const std::uint64_t now = self.watched_[i]->load();
      changed = changed || now != self.last_[i];
      self.last_[i] = now;
    }
    const std::uint64_t done = ++board.done;
    if (changed) ++board.changes;
    if (done == board.stop_at || (changed && board.changes == board.stop_at_change)) kill(getpid(), SIGSTOP);
  }

  static inline SteppedChild* current_ = nullptr;
  Shared<Board> board_;
  std::vector<const std::atomic<std::uint64_t>*> watched_;
  std::vector<std::uint64_t> last_;
  pid_t child_ = -1;
  bool over_ = false;
  int status_ = 0;
};

}  // namespace commonhold::test
