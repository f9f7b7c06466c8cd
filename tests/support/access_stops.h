// Lets a process go on for a number of accesses to shared memory, wherever it stands.
//
// The ranges are made unreadable, so that each access faults; a fault that is not the last opens its page for one
// instruction: by a breakpoint behind it where its length is known, else by the trap flag, which takes several times longer in
// a virtual machine. System calls that the test program intercepts count like accesses.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>

#include "support/kill_stepper_recorder.h"
#include "support/kill_stepper_signal.h"
#include "support/kill_stepper_victim.h"

namespace commonhold::test {

// Used in a victim's signal handlers: calls no libc. All-zero to begin with.
class AccessStops {
 public:
  void start(VictimBoard& board, KillRecorder& recorder) {
    board_ = &board;
    recorder_ = &recorder;
  }

  // Follows the board's orders anew: access_limit is not 0 when accesses are to be counted.
  void resume();
  // SIGSEGV: whether it was an access to the ranges, which is counted, after a pause perhaps, and may happen now.
  [[nodiscard]] bool on_fault(greg_t* regs, std::uint64_t address);
  // SIGTRAP after one instruction; false: that was none of ours.
  [[nodiscard]] bool on_step(greg_t* regs);
  // A system call comes next.
  void on_system_call();

 private:
  static constexpr std::size_t kMostOpenPages = 64;

  void count();
  void stop_behind(greg_t* regs);
  void protect_all(int protection);

  VictimBoard* board_;
  KillRecorder* recorder_;
  std::uint64_t stepped_from_;  // by the trap flag
  Breakpoint breakpoint_;       // behind the instruction for which pages are open
  bool closed_;                 // the ranges cannot be accessed
  std::size_t open_count_;
  std::uint64_t open_pages_[kMostOpenPages];
};

}  // namespace commonhold::test
