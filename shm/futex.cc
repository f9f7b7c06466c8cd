#include "shm/futex.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shm/wait_stop.h"

namespace commonhold::shm {

FutexWait futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t timeout_ns) {
  if (WaitStop* stop = current_wait_stop; stop != nullptr) return stop->sleep(word, expected, timeout_ns);
  return sleep_on_futex(word, expected, timeout_ns);
}

FutexWait sleep_on_futex(const std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t timeout_ns) {
  timespec timeout{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  long result = syscall(SYS_futex, &word, FUTEX_WAIT, expected, &timeout, nullptr, 0);
  if (result == 0 || errno == EINTR) return FutexWait::kWoken;
  return errno == ETIMEDOUT ? FutexWait::kTimedOut : FutexWait::kChanged;
}

int futex_wake(const std::atomic<std::uint32_t>& word, int count) {
  return static_cast<int>(syscall(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0));
}

void futex_wake_all(const std::atomic<std::uint32_t>& word) {
  futex_wake(word, INT_MAX);
}

}  // namespace commonhold::shm
