// What is done before a structure says that memory has run out.
#pragma once

#include <chrono>
#include <optional>

#include "shm/deadline.h"
#include "shm/status.h"
#include "shm/sweep.h"

namespace commonhold::shm {

class ThreadContext;

// For how long a call waits for the memory of objects that nobody refers to any more.
inline constexpr std::chrono::milliseconds kMemoryTimeout{200};

// Whether a call that found no memory tries again: after sweeps, as long as these find something, where the call may
// take as long as that. REQUIRES: the caller holds no lock when it asks.
class SweepWaits {
 public:
  explicit SweepWaits(ThreadContext& me, Deadline deadline = Deadline::never()) : me_(me), deadline_(deadline) {}
  bool worth_another(Status status) { return status == Status::kOutOfMemory && wait(); }

 private:
  [[gnu::noinline, gnu::cold]] bool wait() {
    constexpr std::int64_t kMost = std::chrono::nanoseconds(kMemoryTimeout).count();
    if (!until_) {
      if (deadline_.left_ns(kMost) < kMost) return false;
      until_ = Deadline::after(kMemoryTimeout);
    }
    return await_sweep(me_, *until_);
  }
  ThreadContext& me_;
  const Deadline deadline_;
  std::optional<Deadline> until_;
};

// Out of memory is final only when the structure itself holds none that it does not use, no object is left to be
// destroyed, and what is free cannot be moved together: tries again after structure.give_idle_memory(me), after sweeps
// as long as they find something, and after structure.compact(me). Two of these are work for the whole structure: one
// that can tell that it would be in vain is asked first. REQUIRES: the caller holds no lock.
template <typename Structure, typename Attempt>
Status with_idle_memory(Structure& structure, ThreadContext& me, Attempt&& attempt) {
  Status status = attempt();
  if (status != Status::kOutOfMemory) [[likely]]
    return status;
  bool hopeful = true;
  if constexpr (requires { structure.may_have_idle_memory(); }) {
    hopeful = structure.may_have_idle_memory();
  }
  if (hopeful) {
    structure.give_idle_memory(me);
    status = attempt();
  }
  SweepWaits waits(me);
  while (waits.worth_another(status)) status = attempt();
  if constexpr (requires { structure.compact(me); }) {
    // Also for what others gave back, which the sweeps may have done.
    if constexpr (requires { structure.may_move_together(); }) {
      hopeful = hopeful || (status == Status::kOutOfMemory && structure.may_move_together());
    }
    if (status == Status::kOutOfMemory && hopeful && structure.compact(me)) status = attempt();
  }
  if constexpr (requires { structure.found_no_idle_memory(); }) {
    if (status == Status::kOutOfMemory && hopeful) structure.found_no_idle_memory();
  }
  return status;
}

}  // namespace commonhold::shm
