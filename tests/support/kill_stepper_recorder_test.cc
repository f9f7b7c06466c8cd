// What the recorder foresees of jumps. run_kill_plan() compares each recording with one by the trap flag alone.
#include "support/kill_stepper_recorder.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>

#include "support/kill_stepper_decode.h"
#include "support/kill_test_ground.h"

namespace commonhold::test {

TEST_CASE("each conditional jump is foreseen under each combination of flags", "[kill]") {
  const auto jumps = [](std::uint8_t condition, std::uint64_t flags) {
    std::uint8_t holds[16];
    asm volatile(
        "subq $128, %%rsp\n pushq %1\n popfq\n"  // past the red zone
        "seto (%0)\n setno 1(%0)\n setb 2(%0)\n setae 3(%0)\n sete 4(%0)\n setne 5(%0)\n setbe 6(%0)\n"
        "seta 7(%0)\n sets 8(%0)\n setns 9(%0)\n setp 10(%0)\n setnp 11(%0)\n setl 12(%0)\n setge 13(%0)\n"
        "setle 14(%0)\n setg 15(%0)\n leaq 128(%%rsp), %%rsp\n"
        :
        : "r"(holds), "r"(flags)
        : "cc", "memory");
    return holds[condition] != 0;
  };
  for (std::uint64_t i = 0; i < 32; ++i) {
    const std::uint64_t flags = 0x202 | (i & 1) | (i & 2) << 1 | (i & 4) << 4 | (i & 8) << 4 | (i & 16) << 7;
    for (std::uint8_t condition = 0; condition < 16; ++condition) {
      INFO("condition " << int{condition} << ", flags " << flags);
      REQUIRE(branch_is_taken(condition, flags) == jumps(condition, flags));
    }
  }
}

TEST_CASE("instructions are told by where they go", "[kill]") {
  const auto decode = [](std::initializer_list<int> bytes) {
    static std::uint8_t code[16];
    std::uint8_t* to = code;
    for (const int byte : bytes) *to++ = static_cast<std::uint8_t>(byte);
    CodeStep step = decode_step(reinterpret_cast<std::uint64_t>(code));
    step.next -= reinterpret_cast<std::uint64_t>(code);  // relative
    step.target -= reinterpret_cast<std::uint64_t>(code);
    return step;
  };
  REQUIRE(decode({0x74, 0x10}).kind == CodeKind::kBranch);
  REQUIRE(decode({0x74, 0x10}).condition == 4);
  REQUIRE(decode({0x74, 0x10}).target == 0x12);
  REQUIRE(decode({0x0f, 0x8f, 0xfa, 0xff, 0xff, 0xff}).target == 0);
  REQUIRE(decode({0x3e, 0x0f, 0x8f, 0, 1, 0, 0}).target == 0x107);
  REQUIRE(decode({0x3e, 0x0f, 0x8f, 0, 1, 0, 0}).next == 7);
  REQUIRE(decode({0xe8, 0, 0, 0, 0}).kind == CodeKind::kCall);
  REQUIRE(decode({0xe8, 0, 0, 0, 0}).target == 5);
  REQUIRE(decode({0xf3, 0xc3}).kind == CodeKind::kReturn);
  REQUIRE(decode({0xff, 0xd0}).kind == CodeKind::kOther);
  REQUIRE(decode({0xff, 0x25, 0, 0, 0, 0}).kind == CodeKind::kOther);
  REQUIRE(decode({0xff, 0x00}).kind == CodeKind::kPlain);
  REQUIRE(decode({0x0f, 0x05}).kind == CodeKind::kSyscall);
  REQUIRE(decode({0x9d}).kind == CodeKind::kFlags);
  REQUIRE(decode({0xf3, 0xa4}).kind == CodeKind::kRep);
  REQUIRE(decode({0xf3, 0x48, 0xab}).kind == CodeKind::kRep);
  REQUIRE(decode({0x66, 0xf3, 0xa5}).kind == CodeKind::kRep);
  REQUIRE(decode({0xf2, 0xae}).kind == CodeKind::kRep);
  REQUIRE(decode({0xa4}).kind == CodeKind::kPlain);
  REQUIRE(decode({0xf3, 0x0f, 0x6f, 0x07}).kind == CodeKind::kPlain);
  REQUIRE(decode({0xc5, 0xfe, 0x7f, 0x07}).kind == CodeKind::kPlain);
}

TEST_CASE("all ways to jump are recorded as the processor goes", "[kill]") {
  KillTestGround ground("jumps");
  volatile std::uint64_t* words = ground.words();
  ground.plan.op = [words] {
    std::uint64_t sum = 0;
    asm volatile(
        "movl $9, %%ecx\n 1: incq %0\n loop 1b\n"                                 // loop
        "movl $7, %%ecx\n 2: jrcxz 3f\n decq %%rcx\n incq %0\n jmp 2b\n 3:\n"     // jrcxz
        "movl $5, %%ecx\n 4: decl %%ecx\n jnz 4b\n"                               // a loop of two
        "leaq 5f(%%rip), %%rax\n movl $3, %%ecx\n 6: jmpq *%%rax\n 5: incq %0\n"  // indirect jump
        "decl %%ecx\n jnz 6b\n"
        "subq $128, %%rsp\n leaq 7f(%%rip), %%rax\n movl $4, %%ecx\n"                  // past the red zone
        "8: pushq $1\n pushq $2\n callq *%%rax\n callq 9f\n decl %%ecx\n jnz 8b\n"     // calls, ret 8
        "pushfq\n popq %%rax\n testl $0x100, %%eax\n jz 10f\n addq $1000, %0\n 10:\n"  // no trap flag to see
        "pushq $0x2d7\n popfq\n jnc 11f\n incq %0\n 11:\n"
        "subq $-128, %%rsp\n jmp 12f\n"
        "7: incq %0\n retq $8\n 9: incq %0\n retq $8\n 12:\n"
        : "+r"(sum)
        :
        : "rax", "rcx", "cc", "memory");
    words[0] = sum;
  };
  std::set<std::uint64_t> seen;
  const KillReport report = ground.run([&](std::size_t) -> std::string {
    seen.insert(std::uint64_t{words[0]});
    return {};
  });
  INFO(report.line());
  REQUIRE(report.ok());
  REQUIRE(report.stores == 1);
  REQUIRE(seen == std::set<std::uint64_t>{0, 9 + 7 + 3 + 8 + 1});
}

}  // namespace commonhold::test
