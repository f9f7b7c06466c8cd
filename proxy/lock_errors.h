// What goes wrong with locks, in words.
#pragma once

#include <string>

#include "proxy/object.h"
#include "shm/user_lock.h"

namespace commonhold::detail {

// `held`: the caller has the lock all the same.
[[noreturn]] void throw_poisoned(Object& object, const shm::UserLock& lock, bool held);

// The caller does not hold the lock that it wants to release, or to wait under: says who does.
[[noreturn]] void throw_not_held(Object& object, const shm::UserLock& lock, const char* operation);

}  // namespace commonhold::detail
