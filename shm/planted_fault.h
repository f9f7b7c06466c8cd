// Faults that a test switches on in a library of its own, to show that the tests which step two processes find each.
//
// INVARIANT: in every other build planted() is false at compile time and a site leaves no instruction behind. The
// library with the faults (COMMONHOLD_PLANTED_FAULTS) is linked by tests/interleave/planted_test.cc alone, and all that
// is linked with it is compiled with the same macro: planted() is another function there.
#pragma once

#include <cstdint>

namespace commonhold::shm {

enum class PlantedFault : std::uint8_t {
  kNone,
  kLookThenStore,        // Semaphore::acquire() loads the state and stores the next one, which another may do meanwhile
  kStoresSwapped,        // ListWriter::push_back() counts the new element before its cell is written
  kNoRecycleBump,        // Heap::recycle() frees blocks without raising the counter that their readers compare
  kUnlockBeforeCommit,   // Dict::put() of a new key frees the shard's lock before the entry is in its slot
  kNoWake,               // Event::set() leaves its waiters asleep
  kWakeBeforeChange,     // Queue::put() and Event::set() look for sleepers before the change, and not afterwards
  kDeadlineNotLookedAt,  // Condition::wait() goes on when its time has passed
  kLeakedBlock,          // Heap::recycle() forgets the blocks that somebody has pinned
};

#if defined(COMMONHOLD_PLANTED_FAULTS)
// Set by the test before it forks the processes that are to have it.
inline PlantedFault planted_fault = PlantedFault::kNone;
inline bool planted(PlantedFault fault) {
  return planted_fault == fault;
}
#else
constexpr bool planted(PlantedFault) {
  return false;
}
#endif

}  // namespace commonhold::shm
