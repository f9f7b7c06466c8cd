// The victim's side of the kill stepper: what happens in the process that is traced or killed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "support/shared_image.h"

namespace commonhold::test {

// A breakpoint on the way to the kill. Planted when the stop before it was reached; removed when it is.
struct Stop {
  std::uint64_t rip;
  std::uint64_t rep_count;  // not 0: the instruction is a `rep`; it is let go for so many iterations
};

enum class VictimJob : std::uint32_t {
  kRecord,       // run op() and write the trace: see KillRecorder
  kRecordSteps,  // the same, each instruction stepped by the processor
  kKillAtStop,   // die at the last stop
  kKillAtEnd,    // die after the last instruction; no stops
};

enum class VictimEnding : std::uint32_t {
  kNone,      // died without a word
  kKilled,    // sent itself the SIGKILL where it was told to
  kFinished,  // the operation ended
  kStrayTrap,
  kTraceFull,
  kThrew,  // enter() did; see message
  kTimedOut,
  kCrashed,  // see crash_signal
};

// In a SharedBuffer: orders from the caller to the next victim, and what the victim tells of itself before it
// dies. The caller and the one victim never write at the same time.
struct VictimBoard {
  // Orders. The pointers are into shared mappings at the same address in all processes.
  VictimJob job;
  std::uint32_t timeout_ms;
  const Stop* stops;
  std::uint64_t stop_count;
  void (*pause)(bool finished);  // not null: called at the last stop, and at the end, instead of dying; in a handler
  std::uint64_t access_limit;    // not 0: it pauses before this access to the ranges (or system call), counted from now
  const MemoryRange* ranges;
  std::uint64_t range_count;
  // For the recording:
  std::uint64_t* trace;  // RIP of each executed instruction
  std::uint64_t trace_capacity;
  std::uint32_t* stores;  // trace indices of stores into ranges, ascending
  std::uint32_t* syscalls;
  std::uint32_t* accesses;  // the same of loads and stores; null: only stores are looked for

  // News.
  VictimEnding ending;
  bool armed;  // enter() was over
  std::int32_t signal;
  std::uint64_t stops_reached;
  std::uint64_t rip;            // where it ended
  std::uint64_t accesses_done;  // of those that access_limit counts
  std::uint64_t trace_size;
  std::uint64_t store_count;
  std::uint64_t syscall_count;
  std::uint64_t access_count;
  char message[256];
};

// Takes back what the board tells of the victim before, and orders the next one's job.
void order_next(VictimBoard& board, VictimJob job, std::uint32_t timeout_ms = 60'000);

// Makes all code of this process writable, so that victims forked from it can plant breakpoints without a system
// call.
void make_code_writable();

// In a victim that paused outside of its handlers: takes note of new orders about accesses.
void follow_access_orders();
// In a victim: a system call comes next, or what a test does in its place, which counts like an access.
[[gnu::noinline]] void count_system_call();

// Follows the board's orders; ends this process. REQUIRES: a freshly forked child, make_code_writable() in an
// ancestor.
[[noreturn]] void run_victim(VictimBoard& board, const std::function<void()>& enter, const std::function<void()>& op);

}  // namespace commonhold::test
