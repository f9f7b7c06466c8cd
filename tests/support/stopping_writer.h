// A child process that is stopped by SIGSTOP after every so many of its instructions, wherever that is.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <future>

#include "support/process_shared.h"

namespace commonhold::test {

#if defined(__x86_64__)
inline constexpr bool kCanStopAnywhere = true;

namespace detail {
inline std::uint64_t instructions_left = 0, instructions_between = 0;

inline void on_instruction(int) {
  if (instructions_left-- != 0) return;
  instructions_left = instructions_between;
  (void)raise(SIGSTOP);
}
// The processor's trap flag; 128 bytes below the stack pointer may be in use.
inline void set_trap(bool on) {
  if (on) {
    asm volatile("sub $128, %%rsp; pushfq; orq $0x100, (%%rsp); popfq; add $128, %%rsp" ::: "memory", "cc");
  } else {
    asm volatile("sub $128, %%rsp; pushfq; andq $~0x100, (%%rsp); popfq; add $128, %%rsp" ::: "memory", "cc");
  }
}
}  // namespace detail

// Runs op() in a child that stops after each `between` instructions of it. At each stop check() runs in a thread of
// this process, and gets 20 seconds. How often it did; -1: it did not end, or the child failed.
template <typename Op, typename Check>
int stop_everywhere(std::uint64_t between, Op&& op, Check&& check) {
  const pid_t child = spawn([&] {
    detail::instructions_left = detail::instructions_between = between;
    struct sigaction action {};
    action.sa_handler = detail::on_instruction;
    action.sa_flags = SA_RESTART;
    sigaction(SIGTRAP, &action, nullptr);
    detail::set_trap(true);
    op();
    detail::set_trap(false);
  });
  for (int stops = 0;; ++stops) {
    int status = 0;
    if (waitpid(child, &status, WUNTRACED) != child) return -1;
    if (!WIFSTOPPED(status)) return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? stops : -1;
    auto checking = std::async(std::launch::async, check);
    const bool ended = checking.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
    if (!ended) {
      kill(child, SIGKILL);
      (void)wait_for(child);
      return -1;  // when the check has ended: it waited for the child
    }
    checking.get();
    kill(child, SIGCONT);
  }
}
#else
inline constexpr bool kCanStopAnywhere = false;
template <typename Op, typename Check>
int stop_everywhere(std::uint64_t, Op&&, Check&&) {
  return 0;
}
#endif

}  // namespace commonhold::test
