// References of nobody: what keeps an object alive between its sender and its receiver, whichever of them dies.
//
//   page 0 of the reference pages          page
//   +------+-----------------+-----        +------+-----------------+-----
//   | next | {expires, id}   | ...   -->   | 0    | {expires, id}   | ...
//   +------+-----------------+-----        +------+-----------------+-----
//
// INVARIANT: a cell is taken by a compare-and-swap of `expires` from 0; it keeps the object from the store of `id`. The
// receiver ends it: `id` first, then `expires`, each by compare-and-swap. The sweep frees what has expired, so a death
// anywhere leaves a cell that lasts until then, and a message that nobody receives keeps its objects no longer.
//
// Thread safety: any thread of any process.
#pragma once

#include <cstdint>
#include <vector>

#include "shm/ids.h"
#include "shm/references.h"
#include "shm/segment.h"

namespace commonhold::shm {

struct InFlightCell {
  AtomicWord expires;  // CLOCK_BOOTTIME in ns; 0: free. Written by the sender who took it, the receiver and the sweep
  AtomicWord id;       // ObjectId, 0: none yet, or none any more. Likewise; read by the sweep
};
inline constexpr std::uint32_t kInFlightPerPage = kCellsPerPage / 2;

// Which cell, and whose: as a message carries it.
struct InFlight {
  Offset cell = 0;
  Word expires = 0;
};

// Keeps the object for an hour, or until end_flight(). REQUIRES: the caller refers to it. kOutOfMemory.
Status begin_flight(Segment& segment, ObjectId id, InFlight& begun);
// Does nothing when it was ended or has expired. REQUIRES: the caller has noted its own reference.
void end_flight(Segment& segment, ObjectId id, const InFlight& flight);

// For the sweep: marks what is in flight. Frees what has expired.
void mark_in_flight(const Segment& segment, std::vector<bool>& referred);
void free_expired_flights(const Segment& segment);

}  // namespace commonhold::shm
