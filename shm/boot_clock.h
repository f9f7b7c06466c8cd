// The clock that goes on while the machine sleeps, as records in the segment tell the time.
#pragma once

#include <time.h>

#include "shm/words.h"

namespace commonhold::shm {

inline Word boot_clock_ns() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<Word>(now.tv_sec) * 1'000'000'000 + static_cast<Word>(now.tv_nsec);
}

}  // namespace commonhold::shm
