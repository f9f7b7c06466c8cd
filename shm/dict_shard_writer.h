// One shard in a writer's hands: the lock for a scope, the heap and the table, and the steps that changes are made of.
#pragma once

#include "shm/dict_table.h"
#include "shm/lock_word.h"
#include "shm/object_address.h"
#include "shm/watch.h"

namespace commonhold::shm {

// What a writer uses of a shard. REQUIRES: the shard's lock (or that of a dead owner who is being recovered).
struct DictShardParts {
  DictShardParts(ThreadContext& me, const ObjectAddress& where, DictControl& control, std::uint64_t index)
      : object(where.object),
        control(control),
        shard(dict_shard(control, index)),
        heap(me, ChunkOwner(where.object, static_cast<std::uint32_t>(index)), shard.heap, shard.recycle),
        table(me.segment(), shard, heap) {}

  // Writes an entry that nothing names yet. 0: out of memory.
  Offset write_entry(Segment& segment, std::uint64_t sequence, const Item& key, const Item& value);

  void add_to_count(std::int64_t change) {
    Word before = shard.count.load(std::memory_order_relaxed);
    Word entries = (before + static_cast<Word>(change)) & kCountMask;
    shard.count.store(((before >> 40) + 1) << 40 | entries, std::memory_order_release);
  }
  // After each change of a key's entry, before the lock is freed: tells those who watch the key.
  void tell_watchers(std::uint64_t hash) {
    Word watched = shard.watched.load(std::memory_order_relaxed);
    if ((watched & (dict_watch_bit(hash) | kWatchedWhole)) != 0) [[unlikely]]
      note_dict_change(control, shard, hash, watchers);
  }
  std::uint64_t entries() const { return shard.count.load(std::memory_order_relaxed) & kCountMask; }

  static constexpr Word kCountMask = (Word{1} << 40) - 1;

  WatchersToWake watchers;
  std::uint32_t object;
  DictControl& control;
  DictShard& shard;
  Heap heap;
  DictTable table;
};

// Makes a shard whole from what its root reaches: half-done splits completed, promises taken back, all else freed.
// REQUIRES: the shard's lock, the caller's or a dead owner's.
void dict_derive_shard(ThreadContext& me, const ObjectAddress& where, DictControl& control, std::uint64_t index);

// The same with the shard's lock held for the scope.
class DictShardWriter : public DictShardParts {
 public:
  DictShardWriter(ThreadContext& me, const ObjectAddress& where, DictControl& control, std::uint64_t index)
      : DictShardParts(me, where, control, index), me_(me), where_(where), index_(index), held_(me, shard.writing) {}
  ~DictShardWriter() {
    if (heap.wants_rebuild()) [[unlikely]]
      dict_derive_shard(me_, where_, control, index_);
  }
  DictShardWriter(const DictShardWriter&) = delete;
  DictShardWriter& operator=(const DictShardWriter&) = delete;

 private:
  ThreadContext& me_;
  const ObjectAddress& where_;
  std::uint64_t index_;
  HeldLock held_;  // freed after the destructor's body
};

// Every shard's lock, in order, for a scope.
class DictAllLocked {
 public:
  DictAllLocked(ThreadContext& me, const ObjectAddress& where, DictControl& control);
  ~DictAllLocked();
  DictAllLocked(const DictAllLocked&) = delete;
  DictAllLocked& operator=(const DictAllLocked&) = delete;

 private:
  ThreadContext& me_;
  Offset control_at_;
  DictControl& control_;
};

// Draws the next sequence and notes the key for pop_last.
inline std::uint64_t draw_sequence(DictControl& control, std::uint64_t hash) {
  std::uint64_t sequence = control.next_sequence.fetch_add(1, std::memory_order_relaxed);
  control.recent[sequence % kRecentInserts].store(hash, std::memory_order_relaxed);
  return sequence;
}

inline bool same_value(const DictPlace& place, const Item& value) {
  return place.header.value_kind() == value.kind && place.header.value_size() == value.size &&
         equal_words(place.entry + place.header.value_at(), value.data, value.size);
}

}  // namespace commonhold::shm
