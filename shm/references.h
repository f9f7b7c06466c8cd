// Which session refers to which object: a chain of pages per session, one cell a reference.
//
// INVARIANT: a cell is written by its session alone, under a process-local mutex: one store adds or drops a reference.
// There is no count to get wrong: whether an object is referred to is found by looking (the server sweeps after sessions
// end and references are dropped). A session that dies leaves its pages; recovery gives them back as a whole.
#pragma once

#include <cstdint>
#include <vector>

#include "shm/ids.h"
#include "shm/segment.h"

namespace commonhold::shm {

// Notes that this process refers to an object. kGone when the object is no longer live; kOutOfMemory.
// Balanced by drop_reference(); counts within the process are the caller's business (one cell an object is enough).
Status add_reference(Segment& segment, ObjectId id);
void drop_reference(Segment& segment, ObjectId id);

// Marks in `referred` (indexed by object) every object that a live session refers to.
void mark_referred(const Segment& segment, std::vector<bool>& referred);

// How many sessions refer to the object.
std::uint32_t count_references(const Segment& segment, ObjectId id);

// Gives a dead session's pages back. Called by recovery.
void drop_all_references(ThreadContext& me, SessionIndex session);

// Destroys every object that has no name, no session and no container referring to it; returns how many.
// REQUIRES: only the server calls (see object_table.h).
int sweep_unreferred_objects(ThreadContext& me);

}  // namespace commonhold::shm
