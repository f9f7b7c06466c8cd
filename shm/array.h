// A fixed number of equal elements, contiguous, usable in place.
//
// Elements of up to 8 bytes (a power of two) are loaded, stored and changed by one access without a lock. Fills, slices
// and larger elements go through a redo record under the array's lock: the new bytes are written aside (a fill needs
// none), the record is committed by one store of `redo`, applied, and cleared. A death before the commit changes nothing;
// after it, recovery completes the change before it frees the lock. The commit is also the moment at which everybody
// sees the change, for:
//
// - Whoever stores to a small element meanwhile comes before it or after it, and what he was told stays (array_redo.h).
// - Readers take no lock. They copy, and where `redo` is set they put what it names over their copy; the copy counts
//   when `redo` and `version` are what they were. A writer that is stopped or dead holds up no reader. After some
//   disturbed attempts a reader tries for the lock, for a moment at a time: either it gets it, or its holder is not
//   getting on, and then the next attempt is not disturbed.
//
// A program that writes through the span decides for itself how (its stores are memory's).
//
// Watching (watch.h): whoever changed something looks at `watched`, and where it is set clears it, raises `changes` and
// wakes, all changes but those of one small element under the lock. A store of one element is a plain store; a watcher
// makes the barrier between it and the look (barrier_everywhere.h). A death between the two is told by recovery, which
// notes a change of every array that the dead process referred to.
#pragma once

#include <chrono>
#include <cstddef>

#include "shm/layout.h"
#include "shm/object_address.h"
#include "shm/status.h"

namespace commonhold::shm {

class ThreadContext;

struct ArrayControl {
  LockWord writing;    // fills, slices, large elements
  LockWord user_lock;  // the array's own lock for its users
  Word count;          // elements; written once
  Word element_bytes;  // written once
  Word data;           // offset, 64-byte aligned; written once
  // On one cache line: looked at before and after each store of an element.
  // Written under `writing`. 0; 3: closed, a change is about to be committed; else the committed change: kind in bits 0-1
  // (1 copy, 2 fill), scratch's offset. A death leaves any of them; repair applies what is committed and clears it.
  AtomicWord redo;
  std::atomic<std::uint32_t> watched;  // 1: a watcher waits for the next change. Changes only together with:
  std::atomic<std::uint32_t> changes;  // futex; raised as `watched` is cleared
  Word redo_at;                        // first byte changed, relative to data
  Word redo_bytes;                     // length of the change
  Word redo_element;                   // fill: bytes of the element, which stands in the scratch chunk
  // Guarded by `writing`: a chunk of at most 64 KiB kept for the next change, 0 for none. A chunk of the scratch arena
  // that a death left outside of it is given back by repair.
  Word scratch;
  Word scratch_bytes;  // as requested; written before `scratch`
  // Raised under `writing` before anything of a change is written, the record's fields or the scratch chunk, and again
  // after a committed change was applied, before `redo` is 0. Readers compare it.
  AtomicWord version;
  Word unused[3];
};
static_assert(sizeof(ArrayControl) == 128);

// What a store of one element looks at: before it, whether it may begin; after it, whether to call changed(). A load
// looks at `redo` before it.
struct ArrayMarks {
  AtomicWord redo;
  std::atomic<std::uint32_t> watched;
};
static_assert(offsetof(ArrayControl, watched) - offsetof(ArrayControl, redo) == offsetof(ArrayMarks, watched));

// How long a change of many elements waits for somebody who is in the middle of changing one of them: he is stopped.
void set_element_change_timeout_for_test(std::chrono::nanoseconds timeout);

class Array {
 public:
  explicit Array(const ObjectAddress& where);

  std::uint64_t count() const;
  std::size_t element_bytes() const;  // 0: the segment is damaged
  std::byte* data() const;

  Status load(ThreadContext& me, std::uint64_t index, void* out) const;        // kOutOfRange
  Status store(ThreadContext& me, std::uint64_t index, const void* in) const;  // atomic; as write() for a larger one
  // A slice as it is at one moment. Waits for nobody who is stopped.
  Status read(ThreadContext& me, std::uint64_t first, std::uint64_t count, void* out) const;
  // All or nothing, also to those who read meanwhile. kOutOfRange, kOutOfMemory; kTimedOut: the thread in slot `thread` is
  // stopped in the middle of changing one of the elements.
  Status write(ThreadContext& me, std::uint64_t first, std::uint64_t count, const void* in,
               std::uint32_t* thread = nullptr) const;
  Status fill(ThreadContext& me, std::uint64_t first, std::uint64_t count, const void* element,
              std::uint32_t* thread = nullptr) const;

  // The slow ways of those who store to a small element, or change it, in place (array_redo.h). REQUIRES: index < count().
  // After a store that met a change of many: returns once it has come before or after it.
  void settle_store(ThreadContext& me, std::uint64_t index) const;
  // Before a change of an element: announces it in the thread's record; false: holds the lock instead.
  bool begin_change(ThreadContext& me, std::uint64_t index) const;
  void end_change(ThreadContext& me, bool announced) const;

  LockWord& user_lock() const;

  // After a store into data(), or one that found marks().watched set: wakes those who watch. Makes its own barrier.
  void changed() const;
  // The array's; where this process may not take part in barriers, marks that are always set.
  const ArrayMarks& marks() const { return *marks_; }

  // ---- for the catalogue of types and recovery
  // Zeroed. kTooLarge: no element bytes, or more bytes than a machine has.
  static Status create(ThreadContext& me, std::uint32_t object, std::uint64_t count, std::uint64_t element_bytes,
                       Offset& control);
  static void repair(ThreadContext& me, const ObjectAddress& where, LockWord& held);
  static void each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word));
  // A process that referred to the array died: it may have stored an element and not told it.
  static void user_died(const ObjectAddress& where) { Array(where).changed(); }

 private:
  Status try_change_many(ThreadContext& me, Word kind, std::uint64_t first, std::uint64_t count, const void* in,
                         std::uint32_t* thread) const;
  Status change_many(ThreadContext& me, Word kind, std::uint64_t first, std::uint64_t count, const void* in,
                     std::uint32_t* thread) const;
  Status take_scratch(ThreadContext& me, std::uint64_t bytes, Offset& scratch) const;
  Status commit(ThreadContext& me, Word redo, std::uint64_t at, std::uint64_t bytes, std::uint32_t* thread) const;
  Status read_once(std::uint64_t at, std::uint64_t bytes, void* out) const;
  bool may_store(Offset at) const;

  ObjectAddress where_;
  ArrayControl* control_;
  std::uint64_t count_;  // copies made once and checked: every access is bounded by them
  std::size_t element_bytes_;
  std::byte* data_;
  const ArrayMarks* marks_;
};

}  // namespace commonhold::shm
