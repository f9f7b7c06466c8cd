// What a structure does before it says that memory has run out.
#pragma once

#include "shm/status.h"

namespace commonhold::shm {

class ThreadContext;

// Out of memory is final only when the structure itself holds none that it does not use: tries again after
// structure.give_idle_memory(me). That is work for the whole structure: one that can tell that it would be in vain is
// asked first.
template <typename Structure, typename Attempt>
Status with_idle_memory(Structure& structure, ThreadContext& me, Attempt&& attempt) {
  Status status = attempt();
  if (status != Status::kOutOfMemory) [[likely]]
    return status;
  if constexpr (requires { structure.may_have_idle_memory(); }) {
    if (!structure.may_have_idle_memory()) return status;
  }
  structure.give_idle_memory(me);
  status = attempt();
  if constexpr (requires { structure.found_no_idle_memory(); }) {
    if (status == Status::kOutOfMemory) structure.found_no_idle_memory();
  }
  return status;
}

}  // namespace commonhold::shm
