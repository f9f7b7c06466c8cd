// What goes wrong with locks, in words.
#pragma once

#include <string>

#include "proxy/object.h"
#include "shm/user_lock.h"

namespace commonhold::detail {

// What acquiring says other than that it took the lock or that the time passed. `died`: the pid of the owner that died.
[[noreturn]] void throw_not_acquired(shm::Status status, Object& object, std::uint32_t died);
// `held`: the caller has the lock all the same.
[[noreturn]] void throw_poisoned(Object& object, std::uint32_t died, bool held);

// The caller does not hold the lock that it wants to release, or to wait under: says who does.
[[noreturn]] void throw_not_held(Object& object, const shm::UserLock& lock, const char* operation);

}  // namespace commonhold::detail
