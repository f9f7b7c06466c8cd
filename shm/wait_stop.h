// Ends a thread's waits from another thread of its process, at once, without a change in the segment.
//
// The thread says in a word of its own on which futex it is about to sleep, then looks whether it shall stop. Whoever
// stops it sets the flag, then looks at that word, and wakes the futex again and again until the thread says that it no
// longer sleeps there: the first wake-up may come before the thread is asleep. Others who sleep on the futex wake, too,
// look and sleep on. What a wait does about the flag is up to its deadline, which has passed once it is set; waits inside
// the library, which no deadline ends, only look more often.
#pragma once

#include <atomic>
#include <cstdint>

#include "shm/deadline.h"
#include "shm/futex.h"

namespace commonhold::shm {

class WaitStop {
 public:
  WaitStop() = default;
  WaitStop(const WaitStop&) = delete;
  WaitStop& operator=(const WaitStop&) = delete;

  // Any thread; returns when the thread is awake.
  void request() noexcept;
  bool requested() const { return cancel_.set.load(std::memory_order_seq_cst); }
  // Of its own thread: for the deadline of one call, which another flag may end as well.
  const Cancel& cancel(const std::atomic<bool>* also = nullptr) {
    cancel_.also = also;
    return cancel_;
  }
  // Of its own thread: as futex_wait().
  FutexWait sleep(const std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t timeout_ns);

 private:
  Cancel cancel_;
  // SYNC POINT: stoppable sleep; stored before the look at the flag, which is set before the look at this.
  std::atomic<const std::atomic<std::uint32_t>*> sleeps_on_{nullptr};
};

// What ends this thread's waits; nullptr: nothing.
extern constinit thread_local WaitStop* current_wait_stop __attribute__((tls_model("initial-exec")));

}  // namespace commonhold::shm
