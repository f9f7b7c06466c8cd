// Destroying what nobody can reach: the one garbage collection of a segment, by the server alone.
//
// An object is kept by its name, by a session's reference (references.h) or one in flight (in_flight.h), by a hold of
// the server, or by a link in an item of an object that is kept. Nothing is counted: what is kept is found by looking,
// so no death can leave a count that is wrong, and objects that refer to each other in a cycle go like all others.
//
//   mark      sessions, holds and names, and from them along the links of containers
//   open      the sweep's word (sweep_word.h) names a new epoch
//   condemn   what was not marked becomes kCondemned
//   remark    sessions, holds and names again; then the links of every container that is not condemned, and of each
//             condemned one that is met. What is met is revived
//   commit    one compare-and-swap of the word. It fails when somebody has taken a reference to a condemned object
//             meanwhile: that one is revived, the next epoch begins, and the sweep marks again
//   destroy   what is condemned still
//
// Why nothing that can be reached is destroyed, though processes go on meanwhile. To store a link, a process holds a
// reference of its session to the object (links.h). Take an object X that is condemned in an epoch that commits.
//
// 1. Who takes a reference to X stores its cell and then reads X's state (both seq_cst). If it reads "live", the cell
//    was stored before X was condemned, and remark sees the cell, unless it was dropped by then. If it reads
//    "condemned", it rescues the epoch, and the commit fails; or it finds the epoch committed, and then it gets no
//    reference. So in an epoch that commits, no reference to X comes into being after X was condemned.
// 2. Hence, once remark has read all sessions, either it met a reference to X, or there is none and there will be none:
//    from then on links to X can go, but none can come. Each container that is not condemned is read after that moment
//    under its locks, and so is each condemned one that turns out to be kept. A link to X that is still there is
//    therefore met; one that went, went for good. No object is made meanwhile.
// 3. Who finds the epoch rescued already has stored its cell before, and the next epoch's remark reads it: the epoch
//    changes after the rescue.
// 4. A process that takes an item out of a container notes its reference first and then removes the item if it is still
//    the same; when the object is gone, it looks again.
//
// Nobody waits: a sweep that is stopped at any step refuses at most what nobody can reach. Each epoch that fails revives
// an object, and after kMostEpochs of them the sweep revives all and tries again later.
//
// Objects are destroyed whole, their memory given back without walking them. What only they kept is found by the next
// sweep. A server that dies here leaves an epoch, which its successor ends (finish_sweep).
#pragma once

#include <span>

#include "shm/deadline.h"
#include "shm/ids.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

// What is kept though nothing may refer to it: somebody was told of it, and may be about to refer to it.
struct SweepHolds {
  std::span<const ObjectId> recent;  // these holds end soon
  std::span<const ObjectId> others;
};

// Destroys what nothing keeps; `held` are kept too. Returns how many. `unfinished` is set when something has to wait for
// the next sweep: a live process kept a lock of a container so long that nothing could be decided, or took references
// all the time, or this process has no memory; or nothing was destroyed, and a recent hold may be why. REQUIRES: only
// the server calls, and creates, names and adds to `held` nothing meanwhile.
int sweep_unreferred_objects(ThreadContext& me, const SweepHolds& held = {}, bool* unfinished = nullptr);

// For who is short of memory: waits until the sweep has seen all that may be destroyed, at most until then and as long
// as there is a server. False: there is nothing to wait for, and no sweep has ended since this thread was here last;
// or not in time.
bool await_sweep(ThreadContext& me, Deadline deadline);

// Ends the epoch that a dead server left. Gives back the memory of records that are not live, whoever left them, and of
// those that were never made. The server calls it when it adopts a segment, before anything else changes a record.
void finish_sweep(ThreadContext& me);

// Counts the links to each object into its record, for people. REQUIRES: as above.
void count_links(ThreadContext& me);

}  // namespace commonhold::shm
