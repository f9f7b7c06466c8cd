// Memory for extents: fallocate before use, so that a full file system is kOutOfMemory, never SIGBUS.
//
// Extents at or above committed_extents were never backed; those of ExtentKind::kUnbacked were, and went back to the
// system (extents_release.h). Both are backed first and counted then: a death in between leaves memory that nobody
// knows of, and to back it again does no harm.
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

// ---- for extents.cc. REQUIRES, of all but back_aside() and backing_of_more(): extents_lock

// What a take needs backed. Backing much takes long, so it is done without the lock; whether the extents are still what
// they were is looked at afterwards.
struct Backing {
  std::uint64_t first = 0, count = 0;
  std::uint64_t least = 0;  // of new extents: so many are enough
  bool is_new = false;      // from the end of the committed ones on; else free ones, of which some are not backed
  Word releases = 0;        // as in the header
};
Backing backing_of_run(const Segment& segment, std::uint64_t first, std::uint64_t count);
// kOutOfMemory: the limit.
Status backing_of_more(const Segment& segment, std::uint64_t wanted, Backing& more);
// The slow part, without the lock: to back what is backed, or what somebody has taken meanwhile, does no harm. A death
// afterwards leaves memory that nobody knows of.
Status back_aside(const Segment& segment, Backing& backing);
// Makes known what was backed, unless others were there first: then it is as if nothing was done.
void note_backing(Segment& segment, const Backing& backing);

// Commits `wanted` extents more, or some more than that.
Status commit_more(Segment& segment, std::uint64_t wanted);

// Backs those of a run of free extents that are not backed, and makes them free ones.
Status back_run(Segment& segment, std::uint64_t first, std::uint64_t count);

// Makes sure that so many extents are free and backed, as far as there are.
Status keep_free(Segment& segment, std::uint64_t wanted);

}  // namespace commonhold::shm
