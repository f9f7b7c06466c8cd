// What a reader without a lock asks before it follows a word that it read: whether no block of the structure was used
// again since it began. If one was, the word may be of something else, and may lead anywhere: into memory that went
// back to the system, too (extents_release.h).
#pragma once

#include "shm/words.h"

namespace commonhold::shm {

struct Undisturbed {
  const AtomicWord* recycle = nullptr;  // heap.h; nullptr under the structure's lock, where nobody disturbs
  Word seen = 0;                        // what it was before anything was read
  // SYNC POINT: recycle: what was read was loaded with acquire.
  bool operator()() const { return recycle == nullptr || recycle->load(std::memory_order_relaxed) == seen; }
};

}  // namespace commonhold::shm
