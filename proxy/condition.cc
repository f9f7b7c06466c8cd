#include <commonhold/condition.h>

#include <ostream>

#include "proxy/errors.h"
#include "proxy/lock_errors.h"
#include "proxy/object.h"
#include "proxy/waiting.h"
#include "shm/condition.h"

namespace commonhold {

std::ostream& operator<<(std::ostream& out, const Condition& condition) {
  out << '<' << detail::description_of(*condition.handle_);
  if (const int pid = detail::condition_holder(*condition.handle_)) {
    out << " held by process " << pid;
  } else {
    out << " free";
  }
  return out << ", " << condition.n_waiting() << " waiting>";
}

namespace detail {

using shm::Status;

namespace {

// Throws CorruptSegment when it names no lock.
shm::Condition& of(Object& object) {
  shm::Condition& structure = structure_of<shm::Condition>(object);
  if (!structure.sound()) [[unlikely]]
    throw_status(Status::kCorrupt, object, "use");
  return structure;
}

[[gnu::noinline]] bool acquire_slowly(Object& condition, std::int64_t wait) {
  const shm::Condition& structure = of(condition);
  std::uint32_t died = 0;
  const Status status = structure.acquire(here(condition), deadline_after(wait), &died);
  if (status == Status::kOk) [[likely]]
    return true;
  if (status == Status::kTimedOut) return out_of_time(wait, condition, "lock");
  throw_not_acquired(status, condition, died);
}

[[gnu::noinline]] void release_slowly(Object& condition) {
  const shm::Condition& structure = of(condition);
  const Status status = structure.release(here(condition));
  if (status != Status::kOk) [[unlikely]]
    throw_not_held(condition, structure.base(), "release");
}

[[gnu::noinline]] void notify_slowly(Object& condition, std::uint64_t most) {
  const shm::Condition& structure = of(condition);
  const Status status = structure.notify(here(condition), most);
  if (status != Status::kOk) [[unlikely]]
    throw_not_held(condition, structure.base(), "notify");
}

}  // namespace

bool condition_acquire(Object& condition, std::int64_t wait) {
  shm::ThreadContext* me = quick_here(condition);
  if (me != nullptr && quick_structure<shm::Condition>(condition).take_quickly(*me)) [[likely]]
    return true;
  return acquire_slowly(condition, wait);
}

void condition_release(Object& condition) {
  shm::ThreadContext* me = quick_here(condition);
  const shm::Condition& structure = quick_structure<shm::Condition>(condition);
  if (me == nullptr || !structure.held_by(*me)) [[unlikely]]
    return release_slowly(condition);
  if (const shm::Status status = structure.release_own(*me); status != shm::Status::kOk) [[unlikely]]
    throw_status(status, condition, "release");
}

void condition_notify(Object& condition, std::uint64_t most) {
  shm::ThreadContext* me = quick_here(condition);
  const shm::Condition& structure = quick_structure<shm::Condition>(condition);
  if (me != nullptr && structure.held_by(*me) && !structure.has_waiters()) return;
  notify_slowly(condition, most);
}

bool condition_is_mine(Object& condition) {
  const shm::Condition& structure = of(condition);
  return structure.held_by(here(condition));
}

int condition_holder(Object& condition) {
  return static_cast<int>(of(condition).base().holder_pid());
}

int condition_take_died(Object& condition) {
  return static_cast<int>(of(condition).base().take_died());
}

bool condition_wait(Object& condition, std::int64_t wait) {
  const shm::Condition& structure = of(condition);
  std::uint32_t died = 0;
  const Status status = structure.wait(here(condition), deadline_after(wait), &died);
  if (status == Status::kOk) [[likely]]
    return true;
  if (status == Status::kTimedOut) return out_of_time(wait, condition, "wait for");
  if (status == Status::kPoisoned) throw_poisoned(condition, died, true);
  if (status == Status::kNotHeld) throw_not_held(condition, structure.base(), "wait for");
  throw_status(status, condition, "wait for");
}

std::uint64_t condition_waiting(Object& condition) {
  return of(condition).waiting();
}

ObjectRequest condition_on(Object& lock) {
  check(lock);
  return {.kind = ObjectKind::kCondition,
          .signature = "condition",
          .arguments = {lock.id.word(), lock.segment->header().nonce},
          .compared = 1};
}

}  // namespace detail
}  // namespace commonhold
