// As much of x86-64 decoding as the recorder needs: where control goes after an instruction.
#pragma once

#include <cstdint>

namespace commonhold::test {

enum class CodeKind : std::uint8_t {
  kPlain,    // goes on at the next instruction; its length is not decoded
  kJump,     // to `target`
  kCall,     // to `target`
  kBranch,   // to `target` or `next`, by the flags: see branch_is_taken
  kReturn,   // to where the stack pointer points
  kSyscall,  // goes on at `next`
  kFlags,    // pushf, popf, which see and set the trap flag; goes on at `next`
  kRep,      // a string instruction with a repeat prefix: stays until it is done
  kOther,    // goes where only the processor knows: indirect jumps, traps, loop, ...
};

struct CodeStep {
  CodeKind kind;
  std::uint8_t condition;  // kBranch: the condition code, 0..15
  std::uint64_t next;
  std::uint64_t target;
};

// Decodes the instruction at the address. Calls nothing and reads no further than that instruction.
[[nodiscard]] CodeStep decode_step(std::uint64_t address);

// Whether a conditional jump with this condition code jumps under these RFLAGS.
[[nodiscard]] bool branch_is_taken(std::uint8_t condition, std::uint64_t flags);

}  // namespace commonhold::test
