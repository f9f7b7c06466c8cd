// One shard in a writer's hands: the lock for a scope, the heap and the table, and the steps that changes are made of.
#pragma once

#include "shm/dict.h"
#include "shm/dict_shards.h"
#include "shm/dict_table.h"
#include "shm/lock_word.h"
#include "shm/object_address.h"
#include "shm/watch.h"

namespace commonhold::shm {

// A lookup reads an entry's header and key without saying so; the value is read by those who do (large_read.h).
constexpr LateReaders entry_readers(std::uint64_t key_size) {
  return sizeof(EntryHeader) + key_size <= kPage ? LateReaders::kFirstPage : LateReaders::kPossible;
}

// What a writer uses of a shard. REQUIRES: the shard's lock (or that of a dead owner who is being recovered).
struct DictShardParts {
  DictShardParts(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
                 std::uint64_t index)
      : object(where.object),
        control(control),
        shard(shards[index]),
        heap(me, ChunkOwner(where.object, shards.arena(index)), shard.heap, shard.recycle),
        table(me.segment(), shard, heap, shards.first_table()) {}

  // Writes an entry that nothing names yet. 0: out of memory.
  Offset write_entry(Segment& segment, std::uint64_t sequence, const Item& key, const Item& value);

  // Before the store that adds or removes an entry: from here to add_to_count() nobody takes the count for exact.
  // SYNC POINT: dict count: whoever sees that store sees the mark, or the new count.
  void begin_count_change() {
    shard.count.store(shard.count.load(std::memory_order_relaxed) | kCountChanging, std::memory_order_release);
  }
  void add_to_count(std::int64_t change) { shard.count.store(count_after(change), std::memory_order_release); }
  // `count` as it is when so many entries more are there.
  Word count_after(std::int64_t change) const {
    Word before = shard.count.load(std::memory_order_relaxed);
    return ((before >> 40) + 1) << 40 | ((before + static_cast<Word>(change)) & kCountMask);
  }
  // Before the lock is freed: tells those who read at one moment. SYNC POINT: dict changes.
  void note_change() { note_shard_change(shard); }
  // After each change of a key's entry, before the lock is freed: tells those who watch the key.
  void tell_watchers(std::uint64_t hash) {
    Word watched = shard.watched.load(std::memory_order_relaxed);
    if ((watched & (dict_watch_bit(hash) | kWatchedWhole)) != 0) [[unlikely]]
      note_dict_change(control, shard, hash, watchers);
  }
  std::uint64_t entries() const { return shard.count.load(std::memory_order_relaxed) & kCountMask; }

  WatchersToWake watchers;
  std::uint32_t object;
  DictControl& control;
  DictShard& shard;
  Heap heap;
  DictTable table;
};

// Makes a shard whole from what its root reaches: half-done splits completed, promises taken back, all else freed.
// Without private memory for that, what is free is out of reach until the next time. REQUIRES: the shard's lock, the
// caller's or a dead owner's.
void dict_derive_shard(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
                       std::uint64_t index) noexcept;

// Notes that a writer waits for a shard (dict_spread.h).
void note_wait(DictControl& control);

// A shard's lock for a scope.
class DictShardLock {
 public:
  DictShardLock(ThreadContext& me, DictControl& control, LockWord& word) : me_(me), word_(word) {
    if (try_lock(me, word)) [[likely]]
      return;
    note_wait(control);
    (void)lock(me, word);
  }
  ~DictShardLock() { (void)unlock(me_, word_); }
  DictShardLock(const DictShardLock&) = delete;
  DictShardLock& operator=(const DictShardLock&) = delete;

 private:
  ThreadContext& me_;
  LockWord& word_;
};

// The same with the shard's lock held for the scope. Whether the shards stand is for the caller to see.
class DictShardWriter : public DictShardParts {
 public:
  DictShardWriter(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
                  std::uint64_t index)
      : DictShardParts(me, where, control, shards, index),
        shards(shards),
        me_(me),
        where_(where),
        index_(index),
        held_(me, control, shard.writing) {}
  ~DictShardWriter() {
    if (heap.wants_rebuild()) [[unlikely]]
      dict_derive_shard(me_, where_, control, shards, index_);
    note_change();
  }
  DictShardWriter(const DictShardWriter&) = delete;
  DictShardWriter& operator=(const DictShardWriter&) = delete;

  const DictShards shards;

 private:
  ThreadContext& me_;
  const ObjectAddress& where_;
  std::uint64_t index_;
  DictShardLock held_;  // freed after the destructor's body
};

// Every shard's lock, in order, for a scope. Whether the shards stand is for the caller to see.
class DictAllLocked {
 public:
  DictAllLocked(ThreadContext& me, const ObjectAddress& where, const DictShards& shards);
  ~DictAllLocked();
  // Frees the first one that is still held. What the locks stand for together is over then.
  void free_next();
  DictAllLocked(const DictAllLocked&) = delete;
  DictAllLocked& operator=(const DictAllLocked&) = delete;

 private:
  ThreadContext& me_;
  Offset control_at_;
  const DictShards& shards_;
  std::uint64_t freed_ = 0;  // of the first ones
};

// Takes an attempt again as long as the shards that it worked on are replaced under it (kRetry).
template <typename Attempt>
Status on_shards_that_stand(Attempt&& attempt) {
  for (;;) {
    const Status status = attempt();
    if (status != Status::kRetry) [[likely]]
      return status;
  }
}

// Draws the next sequence and notes the key for pop_last.
inline std::uint64_t draw_sequence(DictControl& control, std::uint64_t hash) {
  std::uint64_t sequence = control.next_sequence.fetch_add(1, std::memory_order_relaxed);
  control.recent[sequence % kRecentInserts].store(hash, std::memory_order_relaxed);
  return sequence;
}

// Copies an entry whose value's bytes are at `value`.
inline void copy_entry(const std::byte* entry, const EntryHeader& header, const std::byte* value, DictEntryCopy& copy) {
  copy.sequence = header.sequence();
  copy.key_kind = header.key_kind();
  copy.value_kind = header.value_kind();
  copy.key_size = header.key_size();
  copy.bytes.resize(std::size_t{header.key_size()} + header.value_size());
  read_words(copy.bytes.data(), entry + sizeof(EntryHeader), header.key_size());
  read_words(copy.bytes.data() + header.key_size(), value, header.value_size());
}

inline bool same_value(const DictPlace& place, const Item& value) {
  return place.header.value_kind() == value.kind && place.header.value_size() == value.size &&
         equal_words(place.entry + place.header.value_at(), value.data, value.size);
}

}  // namespace commonhold::shm
