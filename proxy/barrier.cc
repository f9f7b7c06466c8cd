#include <commonhold/barrier.h>

#include <fmt/format.h>

#include <ostream>

#include <commonhold/errors.h>

#include "proxy/errors.h"
#include "proxy/object.h"
#include "proxy/waiting.h"
#include "shm/barrier.h"

namespace commonhold {

std::ostream& operator<<(std::ostream& out, const Barrier& barrier) {
  out << '<' << detail::description_of(*barrier.handle_);
  if (barrier.broken()) return out << " broken>";
  return out << ' ' << barrier.n_waiting() << " of " << barrier.parties() << " waiting>";
}

namespace detail {

using shm::BarrierBreak;
using shm::Status;

namespace {

shm::Barrier& of(Object& object) {
  return structure_of<shm::Barrier>(object);
}

[[noreturn]] void throw_broken(Object& object) {
  const shm::Barrier& structure = of(object);
  std::uint32_t pid = 0;
  const BarrierBreak why = structure.broken_by(pid);
  std::string reason = "it was broken";
  switch (why) {
    case BarrierBreak::kTimeout:
      reason = fmt::format("the time of a wait in process {} passed", pid);
      break;
    case BarrierBreak::kAbort:
      reason = fmt::format("process {} called abort()", pid);
      break;
    case BarrierBreak::kDeath:
      reason = fmt::format("process {} died in it", pid);
      break;
    case BarrierBreak::kAction:
      reason = fmt::format("the action failed in process {}", pid);
      break;
    case BarrierBreak::kStopped:
      reason = fmt::format("process {}, which runs the action, is stopped, and the time of a wait passed", pid);
      break;
    case BarrierBreak::kEnded:
      reason = fmt::format("a wait in process {} was ended by a stop", pid);
      break;
    case BarrierBreak::kReset:
      reason = fmt::format("process {} called reset()", pid);
      break;
    case BarrierBreak::kNothing:
      break;
  }
  throw BrokenBarrier(fmt::format("{} did not bring its {} parties together: {}{}", description_of(object),
                                  structure.parties(), reason,
                                  structure.broken() ? ". It stays broken until somebody calls reset()" : ""));
}

}  // namespace

BarrierTurn barrier_wait(Object& barrier, std::int64_t wait, bool has_action) {
  const shm::Barrier& structure = of(barrier);
  if (wait == kBarrierDefault) wait = static_cast<std::int64_t>(structure.timeout_ns());
  shm::Barrier::Arrival arrival;
  const Status status = structure.wait(here(barrier), deadline_after(wait), has_action, arrival);
  if (status == Status::kTimedOut || status == Status::kBroken) (void)out_of_time(wait, barrier, "wait at");
  if (status == Status::kTimedOut) {
    throw TimeoutError(
        fmt::format("{} still runs the action of the round before, in a process that is stopped, and the "
                    "time of this wait passed; the barrier is not broken",
                    description_of(barrier)));
  }
  if (status == Status::kCorrupt) throw_status(status, barrier, "wait at");
  if (status != Status::kOk) throw_broken(barrier);
  return {arrival.index, arrival.must_act, arrival.generation};
}

void barrier_pass(Object& barrier, const BarrierTurn& turn) {
  const shm::Barrier& structure = of(barrier);
  const auto index = static_cast<std::uint32_t>(turn.index);
  if (structure.finish_action(here(barrier), {index, true, turn.generation}, true) != Status::kOk) {
    throw_broken(barrier);
  }
}

void barrier_fail(Object& barrier, const BarrierTurn& turn) noexcept {
  const shm::Barrier& structure = of(barrier);
  (void)structure.finish_action(here(barrier), {0, true, turn.generation}, false);
}

void barrier_abort(Object& barrier) {
  const shm::Barrier& structure = of(barrier);
  structure.abort(here(barrier));
}

void barrier_reset(Object& barrier) {
  const shm::Barrier& structure = of(barrier);
  const Status status = structure.reset(here(barrier));
  if (status != Status::kOk) throw_status(status, barrier, "reset");
}

std::uint64_t barrier_parties(Object& barrier) {
  return of(barrier).parties();
}

std::uint64_t barrier_waiting(Object& barrier) {
  return of(barrier).waiting();
}

bool barrier_is_broken(Object& barrier) {
  return of(barrier).broken();
}

std::uint64_t checked_parties(std::int64_t parties) {
  if (parties > 0) return static_cast<std::uint64_t>(parties);
  throw ValueError(fmt::format("a barrier of {} parties would let nobody through: give 1 or more", parties));
}

}  // namespace detail
}  // namespace commonhold
