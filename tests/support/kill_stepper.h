// Kills a process with a real SIGKILL at every instruction of one operation on shared memory. x86-64 Linux.
//
//   caller (the test)            nursery (forked once)               victim (forked per run)
//   -----------------            ---------------------               -----------------------
//   prepare()
//   fork ---------------------> keeps this private memory
//   prepare(), record ---------> fork --------------------------> enter(), op() step by step: every
//   RIPs, stores <-------------- waitpid <----------------------- RIP; stores to `shared` by page faults
//   for each k of the trace:
//     prepare()
//     the stops before k ------> fork --------------------------> enter(), op() with one int3 at a time:
//                                                                 stop 1, .. stop n = instruction k:
//     how it ended <------------ waitpid <----------------------- kill(self, SIGKILL) before k executes
//     verify(pid, k)
//
// Why this is cheap: a killed run takes the fewest breakpoints that single out the k-th executed instruction
// among all executions of the same code, usually one; the next breakpoint is planted where the trace says the
// victim will come by, so that no instruction is stepped over or emulated. Iteration i of a `rep` instruction
// is reached by setting its counter to i. The trap flag, each of whose traps leaves a virtual machine (12 us
// against 2 us for an int3), is used while recording only, and there for what KillRecorder cannot foresee.
//
// Why it is complete: k runs over every executed instruction, libc's included, iterations of `rep` counted
// singly, and k == N is the moment after the last one. Stores are found by the hardware: `shared` is
// read-only during the recording, so that whatever writes there faults, whatever the instruction.
//
// What it asks of the test:
// - op() takes the same path each time. Every victim starts from the same private memory (the nursery's copy,
//   made after the first prepare(): what prepare() and verify() change in private memory later, victims do
//   not see) and from the same shared memory (prepare() puts it back: see SharedImage). Clocks and process
//   ids in the data are fine until they change the path. A path that differs is a failure of the run, never a
//   silent gap. An operation that is killed everywhere is recorded twice, the second time by the trap flag
//   alone, and the recordings must agree.
// - enter() does what is not to be killed: joins, warms caches. Test programs are linked with -Wl,-z,now (or
//   run under LD_BIND_NOW=1), or the dynamic loader's symbol lookup becomes part of the operation.
// - op() neither blocks nor handles SIGTRAP, SIGSEGV and SIGALRM, does not fork, and ends by returning;
//   enter() leaves no other thread that runs op's code. A system call in op() counts as one instruction.
// - The nursery holds copies of the caller's descriptors until the run is over.
// - verify() may do anything in the caller: fork helpers, or run another plan whose op() is the recovery.
// - Keep the caller's heap small where speed counts: a fork costs 35 us per MiB of it. What lies in a
//   SharedBuffer costs nothing.
// Not for sanitizer builds.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "support/shared_image.h"
#include "support/soaking.h"

namespace commonhold::test {

struct KillPlan {
  std::string name;
  // In the caller, before each run: puts shared memory into the same state. May be empty.
  std::function<void()> prepare;
  // In the victim, before the operation. May be empty.
  std::function<void()> enter;
  // In the victim: the operation.
  std::function<void()> op;
  // In the caller, after the victim was killed before its k-th instruction and reaped. Says what is wrong; "" is
  // well. An exception becomes a failure if it is a std::exception, else (a test framework's) it passes, k printed
  // first.
  std::function<std::string(pid_t victim, std::size_t k)> verify;
  // Where stores are looked for; whole mappings or page-aligned parts of them. REQUIRED for sampling.
  std::vector<MemoryRange> shared;

  // Up to so many instructions, every one is a kill point. Beyond: before and after each store to `shared` and each
  // system call, the beginning, the end, and `sample` instructions drawn with `seed`. (What a death between two stores
  // leaves is what one right after the first leaves.) 0: always sample.
  std::size_t max_every = soaking() ? 20'000 : 5'000;
  std::size_t sample = 2'000;
  // Of a longer row of stores by one loop (bytes being copied), only the ends are taken store by store. 0: all.
  std::size_t max_store_row = 64;
  std::uint64_t seed = 1;
  // A longer operation is an error. A recording takes about 1 us per instruction.
  std::size_t max_instructions = 4'000'000;
  // A victim that lives longer is a failure that says where it was; a recording may while it gets on.
  unsigned timeout_ms = 5'000;
  // Stops after so many failures.
  std::size_t max_failures = 3;
};

struct KillFailure {
  std::size_t k = 0;
  std::uint64_t rip = 0;  // instruction k, or where the victim hung or crashed
  std::string what;       // says all, k and the symbol included
};

struct KillReport {
  std::string name;
  std::size_t instructions = 0;
  std::size_t stores = 0;  // to `shared`
  std::size_t kills = 0;   // by SIGKILL at the wanted instruction
  double seconds = 0;      // of the kills, prepare() and verify() included
  std::vector<KillFailure> failures;

  // Whether there were kills and no failures.
  [[nodiscard]] bool ok() const { return failures.empty() && kills > 0; }
  [[nodiscard]] double kills_per_second() const { return seconds > 0 ? static_cast<double>(kills) / seconds : 0; }
  // "dict.put overwrite: 1,384 instructions, 37 stores, 1,385 kills, 0 failures, 912 kills/s"; failures on further
  // lines.
  [[nodiscard]] std::string line() const;
};

// Records plan.op and kills it everywhere. Leaves no process behind, whatever is thrown.
[[nodiscard]] KillReport run_kill_plan(const KillPlan& plan);

}  // namespace commonhold::test
