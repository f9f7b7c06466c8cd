// What a structure does before it says that memory has run out.
#pragma once

#include <chrono>

#include "shm/deadline.h"
#include "shm/status.h"
#include "shm/sweep.h"

namespace commonhold::shm {

class ThreadContext;

// For how long a call waits for the memory of objects that nobody refers to any more.
inline constexpr std::chrono::milliseconds kMemoryTimeout{200};

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
  const Deadline deadline = Deadline::after(kMemoryTimeout);
  while (status == Status::kOutOfMemory && await_sweep(me, deadline)) status = attempt();
  if constexpr (requires { structure.compact(me); }) {
    // Also for what others gave back, which the sweeps may have done.
    if (status == Status::kOutOfMemory && (hopeful = hopeful || structure.may_move_together()) &&
        structure.compact(me)) {
      status = attempt();
    }
  }
  if constexpr (requires { structure.found_no_idle_memory(); }) {
    if (status == Status::kOutOfMemory && hopeful) structure.found_no_idle_memory();
  }
  return status;
}

}  // namespace commonhold::shm
