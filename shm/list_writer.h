// A writer's turn at a list: its lock, its heap and its root record.
//
// REQUIRES: nothing in here throws; callers allocate before they make one, or after it is gone.
#pragma once

#include <cstring>
#include <string>

#include "shm/list_tree.h"
#include "shm/segment.h"
#include "shm/timed_lock.h"

namespace commonhold::shm {

class ListWriter {
 public:
  // status() is kTimedOut where somebody else held the lock until the deadline.
  ListWriter(ThreadContext& me, const ObjectAddress& where, Deadline deadline = Deadline::never())
      : me_(me),
        segment_(*where.segment),
        object_(where.object),
        control_(*where.segment->at<ListControl>(where.control)),
        turn_(me, control_.writing, deadline),
        heap_(me, ChunkOwner(where.object, kListArena), control_.heap, control_.recycle),
        boxed_(load_word(&control_.boxed) != 0),
        status_(turn_ ? read_view(segment_, control_, view_) : Status::kTimedOut) {}

  // Not kOk: the root record is damaged, or the lock was not got; nothing else may be called.
  Status status() const { return status_; }
  const ListView& view() const { return view_; }
  bool boxed() const { return boxed_; }
  std::uint64_t changes() const { return control_.changes.load(std::memory_order_relaxed); }

  Status cell_at(std::uint64_t index, AtomicWord*& cell) const {
    std::uint64_t rest;
    index = from_front(index, view_.size());
    if (index >= view_.size()) return Status::kOutOfRange;
    return find_cells(segment_, view_, index, cell, rest);
  }

  // A cell for a value: its word, or a box of it that nothing reaches yet. kOutOfMemory.
  Status make_cell(const Item& value, Word& cell) {
    if (!boxed_) {
      cell = 0;
      if (value.size != 0) std::memcpy(&cell, value.data, value.size < 8 ? value.size : 8);
      return Status::kOk;
    }
    note_links(segment_, object_, value);
    cell = make_box(segment_, heap_, value);
    if (cell == 0) return Status::kOutOfMemory;
    if (spares_are_of_class(kBoxHeader + value.size) && !keep_spares(view_)) {
      give_cell(cell);
      return Status::kOutOfMemory;
    }
    return Status::kOk;
  }
  void give_cell(Word cell) {  // one that was not committed
    if (boxed_) heap_.give(cell, box_bytes(segment_.at<AtomicWord>(cell)->load(std::memory_order_relaxed)));
  }
  void retire_cell(Word cell) {  // one that is no longer reachable
    if (boxed_) retire_box(segment_, heap_, cell);
  }

  // The value behind a cell into `out`, when not null: kRetry with `need` when it has no room.
  Status copy_out(Word cell, std::string* out, std::size_t& need) const;
  bool equals(Word cell, const Item& value) const;

  // The commit points. kOutOfMemory and kCorrupt change nothing.
  void overwrite(AtomicWord& cell, Word now) {
    Word before = cell.load(std::memory_order_relaxed);
    raise_changes(control_);
    cell.store(now, std::memory_order_release);  // SYNC POINT: list cell
    retire_cell(before);
  }
  Status push_back(Word cell);
  // Removes the last element, whose cell is given.
  Status pop_back(Word cell);
  Status replace(std::uint64_t first, std::uint64_t count, const WordRun& cells, ListScratch& scratch,
                 bool drop_boxes = true);
  // Room for `count` more cells in the tail, nullptr when they do not fit; then grow_tail makes them visible.
  AtomicWord* tail_room(std::uint64_t count) const;
  void grow_tail(std::uint64_t count);
  // Gives chunks back in which only freed blocks lie.
  void give_idle_memory();
  // Moves large elements to lower places; true when any moved.
  bool compact();
  // Swaps in an empty list and frees all blocks of the old one at once.
  void clear();
  // After elements were taken away: a list that is empty now gives its memory back, if it is worth the while.
  void trim_if_empty();

 private:
  // Who takes elements away copies nodes and must not need memory for it: taking away is what gives memory back. So
  // what adds elements leaves some nodes and root records in the heap. False: out of memory.
  bool keep_spares(const ListView& view);
  static bool spares_are_of_class(std::uint64_t bytes);

  ThreadContext& me_;
  Segment& segment_;
  std::uint32_t object_;
  ListControl& control_;
  TimedLockGuard turn_;
  Heap heap_;
  bool boxed_;
  ListView view_;
  Status status_;
};

}  // namespace commonhold::shm
