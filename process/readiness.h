// poll with a deadline; EINTR is never seen.
#pragma once

#include <poll.h>

#include <cstdint>
#include <span>

namespace commonhold::detail {

// How many of them are ready, within `wait` nanoseconds (lock_calls.h). Throws SystemError.
int wait_ready(std::span<pollfd> descriptors, std::int64_t wait);

}  // namespace commonhold::detail
