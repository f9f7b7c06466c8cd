// The chunk that holds an object's control block, zeroed.
#pragma once

#include "shm/extents.h"
#include "shm/segment.h"

namespace commonhold::shm {

// Zeroes 8-byte aligned shared memory that nobody reads yet.
inline void zero_words(void* at, std::uint64_t bytes) {
  auto* word = static_cast<AtomicWord*>(at);
  for (std::uint64_t i = 0; i < round_up(bytes, 8) / 8; ++i) word[i].store(0, std::memory_order_release);
}

// Takes and zeroes a chunk for the control block of `object`. kOutOfMemory leaves `control` as it was.
inline Status take_control_block(ThreadContext& me, std::uint32_t object, std::uint64_t bytes, Offset& control) {
  Offset chunk = 0;
  Status status = take_chunk(me, ChunkOwner(object, kControlArena), bytes, chunk);
  if (status != Status::kOk) return status;
  zero_words(me.segment().at<std::byte>(chunk), bytes);
  control = chunk;
  return Status::kOk;
}

}  // namespace commonhold::shm
