// The kernel knows all threads: /proc/self/task. A look at each tells
//
//   status    what signals it takes (the library's own threads have a set of their own: shm/blocked_signals.h), whether it is
//             asleep, and how often it was switched away from: whoever has run since the last look has another number
//   syscall   what it is asleep in
#include "process/unjoined_threads.h"

#include <commonhold/detail/quiet_threads.h>
#include <dirent.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace commonhold::detail {

namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kIdle = std::chrono::seconds(1);
constexpr auto kFirstNap = std::chrono::milliseconds(1), kLongestNap = std::chrono::milliseconds(50);

struct Look {
  bool there = false;
  bool is_ours = false;       // the library's own
  bool waits = false;         // for somebody else, in the kernel
  std::string switches = {};  // grows when it runs
};

std::string line_after(const std::string& text, const std::string& name) {
  const std::size_t at = text.find("\n" + name + ":\t");
  if (at == std::string::npos) return {};
  const std::size_t from = at + name.size() + 3;
  return text.substr(from, text.find('\n', from) - from);
}

std::string content_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// As the kernel says it.
std::uint64_t mask_of(const sigset_t& set) {
  std::uint64_t mask = 0;
  for (int number = 1; number <= 64; ++number) {
    const bool can_be = number != SIGKILL && number != SIGSTOP;
    if (can_be && sigismember(&set, number) == 1) mask |= std::uint64_t(1) << (number - 1);
  }
  return mask;
}

// What threads that are not the program's have blocked. Exactly these: a thread that begins has all signals blocked, and
// threads of the program's may block some.
std::vector<std::uint64_t> masks_of_quiet_threads() {
  sigset_t set;
  {
    const BlockedSignals blocked;
    pthread_sigmask(SIG_SETMASK, nullptr, &set);
  }
  std::vector<std::uint64_t> masks{mask_of(set)};
#if defined(__SANITIZE_THREAD__)
  sigfillset(&set);  // the sanitizer's own thread
  masks.push_back(mask_of(set));
#endif
  return masks;
}

Look look_at(const std::string& thread, const std::vector<std::uint64_t>& quiet) {
  const std::string folder = "/proc/self/task/" + thread, status = content_of(folder + "/status");
  Look look;
  const std::string state = line_after(status, "State"), blocked = line_after(status, "SigBlk");
  look.there = !state.empty() && state[0] != 'Z' && state[0] != 'X';
  std::uint64_t mask = 0;
  (void)std::from_chars(blocked.data(), blocked.data() + blocked.size(), mask, 16);
  look.is_ours = std::find(quiet.begin(), quiet.end(), mask) != quiet.end();
  look.switches = line_after(status, "voluntary_ctxt_switches") + line_after(status, "nonvoluntary_ctxt_switches");
  const std::string call =
      content_of(folder + "/syscall");  // its number first; "running"; empty where it may not be read
  const std::string number = call.substr(0, call.find(' '));
  look.waits = !state.empty() && state[0] == 'S' && number != std::to_string(SYS_nanosleep) &&
               number != std::to_string(SYS_clock_nanosleep);
  return look;
}

std::vector<std::string> other_threads() {
  std::vector<std::string> others;
  DIR* all = ::opendir("/proc/self/task");
  if (all == nullptr) return others;
  const std::string own = std::to_string(::getpid());
  while (const dirent* one = ::readdir(all)) {
    if (one->d_name[0] != '.' && own != one->d_name) others.emplace_back(one->d_name);
  }
  ::closedir(all);
  return others;
}

}  // namespace

void await_unjoined_threads() noexcept {
  if (::syscall(SYS_gettid) != ::getpid()) return;
  struct Seen {
    std::string switches;
    Clock::time_point since;
  };
  try {
    std::map<std::string, Seen> seen;
    const std::vector<std::uint64_t> quiet = masks_of_quiet_threads();
    for (Clock::duration nap = kFirstNap;; nap = std::min<Clock::duration>(2 * nap, kLongestNap)) {
      bool any = false;
      const auto now = Clock::now();
      for (const std::string& thread : other_threads()) {
        const Look look = look_at(thread, quiet);
        if (!look.there || look.is_ours) continue;
        Seen& before = seen[thread];
        if (!look.waits || before.switches != look.switches) before = {look.switches, now};
        any = any || now - before.since < kIdle;
      }
      if (!any) return;
      std::this_thread::sleep_for(nap);
    }
  } catch (...) {
    // No memory left: they end with the process.
  }
}

}  // namespace commonhold::detail
