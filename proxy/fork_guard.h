// What this process must know about its own forks: one mutex that is held across every fork, and how many forks lie
// between this process and the first of its program.
//
// Thread safety: any thread. The mutex is taken before any of shm/'s, and nobody who holds it waits for another process:
// a fork would wait with it.
#pragma once

#include <mutex>

namespace commonhold::detail {

class ForkGuard {
 public:
  // REQUIRES: at first, that shm/ has registered its own fork handlers (a segment was opened).
  static ForkGuard& instance();

  std::mutex mutex;
  // 1 in the first process; a forked child has one more than its parent. Whatever was made in another generation
  // belongs to another process.
  unsigned generation() const;

 private:
  ForkGuard();
};

}  // namespace commonhold::detail
