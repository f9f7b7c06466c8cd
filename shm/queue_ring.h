// The chain of chunks as one process sees it: where items are, and who owns the chunks. For queue.cc and its repair.
//
// Everything read from the segment is checked before it is used; a chain that makes no sense is kCorrupt.
#pragma once

#include <string>
#include <vector>

#include "shm/item.h"
#include "shm/object_address.h"
#include "shm/queue_layout.h"
#include "shm/segment.h"
#include "shm/status.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

// One item where it lies.
struct ItemPlace {
  Offset at = 0;     // of its bytes
  Offset after = 0;  // of what follows
  std::uint64_t size = 0;
  ItemKind kind = ItemKind::kNull;  // of an item with a header
  bool large = false;               // `at` is a chunk of its own
};

class QueueRing {
 public:
  explicit QueueRing(const ObjectAddress& where);

  QueueControl& control() const { return *control_; }
  Segment& segment() const { return *where_.segment; }
  bool sound() const { return sound_; }  // false: the constants make no sense; nothing else may be called
  std::uint64_t item_bytes() const { return item_bytes_; }
  std::uint64_t stride() const { return stride_; }  // of fixed items
  std::uint64_t limit() const { return limit_; }

  Offset chunk_of(Offset at) const { return at & ~(chunk_bytes_ - 1); }
  Offset end_of(Offset at) const { return chunk_of(at) + usable_; }
  bool is_position(Offset at) const {
    return at % 8 == 0 && at - chunk_of(at) <= usable_ && segment().holds(chunk_of(at), chunk_bytes_);
  }
  // The chunk after that of `at`, 0 for none or one that is none of ours.
  Offset next_of(Offset at) const;

  // Where the item at `at`, or in the next chunk, lies. REQUIRES: it was put.
  Status find_item(Offset at, ItemPlace& item) const;
  std::uint64_t inline_limit() const { return shm::inline_limit(chunk_bytes_); }

  // The lines that a producer will write soon, which a consumer has read meanwhile.
  void fetch_ahead(Offset at) const { __builtin_prefetch(segment().at<std::byte>(at + 256), 1); }

  // ---- producers: REQUIRES: `putting` is held by `me`

  // Moves `at` to the beginning of the next chunk, making one where there is none.
  Status next_chunk(ThreadContext& me, Offset& at) const;
  // Writes an item at `at`, moving on to another chunk where it does not fit; nobody sees it yet.
  Status append(ThreadContext& me, Offset& at, const Item& item) const;
  // Gives back the chunks of `count` items appended from a position on, which were not committed.
  void undo_append(ThreadContext& me, Offset from, std::uint64_t count) const;
  // Gives back what consumers have left behind, a few chunks at a time. The get_cursor that it went by.
  Word reclaim(ThreadContext& me) const;

  // A guess without a lock: reclaim() is worth a consumer's while.
  bool has_left_much() const;

  // ---- after a death, under the dead one's lock

  void repair_putting(ThreadContext& me) const;
  void repair_getting() const;

  // Calls visit(item) for each item that was not taken; false when the chain breaks off. REQUIRES: both locks.
  template <typename Visit>
  bool each_waiting(Visit&& visit) const {
    return each_item(cursor_at(control_->get_cursor.load(std::memory_order_acquire)),
                     cursor_at(control_->put_cursor.load(std::memory_order_acquire)), visit);
  }

  // What is wrong with the chain, "" for nothing; counts chunks that nothing leads to. REQUIRES: both locks.
  std::string check(Word head, Word tail, std::uint64_t& lost_chunks) const;

  static Status create(ThreadContext& me, std::uint32_t object, std::uint64_t item_bytes, std::uint64_t limit,
                       Offset& control);

 private:
  ChunkTrailer& trailer(Offset chunk) const {
    return *segment().at<ChunkTrailer>(chunk + chunk_bytes_ - sizeof(ChunkTrailer));
  }
  Status take_ring_chunk(ThreadContext& me, Word taken, Offset& chunk) const;
  void reclaim_large(ThreadContext& me, Word taken) const;
  struct Owned {
    Offset at;
    std::uint64_t bytes;
  };
  // Chunks that belong to the queue and that neither the chain nor an item between the two cursors leads to.
  bool find_lost(Word taken, Word put, std::vector<Owned>& lost) const;
  // Moves a cursor on to where `count` items were before it.
  Word caught_up(Word cursor, Word count) const;
  // Calls visit(item) for each item from `at` to `until`; false when the chain breaks off.
  template <typename Visit>
  bool each_item(Offset at, Offset until, Visit&& visit) const {
    std::uint64_t most = segment().committed_extents() * (kExtent / sizeof(Word));  // a damaged chain may be a ring
    while (at != until) {
      ItemPlace item;
      if (most-- == 0 || find_item(at, item) != Status::kOk) return false;
      visit(item);
      at = item.after;
    }
    return true;
  }

  ObjectAddress where_;
  QueueControl* control_;
  std::uint64_t item_bytes_, stride_, limit_, chunk_bytes_, usable_ = 0;
  bool sound_;
};

}  // namespace commonhold::shm
