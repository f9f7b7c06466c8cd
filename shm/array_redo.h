// The committed change of an array's elements, and how it meets those who use single elements without a lock.
//
//   plain store, load            change of one in place (+=)          change of many, under the array's lock
//   -----------------            ---------------------------          --------------------------------------
//   redo is 0?                   record.storing = its offset          redo = closed
//   store (load)                 redo is 0?                           a full barrier for all processes
//   redo is 0?                   change it atomically                 wait until no `storing` is in the range
//                                record.storing = 0                   redo = what to do: the commit point
//                                                                     apply it
//                                                                     version + 1, so that slices begin again
//                                                                     redo = 0
//
// Where the first look finds `redo` set, the operation waits for the lock, unless it is about an element outside of the
// range; a load reads as slices do. Where the second look does, a store waits for the end of the change before it returns,
// and a load begins again. They make no fence between their steps: the barrier in the middle of the change does it for all
// (barrier_everywhere.h). So a store that did not see `redo` was made before the commit, and a += is announced to whoever
// it did not see.
//
// INVARIANT: from the commit until `redo` is 0 the range is for everybody what `redo` says: readers put it over what they
// copy. Nobody changes one of its elements by what was in it. A plain store may come into it, by somebody who looked before
// the commit and has not returned; nobody sees it until `redo` is 0, so it may stay, or be overwritten as if it had come
// before the change. Therefore a change may be applied again after a death, any number of times.
//
// A death between announcing and taking back leaves an announcement, which goes with the thread slot. The writer waits
// for a process that is stopped there, up to a time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shm/array.h"
#include "shm/deadline.h"
#include "shm/layout.h"
#include "shm/status.h"

namespace commonhold::shm {

class Segment;
class ThreadContext;

inline constexpr Word kRedoCopy = 1;
inline constexpr Word kRedoFill = 2;
inline constexpr Word kRedoClosed = 3;  // about to be committed
inline constexpr Word kRedoKind = 3;

// A committed change as its record says.
struct ArrayRedo {
  Word kind = 0;
  const std::byte* from = nullptr;
  std::uint64_t at = 0, bytes = 0, element = 0;

  // kCorrupt when it names no memory of ours, or is none.
  static Status read(const Segment& segment, const ArrayControl& control, Word word, std::uint64_t data_bytes,
                     ArrayRedo& redo);

  // Puts it over a private copy of bytes [first, first + size).
  void put_over(std::byte* out, std::uint64_t first, std::uint64_t size) const;
  void apply(std::byte* data) const;
};

// REQUIRES: `redo` is closed. Returns when every store to [from, to) that did not see it is in memory, and every change of
// an element there that did not see it is done. kTimedOut: `thread` is the slot of one that is not.
Status wait_for_element_changes(ThreadContext& me, Offset from, Offset to, Deadline deadline, std::uint32_t& thread);

}  // namespace commonhold::shm
