#include "proxy/lock_errors.h"

#include <fmt/format.h>
#include <unistd.h>

#include <commonhold/errors.h>

#include "proxy/errors.h"

namespace commonhold::detail {

void throw_not_acquired(shm::Status status, Object& object, std::uint32_t died) {
  if (status == shm::Status::kPoisoned) throw_poisoned(object, died, false);
  if (status != shm::Status::kDeadlock) throw_status(status, object, "acquire");
  throw UsageError(
      fmt::format("cannot lock {}: this thread holds it already and would wait for itself; unlock it first{}",
                  description_of(object),
                  object.kind == ObjectKind::kLock
                      ? ", or make the lock with {.handover = true} when another thread is to unlock it"
                      : ""));
}

void throw_poisoned(Object& object, std::uint32_t died, bool held) {
  const std::string owner = died == 0 ? "an owner" : fmt::format("process {}", died);
  throw Poisoned(
      static_cast<int>(died),
      fmt::format("{} is poisoned: {} died holding {}. Repair what it guards, then call mark_consistent(){}",
                  description_of(object), owner, held ? "its lock" : "it", held ? "; the caller holds the lock" : ""));
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
