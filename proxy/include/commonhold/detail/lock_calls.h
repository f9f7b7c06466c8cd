// Locks as the templates and Lock use them. Time is nanoseconds from now; kForever waits without end, 0 tries once.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>

#include <commonhold/detail/call.h>
#include <commonhold/detail/object_handle.h>

namespace commonhold::detail {

inline constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();

// Any duration; a negative one is one attempt, one beyond the clock's range is for ever.
template <typename Rep, typename Period>
constexpr std::int64_t to_wait(const std::chrono::duration<Rep, Period>& duration) {
  using Seconds = std::chrono::duration<double>;
  const double seconds = std::chrono::duration_cast<Seconds>(duration).count();
  if (!(seconds > 0)) return 0;
  if (seconds > 4e9) return kForever;
  // Rounded up: a wait may end late, never early.
  return std::chrono::ceil<std::chrono::nanoseconds>(duration).count();
}
template <typename Clock, typename Duration>
std::int64_t to_wait(const std::chrono::time_point<Clock, Duration>& when) {
  const auto now = Clock::now();
  return when > now ? to_wait(when - now) : 0;  // the difference to a distant past would overflow
}

// Lock objects. False: the time passed. Throws Poisoned.
COMMONHOLD_CALL bool lock_acquire(Object& lock, std::int64_t wait);
COMMONHOLD_CALL void lock_release(Object& lock);  // throws NotHeld
COMMONHOLD_CALL bool lock_is_locked(Object& lock);
COMMONHOLD_CALL bool lock_is_mine(Object& lock);
COMMONHOLD_CALL int lock_holder(Object& lock);
COMMONHOLD_CALL int lock_take_died(Object& lock);
COMMONHOLD_CALL bool lock_mark_consistent(Object& lock);
COMMONHOLD_CALL std::uint64_t lock_fencing_token(Object& lock);

// The lock that every Value and Array carries for its users.
COMMONHOLD_CALL bool inner_acquire(Object& object, std::int64_t wait);
COMMONHOLD_CALL void inner_release(Object& object);

}  // namespace commonhold::detail
