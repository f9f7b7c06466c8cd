// How a reader without a lock gets on while writers keep coming in between.
#pragma once

#include <chrono>

#include "shm/status.h"
#include "shm/timed_lock.h"

namespace commonhold::shm {

// attempt() until it says something else than kRetry: `tries` times without the lock, then with it, if it is to be had
// within a moment. If not, its holder may be stopped, and then disturbs nobody: the next attempts succeed. So no reader
// waits for a process that is stopped.
template <typename Attempt>
Status read_undisturbed(ThreadContext& me, LockWord& writing, int tries, Attempt&& attempt) {
  constexpr std::chrono::milliseconds kTriesLock{1};
  for (;;) {
    for (int i = 0; i < tries; ++i) {
      const Status status = attempt();
      if (status != Status::kRetry) return status;
    }
    const TimedLockGuard held(me, writing, Deadline::after(kTriesLock));
    if (held) return attempt();
  }
}

}  // namespace commonhold::shm
