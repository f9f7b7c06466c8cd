// A sequence in shared memory: a copy-on-write tree of leaves with a tail that grows in place.
//
//   ListControl.root --> ListRoot { tree, height, tree_count, tail, tail_count }
//                          |                                  |
//                          v                                  v
//                 inner: {child, count} x 63          leaf: up to 126 cells      (only push and pop at the back, and
//                          |                                                      element stores, touch the tail)
//                          v
//                 leaf: up to 126 cells of one word: a scalar, or the offset of a box { kind, size, bytes }
//
// Commit points: an element store is one cell; push and pop at the back are one store of ListRoot.tail_count;
// everything else copies the leaf and the path to it, writes a new ListRoot and swaps ListControl.root. INVARIANT:
// nodes but the tail are never changed once reachable, except single cells under the lock: by element stores, and by
// compact(), which gives an element's box another place. After a death the heap is rebuilt from what root reaches
// (heap.h).
//
// Writers hold the list's lock. Readers take none: one element is copied, then `recycle` compared; many elements are of one
// moment when `changes` is what it was as well, for it rises before each commit, and a commit is one store. A reader that was
// disturbed too often tries for the lock, for a moment at a time: either it gets it, or its holder is not getting on, and
// then the next attempt is not disturbed. So no reader waits for a process that is stopped.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "shm/heap.h"
#include "shm/item.h"
#include "shm/links.h"
#include "shm/object_address.h"
#include "shm/status.h"

namespace commonhold::shm {

class ThreadContext;

struct ListControl {
  LockWord writing;
  Word boxed;      // 0: cells are words of one scalar kind; 1: cells are offsets of boxes. Written once
  HeapState heap;  // guarded by `writing`
  alignas(64) AtomicWord recycle;
  AtomicWord root;  // commit point; offset of the ListRoot, 0 = empty
  // Raised just before every commit: for readers of many elements, and for optimistic retry loops (sort, update).
  AtomicWord changes;
  // Watching (watch.h), guarded by `writing`; on a line that every commit writes to.
  std::atomic<std::uint32_t> watched;  // 1: somebody watches
  std::atomic<std::uint32_t> notes;    // futex: changes that were noted because somebody watched
};
static_assert(sizeof(ListControl) <= kGranule);

class List {
 public:
  explicit List(const ObjectAddress& where);

  std::uint64_t size() const;
  // Index from the front; kOutOfRange. Sinks as in dict.h. Words of a list without boxes are given as kInt64: what they
  // mean is the type's business.
  // An index of -1 and below, as 64 bits, counts from the end as it is at the moment of the call, here and below.
  Status get(std::uint64_t index, Sink value) const;
  // The same for an element of exactly `bytes` bytes, without calls back. kMismatch when its size differs.
  Status get_fixed(std::uint64_t index, void* value, std::size_t bytes) const;
  Status set(ThreadContext& me, std::uint64_t index, const Item& value, std::string* before = nullptr);
  using WordChange = Word (*)(Word before, Word operand);
  // For lists without boxes; kMismatch else.
  Status change_word(ThreadContext& me, std::uint64_t index, WordChange change, Word operand, Word* before);
  // kMismatch with the value in `actual`.
  Status compare_exchange(ThreadContext& me, std::uint64_t index, const Item& expected, const Item& desired,
                          std::string* actual = nullptr);

  Status push_back(ThreadContext& me, const Item& value);
  Status push_front(ThreadContext& me, const Item& value);
  Status pop_back(ThreadContext& me, std::string& popped);  // kNotFound when empty
  Status pop_front(ThreadContext& me, std::string& popped);
  Status insert(ThreadContext& me, std::uint64_t index, const Item& value);  // index <= size, else kOutOfRange
  Status erase(ThreadContext& me, std::uint64_t index, std::string* erased = nullptr);

  // All or nothing. replace puts `values` in the place of [first, first + count), clipped to the size: slices, assign;
  // kOutOfRange when first > size.
  Status extend(ThreadContext& me, std::span<const Item> values);
  Status replace(ThreadContext& me, std::uint64_t first, std::uint64_t count, std::span<const Item> values);
  Status clear(ThreadContext& me);
  Status reverse(ThreadContext& me);

  // [first, first + count) clipped to the size, at one moment; where `changes` is asked for, under the lock, with the number
  // of changes before it.
  Status snapshot(ThreadContext& me, std::uint64_t first, std::uint64_t count, std::vector<std::string>& values,
                  std::uint64_t* changes = nullptr, std::vector<ItemKind>* kinds = nullptr) const;
  // Replaces everything if nothing changed since `changes` was read; kMismatch otherwise.
  Status assign_if_unchanged(ThreadContext& me, std::uint64_t changes, std::span<const Item> values);
  // Erases the element at `index` if it still equals `expected`; kMismatch. The same for the last one; kNotFound.
  Status erase_if_equal(ThreadContext& me, std::uint64_t index, const Item& expected);
  Status pop_back_if_equal(ThreadContext& me, const Item& expected);

  // ---- for the catalogue of types, recovery and tests
  static Status create(ThreadContext& me, std::uint32_t object, bool boxed, Offset& control);
  static void repair(ThreadContext& me, const ObjectAddress& where, LockWord& held);
  static void each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word));
  static bool each_link(ThreadContext& me, const ObjectAddress& where, Deadline deadline, const LinkVisitor& visit);
  struct Audit {
    std::string error;  // the first broken invariant, or what memory is lost; empty when sound
    std::uint64_t elements = 0, lost_blocks = 0, lost_chunks = 0;
  };
  // Checks every invariant and counts every block. REQUIRES: nobody changes the list meanwhile.
  Audit audit(ThreadContext& me) const;

  // Chunks that only freed blocks lie in go back to the segment.
  void give_idle_memory(ThreadContext& me);
  // Moves large elements together (list_compact.cc); true when any moved.
  bool compact(ThreadContext& me);

 private:
  template <typename Take>
  Status read_cell(std::uint64_t index, Take&& take) const;
  Status get_undisturbed(std::uint64_t index, Sink value, bool* large) const;
  Status get_locked(std::uint64_t index, Sink value) const;
  struct Copy;
  Status copy_undisturbed(std::uint64_t first, std::uint64_t count, Copy& copy) const;
  Status copy_elements(ThreadContext& me, std::uint64_t first, std::uint64_t count, Copy& copy,
                       std::uint64_t* changes) const;
  Status change_range(ThreadContext& me, std::uint64_t first, std::uint64_t count, std::span<const Item> values,
                      const std::uint64_t* if_changes);

  ObjectAddress where_;
  Segment* segment_;
  ListControl* control_;
};

}  // namespace commonhold::shm
