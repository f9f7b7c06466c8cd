// Which session refers to which object: a chain of pages per session, one cell a reference.
//
//   the session's own page        SessionRecord.references --> page (1 KiB)              page
//   +------+------+-----          bit 0: the session may own    +------+------+-----      +------+------+-----
//   | 0    | cell | ...           pages, linked or not          | next | cell | ...  -->  | 0    | cell | ...
//   +------+------+-----                                        +------+------+-----      +------+------+-----
//                                 a cell: 0, or an ObjectId
//
// INVARIANT: a cell is written by its session alone, one compare-and-swap adds or drops a reference; a page is linked
// once it is zeroed and is never unlinked. (The parent of a forked child fills the child's pages before the fork.) There
// is no count to get wrong: whether an object is referred to is found by looking (the server sweeps after sessions end
// and references are dropped). All further pages have an owner that is derived from the session's index, so a session
// that dies leaves nothing that recovery cannot give back as a whole.
//
// A reference counts from its cell's store. add_reference() stores the cell and then looks whether the object is live;
// the sweep condemns the object and then looks at the cells again: one of the two sees the other. Who finds the object
// condemned rescues it, unless the sweep has committed to destroy it: nobody waits for the sweep (sweep.h).
//
// Thread safety: any thread of any process.
#pragma once

#include <cstdint>
#include <vector>

#include "shm/deadline.h"
#include "shm/ids.h"
#include "shm/segment.h"

namespace commonhold::shm {

inline constexpr std::uint32_t kCellsPerPage = 127;  // more than most programs have objects

struct ReferencePage {
  AtomicWord next;
  AtomicWord cells[kCellsPerPage];
};
static_assert(sizeof(ReferencePage) == kGranule && sizeof(ReferencePage) == kReferencePageBytes);

// The page that each session has of its own, outside of the extents: who refers to few objects needs no memory and no
// lock for it.
inline Offset flight_page(const Segment& segment) {
  return segment.tables().objects - kReferencePagesBytes;
}
inline Offset own_page(const Segment& segment, SessionIndex session) {
  return flight_page(segment) + (1 + Offset{index_of(session)}) * kReferencePageBytes;
}
// Backs the session's own page. False: the file system is full. REQUIRES: the caller has taken the record.
bool back_references(const Segment& segment, SessionIndex session);

constexpr ChunkOwner reference_owner(SessionIndex session) {
  return ChunkOwner(kSystemObject - 1 - index_of(session), 0);
}

// Notes that this process refers to an object. kGone when the object is no longer live; kOutOfMemory.
// Balanced by drop_reference(); counts within the process are the caller's business (one cell an object is
// enough). `cell` gets the cell's offset: given to drop_reference() it saves the search.
Status add_reference(Segment& segment, ObjectId id, Offset* cell = nullptr);
// The same for who must not wait for another process: kRetry when the session's pages are full. REQUIRES: the calling
// thread is an owner in the segment.
Status try_add_reference(Segment& segment, ObjectId id, Offset* cell = nullptr);
// Makes room for another reference. It may wait. kOutOfMemory.
Status add_reference_page(Segment& segment);
// Also for an `id` or `cell` that is not this process's (a forked child has its parent's numbers): changes nothing
// then.
void drop_reference(Segment& segment, ObjectId id, Offset cell = 0);

// True when a reference that the caller has stored for the object counts, wherever it was stored; false when the object
// is gone. Never waits for the sweep.
bool confirm_reference(const Segment& segment, ObjectId id);

// ---- for a fork (fork_session.cc)

bool has_references(const Segment& segment, SessionIndex session);
// How many pages beside its own a copy of the session's references takes.
std::size_t pages_for_copy(const Segment& segment, SessionIndex session);
// A page for it, which belongs to this process's session until then. kTimedOut when the lock is not to be had in time.
Status take_reference_page(ThreadContext& me, Deadline deadline, Offset& page);
// REQUIRES: `to` is live, of nobody yet, and refers to nothing. False: `pages` of the calling process were too few.
bool copy_references(Segment& segment, SessionIndex from, SessionIndex to, std::vector<Offset>& pages);
// REQUIRES: the caller has taken the record, which is free.
void clear_references(Segment& segment, SessionIndex session);

// Marks in `referred` (indexed by object) every object that a live session refers to.
void mark_referred(const Segment& segment, std::vector<bool>& referred);

// What a session refers to.
std::vector<ObjectId> references_of(const Segment& segment, SessionIndex session);

// How many sessions refer to the object.
std::uint32_t count_references(const Segment& segment, ObjectId id);

// The same for all objects at once, by index.
std::vector<std::uint32_t> count_all_references(const Segment& segment);

// Gives a dead session's pages back. Called by recovery.
void drop_all_references(ThreadContext& me, SessionIndex session);

}  // namespace commonhold::shm
