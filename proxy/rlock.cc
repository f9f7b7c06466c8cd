#include <commonhold/rlock.h>

#include <fmt/format.h>

#include <ostream>

#include "proxy/deadline.h"
#include "proxy/errors.h"
#include "proxy/lock_errors.h"
#include "proxy/object.h"
#include "shm/rlock.h"

namespace commonhold {

std::ostream& operator<<(std::ostream& out, const RLock& lock) {
  out << '<' << detail::description_of(*lock.handle_);
  if (const auto pid = lock.holder()) return out << " held by process " << *pid << ", depth " << lock.depth() << '>';
  return out << " free>";
}

namespace detail {

using shm::Status;

namespace {

shm::RLock& of(Object& object) {
  return structure_of<shm::RLock>(object);
}

}  // namespace

bool rlock_acquire(Object& lock, std::int64_t wait) {
  const shm::RLock& structure = of(lock);
  const Status status = structure.acquire(here(lock), deadline_after(wait));
  if (status == Status::kOk) [[likely]]
    return true;
  if (status == Status::kTimedOut) return false;
  if (status == Status::kPoisoned) throw_poisoned(lock, structure.base(), false);
  throw_status(status, lock, "acquire");
}

void rlock_release(Object& lock) {
  const shm::RLock& structure = of(lock);
  const Status status = structure.release(here(lock));
  if (status != Status::kOk) [[unlikely]]
    throw_not_held(lock, structure.base(), "release");
}

bool rlock_is_locked(Object& lock) {
  return of(lock).base().locked();
}

bool rlock_is_mine(Object& lock) {
  const shm::RLock& structure = of(lock);
  return structure.base().held_by(here(lock));
}

std::uint64_t rlock_depth(Object& lock) {
  const shm::RLock& structure = of(lock);
  return structure.base().locked() ? structure.depth() : 0;
}

int rlock_holder(Object& lock) {
  return static_cast<int>(of(lock).base().holder_pid());
}

int rlock_take_died(Object& lock) {
  return static_cast<int>(of(lock).base().take_died());
}

void rlock_mark_consistent(Object& lock) {
  of(lock).base().mark_consistent();
}

std::uint64_t rlock_fencing_token(Object& lock) {
  return of(lock).base().fencing_token();
}

}  // namespace detail
}  // namespace commonhold
