#include <ostream>

#include <commonhold/lock.h>

#include "proxy/errors.h"
#include "proxy/lock_errors.h"
#include "proxy/object.h"
#include "proxy/waiting.h"
#include "shm/array.h"
#include "shm/lock_fast.h"
#include "shm/lock_word.h"
#include "shm/user_lock.h"
#include "shm/value.h"

namespace commonhold {

std::ostream& operator<<(std::ostream& out, const Lock& lock) {
  out << '<' << detail::description_of(*lock.handle_);
  if (const auto pid = lock.holder()) return out << " held by process " << *pid << '>';
  return out << " free>";
}

namespace detail {

using shm::Status;

namespace {

shm::UserLock& of(Object& object) {
  return structure_of<shm::UserLock>(object);
}

shm::LockWord& inner_word(Object& object) {
  return object.kind == ObjectKind::kValue ? structure_of<shm::Value>(object).user_lock()
                                           : structure_of<shm::Array>(object).user_lock();
}

}  // namespace

namespace {

[[gnu::noinline]] bool acquire_slowly(Object& lock, std::int64_t wait) {
  const shm::UserLock& structure = of(lock);
  std::uint32_t died = 0;
  const Status status = structure.acquire(here(lock), deadline_after(wait), &died);
  if (status == Status::kOk) [[likely]]
    return true;
  if (status == Status::kTimedOut) return out_of_time(wait, lock, "lock");
  throw_not_acquired(status, lock, died);
}

[[gnu::noinline]] void release_slowly(Object& lock) {
  const shm::UserLock& structure = of(lock);
  const Status status = structure.release(here(lock));
  if (status != Status::kOk) [[unlikely]]
    throw_status(status, lock, "release");
}

}  // namespace

bool lock_acquire(Object& lock, std::int64_t wait) {
  shm::ThreadContext* me = quick_here(lock);
  if (me != nullptr && quick_structure<shm::UserLock>(lock).take_free(*me)) [[likely]]
    return true;
  return acquire_slowly(lock, wait);
}

void lock_release(Object& lock) {
  shm::ThreadContext* me = quick_here(lock);
  const shm::UserLock& structure = quick_structure<shm::UserLock>(lock);
  if (me == nullptr || !structure.held_by(*me)) [[unlikely]]
    return release_slowly(lock);
  if (const shm::Status status = structure.release_own(*me); status != shm::Status::kOk) [[unlikely]]
    throw_status(status, lock, "release");
}

bool lock_is_locked(Object& lock) {
  return of(lock).locked();
}

bool lock_is_mine(Object& lock) {
  const shm::UserLock& structure = of(lock);
  return structure.held_by(here(lock));
}

int lock_holder(Object& lock) {
  return static_cast<int>(of(lock).holder_pid());
}

int lock_take_died(Object& lock) {
  return static_cast<int>(of(lock).take_died());
}

bool lock_mark_consistent(Object& lock) {
  return of(lock).mark_consistent();
}

std::uint64_t lock_fencing_token(Object& lock) {
  const shm::UserLock& structure = of(lock);
  const std::uint64_t token = structure.fencing_token(here(lock));
  if (token == 0) throw_not_held(lock, structure, "give a fencing token of");
  return token;
}

bool inner_acquire(Object& object, std::int64_t wait) {
  shm::LockWord& word = inner_word(object);
  if (wait == kForever && shm::owns_lock(here(object), word)) throw_not_acquired(Status::kDeadlock, object, 0);
  const Status status = shm::lock(here(object), word, deadline_after(wait));
  if (status == Status::kOk) [[likely]]
    return true;
  if (status == Status::kTimedOut) return out_of_time(wait, object, "lock");
  throw_status(status, object, "lock");
}

void inner_release(Object& object) {
  shm::LockWord& word = inner_word(object);
  const Status status = shm::unlock(here(object), word);
  if (status != Status::kOk) [[unlikely]]
    throw_status(status, object, "unlock");
}

}  // namespace detail
}  // namespace commonhold
