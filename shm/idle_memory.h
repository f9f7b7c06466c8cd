// What a structure does before it says that memory has run out.
#pragma once

#include "shm/status.h"

namespace commonhold::shm {

class ThreadContext;

// Out of memory is final only when the structure itself holds none that it does not use: tries again after
// structure.give_idle_memory(me).
template <typename Structure, typename Attempt>
Status with_idle_memory(Structure& structure, ThreadContext& me, Attempt&& attempt) {
  Status status = attempt();
  if (status != Status::kOutOfMemory) [[likely]]
    return status;
  structure.give_idle_memory(me);
  return attempt();
}

}  // namespace commonhold::shm
