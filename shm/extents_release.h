// Free memory goes back to the system: holes are punched where free extents were.
//
// Why no process meets a hole. A read of a hole makes a page for it, and on a full file system the reader gets SIGBUS.
// So an extent is released only while nobody can be reading it: since it was backed last it held only what is read by
// processes that refer to the object, or that say so before (LateReaders), and nobody says so; or no session lives but
// the server's, whose process reads nothing. The first page of a large block stays where readers may look at it without
// saying so. Whoever frees memory that another thread of its process may be reading has a session, and frees it under
// the extents' lock: the server that takes the extent under that lock sees the session.
//
// A reader that is overtaken may follow a word of memory that is used for something else by now, and that word may name
// an extent that went. So whoever walks without a lock looks at the counter of reuse (undisturbed.h) after it read a
// word and before it follows it.
//
//   free --> whole, owned by the system's kReleaseArena --> (hole punched) --> unbacked --> (fallocate) --> free
//
// The hole is punched without the extents' lock, because it takes its time; meanwhile nobody takes the extents, for they
// have an owner. A server that dies in between leaves them owned: the next server completes it. Nobody else may, for a
// server that is only slow or stopped would punch later what was taken meanwhile.
#pragma once

#include <cstdint>

#include "shm/layout.h"
#include "shm/segment.h"

namespace commonhold::shm {

// Releases up to `most` free extents, the highest first, as long as `keep` stay free and backed. `reads_nothing`: no
// thread of this process reads objects without a lock; then, where no other session lives, extents go too that somebody
// may have been reading without saying so. Returns how many were released. REQUIRES: only the server calls.
std::uint64_t release_extents(ThreadContext& me, std::uint64_t keep, std::uint64_t most, bool reads_nothing);

// Completes what an earlier server began. REQUIRES: the caller is the server, and the earlier one is dead.
void finish_release(ThreadContext& me);

}  // namespace commonhold::shm
