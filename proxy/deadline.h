// Waits as the public headers count them (nanoseconds from now, commonhold/detail/lock_calls.h) as deadlines.
#pragma once

#include <chrono>

#include <commonhold/detail/lock_calls.h>

#include "shm/deadline.h"

namespace commonhold::detail {

inline shm::Deadline deadline_after(std::int64_t wait) {
  return wait == kForever ? shm::Deadline::never() : shm::Deadline::after(std::chrono::nanoseconds(wait));
}

}  // namespace commonhold::detail
