#include <commonhold/errors.h>
#include <commonhold/rlock.h>

#include <fmt/format.h>

#include <ostream>

#include "proxy/errors.h"
#include "proxy/lock_errors.h"
#include "proxy/object.h"
#include "proxy/waiting.h"
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

namespace {

[[gnu::noinline]] bool acquire_slowly(Object& lock, std::int64_t wait) {
  const shm::RLock& structure = of(lock);
  std::uint32_t died = 0;
  const Status status = structure.acquire(here(lock), deadline_after(wait), &died);
  if (status == Status::kOk) [[likely]]
    return true;
  if (status == Status::kTimedOut) return out_of_time(wait, lock, "lock");
  throw_not_acquired(status, lock, died);
}

[[gnu::noinline]] void release_slowly(Object& lock) {
  const shm::RLock& structure = of(lock);
  const Status status = structure.release(here(lock));
  if (status != Status::kOk) [[unlikely]]
    throw_not_held(lock, structure.base(), "release");
}

}  // namespace

bool rlock_acquire(Object& lock, std::int64_t wait) {
  shm::ThreadContext* me = quick_here(lock);
  if (me != nullptr && quick_structure<shm::RLock>(lock).take_own_or_free(*me)) [[likely]]
    return true;
  return acquire_slowly(lock, wait);
}

void rlock_release(Object& lock) {
  shm::ThreadContext* me = quick_here(lock);
  const shm::RLock& structure = quick_structure<shm::RLock>(lock);
  if (me == nullptr || !structure.base().held_by(*me)) [[unlikely]]
    return release_slowly(lock);
  (void)structure.release_own(*me);
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

bool rlock_mark_consistent(Object& lock) {
  return of(lock).base().mark_consistent();
}

std::uint64_t rlock_fencing_token(Object& lock) {
  const shm::UserLock& structure = of(lock).base();
  const std::uint64_t token = structure.fencing_token(here(lock));
  if (token == 0) throw_not_held(lock, structure, "give a fencing token of");
  return token;
}

void refuse_handover() {
  throw ValueError("an RLock is not handed over: its owner alone may release it; a Lock can be made with handover");
}

}  // namespace detail
}  // namespace commonhold
