// Outcome of an operation on shared memory. shm/ reports it; only std::bad_alloc of private memory is thrown, and frees
// what was locked on its way.
#pragma once

#include <cstdint>

namespace commonhold::shm {

enum class [[nodiscard]] Status : std::uint8_t{
    kOk,
    kNotFound,     // no such key, name, object or value
    kExists,       // the name or key is taken
    kMismatch,     // compare_exchange saw another value; an object of another type
    kOutOfRange,   // an index outside the sequence
    kOutOfMemory,  // the memory limit or the file system is full; nothing was changed
    kTooLarge,     // an item, name or request over a fixed limit
    kTooMany,      // no free session, thread slot or object record
    kTimedOut,     // the deadline passed
    kNotHeld,      // unlock of a free lock
    kPoisoned,     // the lock's previous owner died and its policy asks for a repair first
    kCorrupt,      // the segment holds what no writer of ours writes
    kGone,         // the object was destroyed
    kBroken,       // a barrier that somebody broke, or that broke while the caller was in it
    kClosed,       // the queue takes, or gives, no more
    kDeadlock,     // the caller itself holds what it asks for in a way that excludes it
    kNoFile,       // a file of the folder was closed by the program, and cannot be opened again
    kNotAllowed,   // the kernel, or what confines this process, does not let it
    kRetry,        // a concurrent change was seen; internal to shm/
};

// The name of a status in words, for messages and test output.
const char* to_string(Status status);

}  // namespace commonhold::shm
