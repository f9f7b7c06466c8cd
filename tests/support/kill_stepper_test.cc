#include "support/kill_stepper.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/kill_test_ground.h"

namespace commonhold::test {
namespace {

void require_clean(const KillReport& report) {
  INFO(report.line());
  REQUIRE(report.ok());
  REQUIRE(report.kills == report.instructions + 1);
  UNSCOPED_INFO("no process may be left");
  REQUIRE(::waitpid(-1, nullptr, WNOHANG) == -1);
  REQUIRE(errno == ECHILD);
}

// How many of the first `count` bytes are `value`, the rest being 0; or -1.
int prefix_length(const std::uint8_t* bytes, std::size_t count, std::uint8_t value) {
  std::size_t length = 0;
  while (length < count && bytes[length] == value) ++length;
  for (std::size_t i = length; i < count; ++i) {
    if (bytes[i] != 0) return -1;
  }
  return static_cast<int>(length);
}

}  // namespace

TEST_CASE("a kill at every instruction of ten stores leaves each prefix of them", "[kill]") {
  KillTestGround ground("ten words");
  volatile std::uint64_t* words = ground.words();
  ground.plan.op = [words] {
    for (std::uint64_t i = 0; i < 10; ++i) words[i] = i + 1;
  };
  std::set<std::size_t> points;
  std::vector<std::size_t> prefixes;
  const KillReport report = ground.run([&](std::size_t k) -> std::string {
    points.insert(k);
    std::size_t length = 0;
    while (length < 10 && words[length] == length + 1) ++length;
    for (std::size_t i = length; i < 10; ++i) {
      if (words[i] != 0) return "word " + std::to_string(i) + " was written before word " + std::to_string(length);
    }
    prefixes.push_back(length);
    return {};
  });
  require_clean(report);
  REQUIRE(report.stores == 10);
  REQUIRE(points.size() == report.instructions + 1);
  REQUIRE(*points.rbegin() == report.instructions);
  REQUIRE(std::is_sorted(prefixes.begin(), prefixes.end()));
  REQUIRE(std::set<std::size_t>(prefixes.begin(), prefixes.end()).size() == 11);
  REQUIRE(prefixes.front() == 0);
  REQUIRE(prefixes.back() == 10);
}

TEST_CASE("a kill in nested loops hits each iteration, one store further each time", "[kill]") {
  KillTestGround ground("nested loops");
  volatile std::uint64_t* words = ground.words();
  ground.plan.op = [words] {
    for (int outer = 0; outer < 12; ++outer) {
      for (int inner = 0; inner <= outer; ++inner) words[0] = words[0] + 1;
      words[1] = words[1] + 1;
    }
  };
  std::set<std::pair<std::uint64_t, std::uint64_t>> seen;
  const KillReport report = ground.run([&](std::size_t) -> std::string {
    seen.insert({words[0], words[1]});
    return {};
  });
  require_clean(report);
  REQUIRE(report.stores == 78 + 12);
  REQUIRE(seen.size() == 78 + 12 + 1);
}

TEST_CASE("memcpy inside libc is killed at each of its instructions", "[kill]") {
  KillTestGround ground("memcpy 4 KiB");
  static std::uint8_t source[4096];
  std::memset(source, 7, sizeof source);
  std::uint8_t* bytes = ground.bytes();
  void* (*volatile copy)(void*, const void*, std::size_t) = &std::memcpy;  // not inlined
  ground.plan.op = [bytes, copy] { copy(bytes, source, sizeof source); };
  std::set<int> seen;
  const KillReport report = ground.run([&](std::size_t) -> std::string {
    // libc copies the ends first, so only the number of bytes is asked.
    seen.insert(static_cast<int>(std::count(bytes, bytes + sizeof source, std::uint8_t{7})));
    return {};
  });
  require_clean(report);
  REQUIRE(seen.count(0) == 1);
  REQUIRE(seen.count(4096) == 1);
  REQUIRE(seen.size() >= 4096 / 64);
  REQUIRE(report.stores >= seen.size() - 1);
}

TEST_CASE("a rep instruction is killed between any two of its iterations", "[kill]") {
  KillTestGround ground("rep stosb, rep movsq");
  std::uint8_t* bytes = ground.bytes();
  ground.plan.op = [bytes] {
    void* to = bytes;
    std::size_t count = 700;
    asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(9) : "memory");
    const void* from = bytes;
    to = bytes + 4096;
    count = 40;
    asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    count = 0;
    asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  };
  std::set<int> set;
  std::set<int> moved;
  const KillReport report = ground.run([&](std::size_t) -> std::string {
    set.insert(prefix_length(bytes, 4096, 9));
    moved.insert(prefix_length(bytes + 4096, 4096, 9));
    return {};
  });
  require_clean(report);
  REQUIRE(report.stores == 740);
  REQUIRE(set.size() == 701);
  REQUIRE(*set.begin() == 0);
  REQUIRE(moved.size() == 41);
  REQUIRE(*moved.begin() == 0);
}

TEST_CASE("a system call happens whole or not at all, and the moment behind it is hit", "[kill]") {
  KillTestGround ground("write to a pipe");
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  volatile std::uint64_t* words = ground.words();
  ground.plan.op = [words, ends] {
    words[0] = 1;
    (void)!::syscall(SYS_write, ends[1], "x", 1);
    words[1] = 1;
  };
  const auto drain = [ends] {
    char byte;
    pid_t child = ::fork();  // a verify() may fork
    if (child == 0) ::_exit(7);
    int status = 0;
    ::waitpid(child, &status, 0);
    int ready = 0;
    return WEXITSTATUS(status) == 7 && ::ioctl(ends[0], FIONREAD, &ready) == 0 && ready == 1 &&
           ::read(ends[0], &byte, 1) == 1;
  };
  ground.plan.prepare = [prepare = ground.plan.prepare, drain] {
    prepare();
    drain();
  };
  std::set<std::string> states;
  const KillReport report = ground.run([&](std::size_t) -> std::string {
    states.insert(std::to_string(words[0]) + (drain() ? "sent" : "-") + std::to_string(words[1]));
    return {};
  });
  ::close(ends[0]);
  ::close(ends[1]);
  require_clean(report);
  REQUIRE(states == std::set<std::string>{"0-0", "1-0", "1sent0", "1sent1"});
}

TEST_CASE("the kernel may write to the shared range during the recording", "[kill]") {
  KillTestGround ground("read from a file");
  const int zero = ::open("/dev/zero", O_RDONLY);
  volatile std::uint64_t* words = ground.words();
  words[8] = 5;
  ground.save();
  ground.plan.op = [words, zero] {
    words[0] = static_cast<std::uint64_t>(::syscall(SYS_read, zero, const_cast<std::uint64_t*>(words + 8), 8));
  };
  std::set<std::pair<std::uint64_t, std::uint64_t>> seen;
  const KillReport report = ground.run([&](std::size_t) -> std::string {
    seen.insert({words[8], words[0]});
    return {};
  });
  ::close(zero);
  require_clean(report);
  REQUIRE(seen == std::set<std::pair<std::uint64_t, std::uint64_t>>{{5, 0}, {0, 0}, {0, 8}});
}

TEST_CASE("a path that differs between the recordings is a failure", "[kill]") {
  KillTestGround ground("differs at once");
  volatile std::uint64_t* words = ground.words();
  ground.plan.op = [words, &ground] {
    for (int i = 0; i < 5 + ground.runs(); ++i) words[0] = 1;
  };
  ground.plan.max_failures = 1;
  const KillReport report = ground.run();
  INFO(report.line());
  REQUIRE_FALSE(report.ok());
  REQUIRE(report.failures.size() == 1);
  REQUIRE_THAT(report.failures[0].what, Catch::Contains("the path differs between two recordings at instruction"));
}

TEST_CASE("a path that differs in a killed run is a failure that names k and the symbol", "[kill]") {
  KillTestGround ground("differs later");
  volatile std::uint64_t* words = ground.words();
  ground.plan.op = [words, &ground] {
    for (int i = 0; i < 50; ++i) {
      if (i == 30 && ground.runs() > 2) break;
      words[0] = words[0] + 1;
    }
  };
  const KillReport report = ground.run();
  INFO(report.line());
  REQUIRE(report.failures.size() == ground.plan.max_failures);
  const KillFailure& failure = report.failures[0];
  REQUIRE(failure.k > 100);
  REQUIRE(failure.k + report.failures.size() < report.instructions);
  REQUIRE(failure.rip != 0);
  REQUIRE_THAT(failure.what, Catch::Contains("killed at " + std::to_string(failure.k) + " of "));
  REQUIRE_THAT(failure.what, Catch::Contains("the path differed: the operation ended after"));
  REQUIRE_THAT(failure.what, Catch::Contains("+0x"));
}

TEST_CASE("a victim that hangs is a failure that says where", "[kill]") {
  KillTestGround ground("hangs");
  volatile std::uint64_t* words = ground.words();
  ground.plan.op = [words, &ground] {
    for (int i = 0; i < 20; ++i) words[i] = 1;
    while (ground.runs() > 2) words[30] = 1;
    words[31] = 1;
  };
  ground.plan.timeout_ms = 300;
  ground.plan.max_failures = 1;
  const KillReport report = ground.run();
  INFO(report.line());
  REQUIRE(report.failures.size() == 1);
  REQUIRE(report.kills == report.failures[0].k);
  REQUIRE(report.failures[0].rip != 0);
  REQUIRE_THAT(report.failures[0].what, Catch::Contains("the victim hung for 300 ms at "));
}

TEST_CASE("a victim that crashes, and an enter that throws, are failures", "[kill]") {
  KillTestGround ground("crashes");
  volatile std::uint64_t* words = ground.words();
  ground.plan.max_failures = 1;
  SECTION("in the operation while it is recorded") {
    volatile int* volatile nowhere = nullptr;
    ground.plan.op = [&nowhere] { *nowhere = 1; };
    const KillReport report = ground.run();
    REQUIRE_THAT(report.line(), Catch::Contains("recording: the victim crashed by signal 11 at "));
  }
  SECTION("in the operation on the way to the kill") {
    ground.plan.op = [words, &ground] {
      if (ground.runs() > 2) std::abort();
      words[0] = 1;
    };
    const KillReport report = ground.run();
    REQUIRE_THAT(report.line(), Catch::Contains("the victim crashed by signal 6 at "));
  }
  SECTION("in enter, by an exception") {
    ground.plan.op = [words] { words[0] = 1; };
    ground.plan.enter = [] { throw std::runtime_error("no manager there"); };
    const KillReport report = ground.run();
    REQUIRE(report.kills == 0);
    REQUIRE_THAT(report.line(), Catch::Contains("enter threw: no manager there"));
  }
  SECTION("by an operation that is longer than allowed") {
    ground.plan.op = [words] {
      for (int i = 0; i < 1000; ++i) words[0] = 1;
    };
    ground.plan.max_instructions = 1000;
    const KillReport report = ground.run();
    REQUIRE(report.kills == 0);
    REQUIRE_THAT(report.line(), Catch::Contains("the operation has more than 1,000 instructions"));
  }
}

TEST_CASE("what verify finds wrong is a failure, and the run stops after a few", "[kill]") {
  KillTestGround ground("wrong");
  volatile std::uint64_t* words = ground.words();
  ground.plan.op = [words] {
    for (int i = 0; i < 20; ++i) words[i] = 1;
  };
  const auto check = [words](std::size_t k) -> std::string {
    if (words[4] != 0 && k % 2 == 0) throw std::runtime_error("thrown");
    return words[4] != 0 ? "word 4 is there" : "";
  };
  const KillReport report = ground.run(check);
  REQUIRE(report.failures.size() == 3);
  REQUIRE_THAT(report.line(), Catch::Contains("3 failures") && Catch::Contains("word 4 is there") &&
                                  Catch::Contains("verify threw: thrown"));
  struct NotAnException {};
  REQUIRE_THROWS_AS(ground.run([](std::size_t) -> std::string { throw NotAnException(); }), NotAnException);
  REQUIRE(::waitpid(-1, nullptr, WNOHANG) == -1);
}

TEST_CASE("what the caller does with its heap does not change a victim's path", "[kill]") {
  KillTestGround ground("malloc");
  volatile std::uint64_t* words = ground.words();
  ground.plan.op = [words] {
    for (std::size_t size = 16; size < 1024; size *= 2) {
      std::vector<std::uint64_t> block(size / 8, size);
      words[0] = words[0] + block.back();
    }
  };
  std::vector<std::vector<char>> kept;
  std::size_t bytes = 1;
  require_clean(ground.run([&](std::size_t) -> std::string {
    kept.emplace_back(bytes = (bytes * 7 + 13) % 5000);
    if (kept.size() % 3 == 0) kept.erase(kept.begin());
    return {};
  }));
}

TEST_CASE("victims can come from a process that has other threads", "[kill]") {
  KillTestGround ground("among threads");
  volatile std::uint64_t* words = ground.words();
  std::atomic<bool> stop = false;
  std::vector<std::thread> others;
  others.reserve(3);
  for (int i = 0; i < 3; ++i) {
    others.emplace_back([&stop] {
      while (!stop) {
        std::vector<char> busy(1000);
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    });
  }
  ground.plan.op = [words] {
    std::vector<std::uint64_t> block(10, 1);
    for (std::size_t i = 0; i < block.size(); ++i) words[i] = block[i];
  };
  const KillReport report = ground.run();
  stop = true;
  for (std::thread& other : others) other.join();
  require_clean(report);
}

TEST_CASE("a kill plan runs inside verify, on the memory that the outer kill left", "[kill]") {
  KillTestGround ground("outer");
  volatile std::uint64_t* words = ground.words();
  ground.plan.op = [words] {
    for (std::uint64_t i = 0; i < 10; ++i) words[i] = i + 1;
  };
  std::size_t inner_kills = 0;
  const KillReport report = ground.run([&](std::size_t k) -> std::string {
    if (k % 8 != 0) return {};
    SharedImage crashed(ground.plan.shared);
    KillPlan inner;
    inner.name = "recovery after " + std::to_string(k);
    inner.prepare = [&crashed] { crashed.restore(); };
    inner.op = [words] {
      std::size_t length = 0;
      while (words[length] != 0) ++length;
      while (length > 0) words[--length] = 0;
    };
    inner.verify = [words](pid_t, std::size_t) -> std::string {
      std::size_t length = 0;
      while (words[length] != 0) ++length;
      while (length < 10 && words[length] == 0) ++length;
      return length == 10 ? "" : "a hole before word " + std::to_string(length);
    };
    const KillReport second = run_kill_plan(inner);
    inner_kills += second.kills;
    return second.ok() ? "" : second.line();
  });
  require_clean(report);
  REQUIRE(inner_kills > 100);
}

}  // namespace commonhold::test
