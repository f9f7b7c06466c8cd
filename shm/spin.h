// Looking again and again for a few microseconds before sleeping: what another running process is about to do is seen
// without a system call on either side.
#pragma once

#include <cstdint>

namespace commonhold::shm {

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// The pauses grow: one who looks all the time takes the cache line away from the one who is to write it.
inline constexpr int kSpinLooks = 60;
inline constexpr int kLongestPause = 8;

template <typename Ready>
bool spin_until(Ready&& ready) {
  int pauses = 1;
  for (int look = 0; look < kSpinLooks; ++look) {
    if (ready()) return true;
    for (int i = 0; i < pauses; ++i) relax();
    if (pauses < kLongestPause) ++pauses;
  }
  return false;
}

}  // namespace commonhold::shm
