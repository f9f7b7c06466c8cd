// Which session refers to which object: a chain of pages per session, one cell a reference.
//
//   SessionRecord.references --> page (1 KiB)              page
//   bit 0: the session may own    +------+------+-----      +------+------+-----
//   pages, linked or not          | next | cell | ...  -->  | 0    | cell | ...       a cell: 0, or an ObjectId
//                                 +------+------+-----      +------+------+-----
//
// INVARIANT: a cell is written by its session alone, one compare-and-swap adds or drops a reference; a page
// is linked once it is zeroed and is never unlinked. There is no count to get wrong: whether an object is
// referred to is found by looking (the server sweeps after sessions end and references are dropped). All
// pages have an owner that is derived from the session's index, so a session that dies leaves nothing that
// recovery cannot give back as a whole.
//
// A reference counts from its cell's store. add_reference() stores the cell and then looks whether the object is live;
// the sweep condemns the object and then looks at the cells again: one of the two sees the other. Who finds the object
// condemned rescues it, unless the sweep has committed to destroy it: nobody waits for the sweep (sweep.h).
//
// Thread safety: any thread of any process.
#pragma once

#include <cstdint>
#include <vector>

#include "shm/ids.h"
#include "shm/segment.h"

namespace commonhold::shm {

inline constexpr std::uint32_t kCellsPerPage = 127;

struct ReferencePage {
  AtomicWord next;
  AtomicWord cells[kCellsPerPage];
};
static_assert(sizeof(ReferencePage) == kGranule);

constexpr ChunkOwner reference_owner(SessionIndex session) {
  return ChunkOwner(kSystemObject - 1 - index_of(session), 0);
}

// Notes that this process refers to an object. kGone when the object is no longer live; kOutOfMemory.
// Balanced by drop_reference(); counts within the process are the caller's business (one cell an object is
// enough). `cell` gets the cell's offset: given to drop_reference() it saves the search.
Status add_reference(Segment& segment, ObjectId id, Offset* cell = nullptr);
// Also for an `id` or `cell` that is not this process's (a forked child has its parent's numbers): changes nothing
// then.
void drop_reference(Segment& segment, ObjectId id, Offset cell = 0);

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
