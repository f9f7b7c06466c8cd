// Semaphores and readers-writer locks as the proxies use them. Time as in lock_calls.h.
#pragma once

#include <cstdint>

#include <commonhold/detail/call.h>
#include <commonhold/detail/object_handle.h>

namespace commonhold::detail {

inline constexpr std::int64_t kMostPermits = 0x7fff'ffff;

// False: the time passed.
COMMONHOLD_CALL bool semaphore_acquire(Object& semaphore, std::int64_t wait);
COMMONHOLD_CALL void semaphore_release(Object& semaphore, std::int64_t permits);  // throws ValueError
COMMONHOLD_CALL std::int64_t semaphore_value(Object& semaphore);
COMMONHOLD_CALL std::int64_t semaphore_limit(Object& semaphore);
COMMONHOLD_CALL std::int64_t semaphore_held(Object& semaphore);
[[noreturn]] void throw_bad_start(std::int64_t start);

// False: the time passed. Throw UsageError where the thread would wait for itself.
COMMONHOLD_CALL bool rwlock_acquire(Object& lock, std::int64_t wait);
COMMONHOLD_CALL bool rwlock_acquire_shared(Object& lock, std::int64_t wait);
COMMONHOLD_CALL void rwlock_release(Object& lock);         // throws NotHeld
COMMONHOLD_CALL void rwlock_release_shared(Object& lock);  // throws NotHeld
COMMONHOLD_CALL bool rwlock_is_mine(Object& lock);
COMMONHOLD_CALL bool rwlock_is_shared_by_me(Object& lock);
COMMONHOLD_CALL int rwlock_writer(Object& lock);
COMMONHOLD_CALL int rwlock_readers(Object& lock);
COMMONHOLD_CALL int rwlock_take_died(Object& lock);

}  // namespace commonhold::detail
