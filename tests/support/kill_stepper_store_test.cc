// Which stores the kill stepper finds, and sampling by them.
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "support/kill_stepper.h"
#include "support/kill_stepper_victim.h"
#include "support/kill_test_ground.h"

namespace commonhold::test {
namespace {

// The points k at which the memory is not what it was at k - 1: the truth about the stores that changed something.
class ChangeFinder {
 public:
  explicit ChangeFinder(const KillTestGround& ground) : ground_(ground), last_(ground.plan.shared) {}

  std::string operator()(std::size_t k) {
    points.push_back(k);
    if (last_.differs()) changed.push_back(k);
    last_.save();
    return {};
  }

  std::vector<std::size_t> points;
  std::vector<std::size_t> changed;

 private:
  const KillTestGround& ground_;
  SharedImage last_;
};

// Runs the operation twice: killed everywhere, and killed around its stores only. Every instruction that changed
// memory must have kill points on both sides in the second run; `silent` stores change nothing, but count.
void require_stores_found(KillTestGround& ground, std::size_t changing, std::size_t silent) {
  ChangeFinder everywhere(ground);
  const KillReport all = ground.run(std::ref(everywhere));
  INFO(all.line());
  REQUIRE(all.ok());
  REQUIRE(everywhere.changed.size() == changing);
  REQUIRE(all.stores == changing + silent);

  ground.plan.prepare();
  ground.plan.max_every = 0;
  ground.plan.sample = 0;
  ChangeFinder sampled(ground);
  const KillReport some = ground.run(std::ref(sampled));
  INFO(some.line());
  REQUIRE(some.ok());
  REQUIRE(some.stores == all.stores);
  REQUIRE(sampled.changed == everywhere.changed);
  const std::set<std::size_t> points(sampled.points.begin(), sampled.points.end());
  for (const std::size_t k : everywhere.changed) REQUIRE(points.count(k - 1) == 1);
  REQUIRE(points.size() <= 2 * all.stores + 2);
}

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0;
}

}  // namespace

TEST_CASE("stores of every general kind are found", "[kill]") {
  KillTestGround ground("general stores");
  std::uint8_t* bytes = ground.bytes();
  std::memset(bytes + 4096, 0x55, 64);
  ground.save();
  ground.plan.op = [bytes] {
    asm volatile(
        "movb $1, (%0)\n movw $2, 64(%0)\n movl $3, 128(%0)\n movq $4, 192(%0)\n"
        "movl $7, %%eax\n movq %%rax, 256(%0)\n movnti %%rax, 320(%0)\n xchgq %%rax, 384(%0)\n"
        "movl $9, %%eax\n lock xaddl %%eax, 448(%0)\n"
        "xorl %%eax, %%eax\n movl $5, %%ecx\n lock cmpxchgl %%ecx, 512(%0)\n"
        "xorl %%eax, %%eax\n xorl %%edx, %%edx\n movl $6, %%ebx\n movl $6, %%ecx\n lock cmpxchg16b 576(%0)\n"
        "incb 640(%0)\n negq 192(%0)\n lock btsl $3, 704(%0)\n stc\n setc 768(%0)\n"
        "movq %%rsp, %%r8\n leaq 900(%0), %%rsp\n pushq $77\n callq 1f\n 1: addq $8, %%rsp\n popq 832(%0)\n"
        "movq %%r8, %%rsp\n"
        "movups 4096(%0), %%xmm0\n movups %%xmm0, 1024(%0)\n movntdq %%xmm0, 1088(%0)\n movlps %%xmm0, "
        "1152(%0)\n"
        "movd %%xmm0, 1216(%0)\n pextrw $0, %%xmm0, %%eax\n movw %%ax, 1280(%0)\n fld1\n fstpl 1344(%0)\n"
        "fxsave 1536(%0)\n stmxcsr 2112(%0)\n"
        "leaq 2176(%0), %%rdi\n leaq 4096(%0), %%rsi\n movsq\n stosb\n movl $3, %%ecx\n rep movsb\n"
        "movabsq $0x0102030405060708, %%rax\n movq %%rax, 4092(%0)\n"         // over a page's end
        "movq 4096(%0), %%rax\n prefetchw 4096(%0)\n cmpq %%rax, 4104(%0)\n"  // loads
        "movl $1, %%eax\n lock cmpxchgl %%ecx, 512(%0)\n"                     // fails: writes what it read
        "movq $0, 3000(%0)\n"                                                 // no change
        :
        : "r"(bytes)
        : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "xmm0", "cc", "memory", "st");
  };
  require_stores_found(ground, 31, 2);
}

TEST_CASE("stores of AVX and AVX-512 are found, scattered and masked ones too", "[kill]") {
  if (!has_avx512()) return;
  KillTestGround ground("vector stores");
  std::uint8_t* bytes = ground.bytes();
  ground.plan.op = [bytes] {
    asm volatile(
        "vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n vmovdqu %%ymm0, (%0)\n vmovdqa %%ymm0, 64(%0)\n vmovups %%xmm0, "
        "128(%0)\n"
        "vextracti128 $1, %%ymm0, 192(%0)\n vpextrq $1, %%xmm0, 256(%0)\n vmovntdq %%ymm0, 320(%0)\n"
        "vmaskmovps %%ymm0, %%ymm0, 384(%0)\n"
        "vpternlogd $0xff, %%zmm0, %%zmm0, %%zmm0\n vmovdqu64 %%zmm0, 448(%0)\n"
        "movl $5, %%eax\n kmovw %%eax, %%k1\n vmovdqu32 %%zmm0, 512(%0)%{%%k1%}\n vpcompressd %%zmm0, "
        "576(%0)%{%%k1%}\n"
        "movl $0x4100, %%eax\n vmovd %%eax, %%xmm1\n vpbroadcastd %%xmm1, %%zmm1\n kmovw %%k1, %%k2\n"
        "vpscatterdd %%zmm0, (%0,%%zmm1)%{%%k2%}\n"
        "vpmovqb %%zmm0, 640(%0)\n kxorw %%k3, %%k3, %%k3\n vmovdqu32 %%zmm0, 704(%0)%{%%k3%}\n"  // the last:
                                                                                                  // none
        "vzeroupper\n"
        :
        : "r"(bytes)
        : "rax", "xmm0", "xmm1", "memory");
  };
  require_stores_found(ground, 12, 0);
}

TEST_CASE("stores outside of the shared ranges do not count", "[kill]") {
  KillTestGround ground("a part of a page");
  volatile std::uint64_t* words = ground.words();
  ground.plan.shared = {{ground.bytes() + 64, 64}, {ground.bytes() + 8192, 4096}};
  ground.plan.op = [words] {
    std::vector<int> mine(100, 1);
    words[0] = 1;
    words[8] = static_cast<std::uint64_t>(mine[3]);
    words[15] = 1;
    words[16] = 1;
    words[1024] = 1;
    words[4096] = 1;
  };
  const KillReport report = ground.run();
  INFO(report.line());
  REQUIRE(report.ok());
  REQUIRE(report.stores == 3);
}

TEST_CASE("a long operation is killed around each store and at sampled instructions", "[kill]") {
  KillTestGround ground("a long loop");
  volatile std::uint64_t* words = ground.words();
  ground.plan.op = [words] {
    for (std::uint64_t i = 0; i < 6'000; ++i) {
      asm volatile("" : : "r"(i));
      if (i % 300 == 0) words[i / 300] = i + 1;
    }
  };
  ground.plan.sample = 50;
  std::set<std::size_t> lengths;
  std::size_t last = 0;
  bool ordered = true;
  const KillReport report = ground.run([&](std::size_t k) -> std::string {
    ordered = ordered && (k == 0 || k > last);
    last = k;
    std::size_t length = 0;
    while (words[length] != 0) ++length;
    lengths.insert(length);
    return {};
  });
  INFO(report.line());
  REQUIRE(report.ok());
  REQUIRE(report.instructions > ground.plan.max_every);
  REQUIRE(report.stores == 20);
  REQUIRE(report.kills > 80);
  REQUIRE(report.kills <= 2 * 20 + 2 + 50);
  REQUIRE(lengths.size() == 21);
  REQUIRE(ordered);
  REQUIRE(last == report.instructions);
}

TEST_CASE("an image is restored to the byte by writing the pages that differ", "[kill]") {
  constexpr std::size_t page = 4096;
  SharedBuffer memory(10 * page);
  auto* bytes = static_cast<std::uint8_t*>(memory.data());
  std::memset(bytes, 3, memory.length());
  SharedImage image({{bytes, 5 * page + 100}, {bytes + 6 * page, page}});
  REQUIRE_FALSE(image.differs());
  REQUIRE(image.restore() == 0);
  bytes[0] = bytes[page - 1] = bytes[5 * page + 99] = bytes[7 * page - 1] = 4;
  bytes[5 * page + 100] = bytes[7 * page] = 4;  // not in the image
  REQUIRE(image.differs());
  REQUIRE(image.restore() == 3);
  REQUIRE_FALSE(image.differs());
  REQUIRE(bytes[0] == 3);
  REQUIRE(bytes[5 * page + 99] == 3);
  REQUIRE(bytes[5 * page + 100] == 4);
  bytes[1] = 5;
  image.save();
  bytes[1] = 6;
  REQUIRE(image.restore() == 1);
  REQUIRE(bytes[1] == 5);
}

}  // namespace commonhold::test
