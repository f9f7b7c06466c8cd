// Memory for extents: fallocate before use, so that a full file system is kOutOfMemory, never SIGBUS.
//
// Extents at or above committed_extents were never backed; those of ExtentKind::kUnbacked were, and went back to the
// system (extents_release.h). Both are backed first and counted then: a death in between leaves memory that nobody knows
// of, and to back it again does no harm.
#pragma once

#include <cstdint>

#include "shm/segment.h"
#include "shm/status.h"

namespace commonhold::shm {

class ThreadContext;

// Commits until `free_extents` are free, as far as the limit and the file system go, ahead of need. What was given back
// to the system comes first. REQUIRES: only the server calls, and does not release extents meanwhile: what it backs
// without the lock must not become a hole again before it is known as backed.
Status commit_ahead(ThreadContext& me, std::uint64_t free_extents);

// ---- for extents.cc. REQUIRES: extents_lock

// Commits `wanted` extents more, or some more than that.
Status commit_more(Segment& segment, std::uint64_t wanted);

// Backs those of a run of free extents that are not backed, and makes them free ones.
Status back_run(Segment& segment, std::uint64_t first, std::uint64_t count);

// Makes sure that so many extents are free and backed, as far as there are.
Status keep_free(Segment& segment, std::uint64_t wanted);

}  // namespace commonhold::shm
