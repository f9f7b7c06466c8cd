// Writes down the instructions a victim executes, and which of them store into the shared ranges.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>

#include "support/kill_stepper_signal.h"
#include "support/kill_stepper_victim.h"

namespace commonhold::test {

// Stops a recording victim often enough to know its path:
//
//   stop at   known ahead: a run                        next stop
//   --------  ----------------------------------------  -----------------------------------------------------
//   jne A     A: mov  add  mov                          cmp: seen for the first time, so its length is
//   unknown cmp       (trap flag: one instruction)              the next one; cmp's length is learned
//   ...
//   jne A     A: mov  add  mov  cmp                     jne A, by an int3
//
// An instruction that cannot jump goes on at the next one, whose address is known once it was stepped over;
// of most jumps, calls and returns the registers tell where they go. What remains (indirect jumps, `rep`) is
// stepped with the trap flag. kRecordSteps uses that everywhere. The shared ranges are read-only while the
// operation runs; a page fault marks the storing instruction, the page is opened, and the next instruction is
// a stop that closes it again. Where loads are looked for too, the ranges cannot be read either.
//
// Used in signal handlers only. Its own memory is zero to begin with.
class KillRecorder {
 public:
  // Makes what recordings learn of the code common to all processes that are forked from now on.
  static void share_what_is_learned();
  // REQUIRES: the board's job is a recording, before the operation.
  void start(VictimBoard& board) {
    board_ = &board;
    lengths_ = known_lengths;
  }

  // Where an instruction goes on that cannot jump and was stepped over before, else 0.
  [[nodiscard]] std::uint64_t next_of_plain(std::uint64_t rip) {
    const std::uint64_t length = length_of(rip);
    return length == 0 ? 0 : rip + length;
  }
  // The instruction at rip has executed, and next came after it.
  void learn_length(std::uint64_t rip, std::uint64_t next);
  // SIGTRAP. Ends the victim after the operation's last instruction.
  void on_trap(greg_t* regs);
  // SIGSEGV: whether it was an access to a shared range that is looked for, which now may happen.
  [[nodiscard]] bool on_fault(const greg_t* regs, std::uint64_t address);
  // SIGALRM: whether the recording got on since the last one, by an instruction a millisecond.
  [[nodiscard]] bool on_alarm();

 private:
  static constexpr std::size_t kMaxOpenPages = 64;
  static constexpr std::size_t kMaxRun = 512;
  static constexpr std::size_t kLengths = std::size_t{1} << 16;

  struct Length {
    std::uint64_t rip;
    std::uint64_t length;
  };

  void go_on(greg_t* regs, std::uint64_t rip);
  [[nodiscard]] bool go_by_run(const greg_t* regs, std::uint64_t rip);
  [[nodiscard]] std::uint64_t successor(const greg_t* regs, std::uint64_t rip);
  [[nodiscard]] std::uint64_t length_of(std::uint64_t rip);
  [[nodiscard]] Length& length_slot(std::uint64_t rip);

  static void note(std::uint32_t* indices, std::uint64_t& count, std::uint64_t index);
  [[nodiscard]] int closed() const;
  void append(std::uint64_t rip);
  void protect_ranges(int protection);
  [[nodiscard]] bool in_ranges(std::uint64_t address, bool whole_pages) const;
  void close_pages();

  VictimBoard* board_;
  Breakpoint breakpoint_;
  std::uint64_t run_begin_;  // trace index of the instruction the victim stood at last
  std::uint64_t trace_size_at_alarm_;
  bool in_syscall_;
  std::size_t open_count_;  // pages open for a store until the next stop
  std::uint64_t open_pages_[kMaxOpenPages];
  Length* lengths_;  // in shared memory
  inline static Length* known_lengths = nullptr;
};

}  // namespace commonhold::test
