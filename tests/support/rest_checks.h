// What must be so in a segment whose processes have come to rest, whatever they did.
#pragma once

#include <cstdint>
#include <string>

#include "shm/segment.h"
#include "support/test_segment.h"

namespace commonhold::test {

// Locks that guard the library's own structures and are held: none, once all calls are over or asleep. Those that users
// take (of a Lock, an RLock, a Condition, a readers-writer lock, with_lock) are theirs.
std::string locks_left(const shm::Segment& segment);

// What a living thread's record still says although its calls are over, but for locks that users hold. `own`: a session
// whose threads are not looked at, since they are at work.
std::string marks_left(const shm::Segment& segment, std::uint32_t own);

// A further operation on each object of the segment, when all who used it are dead and recovered.
std::string what_does_not_work(const TestSegment& segment);

}  // namespace commonhold::test
