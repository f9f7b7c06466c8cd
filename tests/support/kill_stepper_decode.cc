#include "support/kill_stepper_decode.h"

namespace commonhold::test {
namespace {

constexpr int kMaxLength = 15;

bool is_prefix(std::uint8_t byte) {
  switch (byte) {
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x64:
    case 0x65:  // segments, branch hints
    case 0x66:
    case 0x67:  // operand and address size
    case 0xf0:
    case 0xf2:
    case 0xf3:  // lock, repeat
      return true;
    default:
      return (byte & 0xf0) == 0x40;  // REX
  }
}

std::uint64_t relative8(const std::uint8_t* code) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int8_t>(code[0])));
}

std::uint64_t relative32(const std::uint8_t* code) {
  const std::uint32_t offset = static_cast<std::uint32_t>(code[0]) | static_cast<std::uint32_t>(code[1]) << 8 |
                               static_cast<std::uint32_t>(code[2]) << 16 | static_cast<std::uint32_t>(code[3]) << 24;
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(offset)));
}

// The opcode follows `at`'s prefixes.
CodeStep decode_two_byte(const std::uint8_t* code, std::uint64_t at) {
  const std::uint8_t opcode = code[1];
  if (opcode == 0x05) return {CodeKind::kSyscall, 0, at + 2, 0};
  if ((opcode & 0xf0) == 0x80) {
    const std::uint64_t next = at + 6;
    return {CodeKind::kBranch, static_cast<std::uint8_t>(opcode & 0xf), next, next + relative32(code + 2)};
  }
  const bool system = opcode == 0x07 || opcode == 0x0b || opcode == 0x34 || opcode == 0x35 || opcode == 0xaa;
  return {system ? CodeKind::kOther : CodeKind::kPlain, 0, 0, 0};
}

}  // namespace

CodeStep decode_step(std::uint64_t address) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): an address in the code
  const auto* code = reinterpret_cast<const std::uint8_t*>(address);
  bool repeated = false;
  bool narrow = false;  // a branch with such a prefix is not worth decoding
  int length = 0;
  for (; length < kMaxLength && is_prefix(*code); ++length, ++code) {
    repeated = repeated || *code == 0xf2 || *code == 0xf3;
    narrow = narrow || *code == 0x66 || *code == 0x67;
  }
  const std::uint64_t at = address + static_cast<std::uint64_t>(length);
  const std::uint8_t opcode = *code;
  CodeStep step{CodeKind::kPlain, 0, 0, 0};
  if (opcode == 0x0f) {
    step = decode_two_byte(code, at);
  } else if ((opcode & 0xf0) == 0x70) {
    step = {CodeKind::kBranch, static_cast<std::uint8_t>(opcode & 0xf), at + 2, at + 2 + relative8(code + 1)};
  } else if (opcode == 0xeb) {
    step = {CodeKind::kJump, 0, at + 2, at + 2 + relative8(code + 1)};
  } else if (opcode == 0xe9 || opcode == 0xe8) {
    step = {opcode == 0xe8 ? CodeKind::kCall : CodeKind::kJump, 0, at + 5, at + 5 + relative32(code + 1)};
  } else if (opcode == 0x9c || opcode == 0x9d) {
    step = {CodeKind::kFlags, 0, at + 1, 0};
  } else if (opcode == 0xc3 || opcode == 0xc2) {
    step.kind = CodeKind::kReturn;
  } else if ((opcode >= 0xa4 && opcode <= 0xa7) || (opcode >= 0xaa && opcode <= 0xaf)) {
    step.kind = repeated ? CodeKind::kRep : CodeKind::kPlain;
  } else if (opcode == 0xff) {
    const int operation = code[1] >> 3 & 7;  // 2..5: indirect calls and jumps
    step.kind = operation >= 2 && operation <= 5 ? CodeKind::kOther : CodeKind::kPlain;
  } else if ((opcode >= 0xe0 && opcode <= 0xe3) || (opcode >= 0xca && opcode <= 0xcf) || opcode == 0xf1 ||
             opcode == 0xf4 || (opcode == 0xc7 && code[1] == 0xf8)) {
    step.kind = CodeKind::kOther;  // loop, jrcxz; far returns, interrupts; icebp; hlt; xbegin
  }
  const bool branches = step.kind == CodeKind::kJump || step.kind == CodeKind::kCall ||
                        step.kind == CodeKind::kBranch || step.kind == CodeKind::kReturn;
  if (narrow && branches) step.kind = CodeKind::kOther;
  return step;
}

bool branch_is_taken(std::uint8_t condition, std::uint64_t flags) {
  const bool carry = (flags & 0x1) != 0;
  const bool parity = (flags & 0x4) != 0;
  const bool zero = (flags & 0x40) != 0;
  const bool sign = (flags & 0x80) != 0;
  const bool overflow = (flags & 0x800) != 0;
  const bool less = sign != overflow;
  const bool holds[8] = {overflow, carry, zero, carry || zero, sign, parity, less, less || zero};
  return holds[condition >> 1] != ((condition & 1) != 0);
}

}  // namespace commonhold::test
