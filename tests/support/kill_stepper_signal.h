// What a victim may use inside its signal handlers. Those run between any two instructions of the operation,
// and any code outside of the kill stepper may carry its breakpoint: so this calls no libc.
#pragma once

#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include <cstdint>

#include "support/kill_stepper_victim.h"

// The int3 before and after the call of the operation.
extern "C" [[gnu::visibility("hidden")]] const std::uint8_t commonhold_kill_arm[];
extern "C" [[gnu::visibility("hidden")]] const std::uint8_t commonhold_kill_disarm[];

namespace commonhold::test {

inline std::uint64_t arm_address() {
  return reinterpret_cast<std::uint64_t>(commonhold_kill_arm);
}
inline std::uint64_t disarm_address() {
  return reinterpret_cast<std::uint64_t>(commonhold_kill_disarm);
}

inline long raw_syscall(long number, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0) {
  long result;
  asm volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

inline constexpr std::uint64_t kPage = 4096;
inline constexpr greg_t kTrapFlag = 0x100;

inline std::uint64_t page_of(std::uint64_t address) {
  return address & ~(kPage - 1);
}
// Of the pages from one address up to another.
inline void protect(std::uint64_t from, std::uint64_t to, int protection) {
  raw_syscall(SYS_mprotect, from, to - from, static_cast<std::uint64_t>(protection));
}

[[noreturn]] inline void end_victim(VictimBoard& board, VictimEnding ending, std::uint64_t rip) {
  board.ending = ending;
  board.rip = rip;
  if (ending == VictimEnding::kKilled) {
    raw_syscall(SYS_kill, static_cast<std::uint64_t>(raw_syscall(SYS_getpid)), SIGKILL);
  }
  for (;;) raw_syscall(SYS_exit_group, 0);
}

// The victim's one software breakpoint.
class Breakpoint {
 public:
  // REQUIRES: not planted.
  void plant(std::uint64_t rip) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address in the code
    at_ = reinterpret_cast<volatile std::uint8_t*>(rip);
    covered_ = *at_;
    *at_ = 0xcc;
  }
  // REQUIRES: planted.
  void remove() {
    *at_ = covered_;
    at_ = nullptr;
  }
  // Whether one is there, of whoever.
  [[nodiscard]] static bool is_at(std::uint64_t rip) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address in the code
    return *reinterpret_cast<const volatile std::uint8_t*>(rip) == 0xcc;
  }
  [[nodiscard]] bool planted() const { return at_ != nullptr; }
  // Whether a SIGTRAP with this RIP is of the breakpoint.
  [[nodiscard]] bool explains(std::uint64_t rip_after) const {
    return at_ != nullptr && reinterpret_cast<std::uint64_t>(at_) == rip_after - 1;
  }

 private:
  volatile std::uint8_t* at_ = nullptr;
  std::uint8_t covered_ = 0;
};

}  // namespace commonhold::test
