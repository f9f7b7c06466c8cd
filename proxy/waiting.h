// Waits as the public headers count them (nanoseconds from now, commonhold/detail/lock_calls.h) as deadlines, and what
// ends them before (commonhold/stop.h).
#pragma once

#include <atomic>
#include <chrono>
#include <string>

#include <commonhold/detail/lock_calls.h>

#include "proxy/object.h"
#include "shm/deadline.h"
#include "shm/wait_stop.h"

namespace commonhold::detail {

// Has passed, too, once the thread shall stop, or once `also` is set.
inline shm::Deadline deadline_after(std::int64_t wait, const shm::Cancel* also = nullptr) {
  const shm::Deadline deadline =
      wait == kForever ? shm::Deadline::never() : shm::Deadline::after(std::chrono::nanoseconds(wait));
  if (shm::WaitStop* stop = shm::current_wait_stop; stop != nullptr) [[unlikely]] {
    return deadline.unless(stop->cancel(also != nullptr ? &also->set : nullptr));
  }
  return also != nullptr ? deadline.unless(*also) : deadline;
}

// What the thread was about: "cannot take from queue "orders"".
[[noreturn]] void throw_stopped(const std::string& what);
bool shall_stop();

// After a wait that had no result in time. Always false; throws Stopped where that is the reason.
inline bool out_of_time(std::int64_t wait, Object& object, const char* operation) {
  if (shm::current_wait_stop != nullptr && wait != 0 && shall_stop()) [[unlikely]] {
    throw_stopped(std::string("cannot ") + operation + ' ' + description_of(object));
  }
  return false;
}

}  // namespace commonhold::detail
