#include <fmt/format.h>

#include <cstddef>
#include <ostream>

#include <commonhold/semaphore.h>

#include "proxy/errors.h"
#include "proxy/object.h"
#include "proxy/waiting.h"
#include "shm/semaphore.h"

namespace commonhold {

std::ostream& operator<<(std::ostream& out, const Semaphore& semaphore) {
  return out << '<' << detail::description_of(*semaphore.handle_) << " value=" << semaphore.get_value() << '>';
}

std::ostream& operator<<(std::ostream& out, const BoundedSemaphore& semaphore) {
  return out << '<' << detail::description_of(*semaphore.handle_) << " value=" << semaphore.get_value()
             << " max=" << semaphore.max() << '>';
}

namespace detail {

using shm::Status;
static_assert(static_cast<shm::Word>(kMostPermits) == shm::kMostPermits);
static_assert(offsetof(SemaphoreCell, state) == offsetof(shm::SemaphoreControl, state));
static_assert(offsetof(SemaphoreCell, limit) == offsetof(shm::SemaphoreControl, limit));
static_assert(SemaphoreCell::kHeld == shm::kMostHeld * SemaphoreCell::kOneHeld);

namespace {

shm::Semaphore& of(Object& object) {
  return structure_of<shm::Semaphore>(object);
}

}  // namespace

SemaphoreView semaphore_view(Object& semaphore) {
  return {semaphore.segment->at<SemaphoreCell>(semaphore.control), &semaphore.segment->session_number()};
}

bool semaphore_acquire(Object& semaphore, std::int64_t wait) {
  const shm::Semaphore& structure = of(semaphore);
  const Status status = structure.acquire(here(semaphore), deadline_after(wait));
  if (status == Status::kOk) [[likely]]
    return true;
  if (status == Status::kTimedOut) return out_of_time(wait, semaphore, "acquire");
  throw_status(status, semaphore, "acquire");
}

void semaphore_release(Object& semaphore, std::int64_t permits) {
  const shm::Semaphore& structure = of(semaphore);
  if (permits < 1) {
    throw ValueError(
        fmt::format("cannot release {} permits to {}: give 1 or more", permits, description_of(semaphore)));
  }
  const Status status = structure.release(here(semaphore), static_cast<shm::Word>(permits));
  if (status == Status::kOk) [[likely]]
    return;
  if (status != Status::kOutOfRange) throw_status(status, semaphore, "release");
  throw ValueError(
      fmt::format("cannot release {} permit{} to {}: its value, {}, would rise above {}. It is unchanged; "
                  "release only what was acquired",
                  permits, permits == 1 ? "" : "s", description_of(semaphore), structure.value(), structure.limit()));
}

std::int64_t semaphore_value(Object& semaphore) {
  return static_cast<std::int64_t>(of(semaphore).value());
}

std::int64_t semaphore_limit(Object& semaphore) {
  return static_cast<std::int64_t>(of(semaphore).limit());
}

std::int64_t semaphore_held(Object& semaphore) {
  const shm::Semaphore& structure = of(semaphore);
  return static_cast<std::int64_t>(structure.held(here(semaphore)));
}

void throw_bad_start(std::int64_t start) {
  throw ValueError(fmt::format("a semaphore cannot start at {}: give a value from 0 to {}", start, kMostPermits));
}

}  // namespace detail
}  // namespace commonhold
