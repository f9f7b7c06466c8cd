// Destroying what nobody can reach: the one garbage collection of a segment, by the server alone.
//
// An object is kept by its name, by a session's reference (references.h), by a hold of the server, or by a link in an
// item of an object that is kept. Nothing is counted: what is kept is found by looking, so no death can leave a count
// that is wrong, and objects that refer to each other in a circle go like all others.
//
//   first look    sessions, holds and names, and from them along the links of containers. What was not met is a
//   candidate doubt         every candidate's state becomes kDoubted second look   sessions, holds and names again;
//   then the links of every container that is not doubted, and of each
//                 doubted one that is met. What is met is live again; the rest is destroyed
//
// Why nothing that can be reached is destroyed, though processes go on meanwhile: to store a link, a process holds a
// reference of its session to the object (links.h), and nobody gets a new reference to a doubted object (add_reference
// waits for the sweep). Take a doubted object X. Once the second look has read all sessions, either it met a reference
// to X, or there is none and there will be none: from then on links to X can go, but none can come, and no object is
// made meanwhile. Each container that is not doubted is read after that moment under its locks, and so is each doubted
// one that turns out to be kept. A link to X that is still there is therefore met; one that went, went for good. A
// process that takes an item out of a container notes its reference first and then removes the item if it is still the
// same; if the object was doubted it waits, and looks again if the object went.
//
// Objects are destroyed whole, their memory given back without walking them. What only they kept is found by the next
// sweep. A server that dies here leaves doubts, which its successor declares live, and kEnding, which it completes.
#pragma once

#include <span>

#include "shm/ids.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

// Destroys what nothing keeps; `held` are kept too. Returns how many. `unfinished` is set when a live process kept a
// lock of a container so long that nothing could be decided: nothing was destroyed then. REQUIRES: only the server
// calls, and creates, names and adds to `held` nothing meanwhile.
int sweep_unreferred_objects(ThreadContext& me, std::span<const ObjectId> held = {}, bool* unfinished = nullptr);

// Counts the links to each object into its record, for people. REQUIRES: as above.
void count_links(ThreadContext& me);

}  // namespace commonhold::shm
