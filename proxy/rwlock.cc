#include <fmt/format.h>

#include <ostream>

#include <commonhold/rwlock.h>

#include "proxy/errors.h"
#include "proxy/object.h"
#include "proxy/waiting.h"
#include "shm/layout.h"
#include "shm/rw_lock.h"

namespace commonhold {

std::ostream& operator<<(std::ostream& out, const RWLock& lock) {
  out << '<' << detail::description_of(*lock.handle_);
  if (const auto pid = lock.holder()) return out << " written by process " << *pid << '>';
  if (const int readers = lock.readers(); readers != 0) {
    return out << " shared by " << readers << (readers == 1 ? " thread>" : " threads>");
  }
  return out << " free>";
}

namespace detail {

using shm::Status;

namespace {

shm::RwLock& of(Object& object) {
  return structure_of<shm::RwLock>(object);
}

// True when it was taken, false when the time passed.
bool taken(Status status, std::int64_t wait, Object& lock, const char* operation) {
  if (status == Status::kOk) [[likely]]
    return true;
  if (status == Status::kDeadlock && wait == 0) return false;
  if (status == Status::kTimedOut) return out_of_time(wait, lock, operation);
  if (status == Status::kTooMany) {
    throw LimitReached(fmt::format("cannot {} {}: this thread holds {} locks already; unlock some first", operation,
                                   description_of(lock), shm::kAnnouncements));
  }
  if (status != Status::kDeadlock) throw_status(status, lock, operation);
  const bool writes = of(lock).held_by(here(lock));
  throw UsageError(fmt::format("cannot {} {}: this thread {} it already and would wait for itself; {} first", operation,
                               description_of(lock), writes ? "writes" : "shares",
                               writes ? "unlock()" : "unlock_shared()"));
}

void released(Status status, Object& lock, const char* operation, const char* how) {
  if (status == Status::kOk) [[likely]]
    return;
  throw NotHeld(fmt::format("cannot {} {}: this thread does not {} it", operation, description_of(lock), how));
}

}  // namespace

bool rwlock_acquire(Object& lock, std::int64_t wait) {
  const shm::RwLock& structure = of(lock);
  return taken(structure.acquire(here(lock), deadline_after(wait)), wait, lock, "lock");
}

namespace {

[[gnu::noinline]] bool share_slowly(Object& lock, std::int64_t wait) {
  const shm::RwLock& structure = of(lock);
  return taken(structure.acquire_shared(here(lock), deadline_after(wait)), wait, lock, "share");
}

[[gnu::noinline]] void unshare_slowly(Object& lock) {
  const shm::RwLock& structure = of(lock);
  released(structure.release_shared(here(lock)), lock, "unlock_shared", "share");
}

}  // namespace

bool rwlock_acquire_shared(Object& lock, std::int64_t wait) {
  shm::ThreadContext* me = quick_here(lock);
  if (me != nullptr && quick_structure<shm::RwLock>(lock).share_free(*me)) [[likely]]
    return true;
  return share_slowly(lock, wait);
}

void rwlock_release(Object& lock) {
  const shm::RwLock& structure = of(lock);
  released(structure.release(here(lock)), lock, "unlock", "write");
}

void rwlock_release_shared(Object& lock) {
  shm::ThreadContext* me = quick_here(lock);
  if (me != nullptr && quick_structure<shm::RwLock>(lock).unshare_last(*me)) [[likely]]
    return;
  unshare_slowly(lock);
}

bool rwlock_is_mine(Object& lock) {
  const shm::RwLock& structure = of(lock);
  return structure.held_by(here(lock));
}

bool rwlock_is_shared_by_me(Object& lock) {
  const shm::RwLock& structure = of(lock);
  return structure.shared_by(here(lock));
}

int rwlock_writer(Object& lock) {
  return static_cast<int>(of(lock).writer_pid());
}

int rwlock_readers(Object& lock) {
  return static_cast<int>(of(lock).readers());
}

int rwlock_take_died(Object& lock) {
  return static_cast<int>(of(lock).take_died());
}

}  // namespace detail
}  // namespace commonhold
