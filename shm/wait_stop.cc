#include "shm/wait_stop.h"

#include <time.h>

#include <algorithm>

namespace commonhold::shm {

namespace {

constexpr std::int64_t kStoppedNapNs = 1'000'000;  // of a wait inside the library, once the thread shall stop
constexpr timespec kWakeAgain{0, 50'000};

}  // namespace

constinit thread_local WaitStop* current_wait_stop = nullptr;

void WaitStop::request() noexcept {
  cancel_.set.store(true, std::memory_order_seq_cst);
  // SYNC POINT: stoppable sleep.
  while (const auto* futex = sleeps_on_.load(std::memory_order_seq_cst)) {
    futex_wake_all(*futex);
    nanosleep(&kWakeAgain, nullptr);
  }
}

FutexWait WaitStop::sleep(const std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t timeout_ns) {
  sleeps_on_.store(&word, std::memory_order_seq_cst);
  if (requested()) timeout_ns = std::min(timeout_ns, kStoppedNapNs);
  const FutexWait result = sleep_on_futex(word, expected, timeout_ns);
  sleeps_on_.store(nullptr, std::memory_order_release);
  return result;
}

}  // namespace commonhold::shm
