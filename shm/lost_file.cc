#include "shm/lost_file.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>

namespace commonhold::shm {

namespace {

// What the handler finds without a lock. A place is free while `bytes` is 0, which is stored last and cleared first.
struct Watched {
  std::atomic<std::uintptr_t> base{0};
  std::atomic<std::size_t> bytes{0};
  std::atomic<bool> taken{false};
  char path[256];
};
std::array<Watched, 64> watched;  // mappings beyond these end without a word

void say(const char* text) {
  (void)!write(STDERR_FILENO, text, strlen(text));
}

void on_bus_error(int, siginfo_t* info, void*) {
  // By a process, or by the kernel for memory that nobody touches: then no instruction is run again.
  const bool sent = info->si_code <= 0 || info->si_code == BUS_MCEERR_AO;
  const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (const Watched& place : watched) {
    const std::size_t bytes = place.bytes.load(std::memory_order_acquire);
    if (sent || at - place.base.load(std::memory_order_relaxed) >= bytes) continue;
    say("commonhold: ");
    say(place.path);
    say(": its memory is gone: somebody has truncated the file, or its file system is full. ");
    say("This process ends (SIGBUS). `commonhold doctor` says what is left.\n");
    break;
  }
  // The instruction is run again, and the signal ends the process as if there were no handler.
  signal(SIGBUS, SIG_DFL);
  if (sent) raise(SIGBUS);  // delivered when this returns
}

void install() {
  struct sigaction present {};
  if (sigaction(SIGBUS, nullptr, &present) != 0) return;
  if ((present.sa_flags & SA_SIGINFO) != 0 || present.sa_handler != SIG_DFL) return;
  struct sigaction ours {};
  ours.sa_sigaction = &on_bus_error;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  (void)sigaction(SIGBUS, &ours, nullptr);
}

}  // namespace

void watch_mapping(const std::byte* base, std::size_t bytes, const std::string& path) noexcept {
  static const bool installed = (install(), true);
  (void)installed;
  for (Watched& place : watched) {
    if (place.taken.exchange(true, std::memory_order_acquire)) continue;
    place.path[path.copy(place.path, sizeof place.path - 1)] = 0;
    place.base.store(reinterpret_cast<std::uintptr_t>(base), std::memory_order_relaxed);
    place.bytes.store(bytes, std::memory_order_release);
    return;
  }
}

void unwatch_mapping(const std::byte* base) noexcept {
  for (Watched& place : watched) {
    if (place.bytes.load(std::memory_order_relaxed) == 0 ||
        place.base.load(std::memory_order_relaxed) != reinterpret_cast<std::uintptr_t>(base)) {
      continue;
    }
    place.bytes.store(0, std::memory_order_relaxed);
    place.taken.store(false, std::memory_order_release);
    return;
  }
}

}  // namespace commonhold::shm
