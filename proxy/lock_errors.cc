#include "proxy/lock_errors.h"

#include <fmt/format.h>
#include <unistd.h>

#include <commonhold/errors.h>

namespace commonhold::detail {

void throw_poisoned(Object& object, const shm::UserLock& lock, bool held) {
  const int pid = static_cast<int>(lock.died_pid());
  throw Poisoned(pid, fmt::format("{} is poisoned: process {} died holding {}. Repair what it guards, then call "
                                  "mark_consistent(){}",
                                  description_of(object), pid, held ? "its lock" : "it",
                                  held ? "; the caller holds the lock" : ""));
}

void throw_not_held(Object& object, const shm::UserLock& lock, const char* operation) {
  const auto pid = static_cast<int>(lock.holder_pid());
  const std::string owner = pid == 0          ? "it is held by nobody"
                            : pid == getpid() ? fmt::format("another thread of this process ({}) holds it", pid)
                                              : fmt::format("process {} holds it", pid);
  throw NotHeld(fmt::format("cannot {} {}: the calling thread does not hold {}lock, {}; acquire it first", operation,
                            description_of(object), object.kind == ObjectKind::kCondition ? "the condition's " : "the ",
                            owner));
}

}  // namespace commonhold::detail
