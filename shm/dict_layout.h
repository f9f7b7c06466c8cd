// A dict's memory: shards, each with a lock, a heap and a table.
//
//   DictControl { shards, seed, next_sequence, recent }  DictShard x shards { lock, count, heap | recycle, root }  redo
//                    |                                   ^                                                 |
//                    +-----------------------------------+                                                 |
//       root, small: one table of 1, 2, 8 or 64 buckets <---------------------------------------------------+
//       root, large: directory of 2^depth entries, each: table | its local depth                            |
//                                                                                                           v
//   table: buckets of 8 slots, 64 bytes each; slot:  | tag 24 | overflow 1 | reserved 1 | entry / 16, 38 bits |
//   entry: { sequence 48, key kind 8, value kind 8 } { key size 32, value size 32 } key..., pad to 8, value..., pad
//
// hash: bits 40-63 the tag: its low bits choose the bucket, its high bits the directory entry; bits 8-15 the shard.
// An entry lives in its home bucket or in one of the next three; then the home's first slot carries the overflow bit.
//
// A dict that is made without a number of shards has one, and its first table, in the control block, which is all that
// an empty one takes. When it becomes crowded it spreads over kDefaultShards in a chunk of their own (dict_spread.cc).
//
// Commit points: put, overwrite and erase store one slot; a scalar is overwritten by one store of its word; growing and
// shrinking store `root`; several keys, clear and assign are one batch: a redo record (redo.h) that readers see whole,
// because they read through it while it is being applied (dict_view.h); spreading stores DictControl::shards.
// INVARIANT: an entry is written before a slot names it and its key never changes; a table is filled before root or the
// directory names it. A split updates directory entries from the upper half down while the old table still holds
// everything; `unfinished` says so meanwhile and recovery completes it. All else (count, heap) is derived.
//
// Readers: load `recycle`, root, directory entry, slots, copy the entry, compare `recycle`. A miss counts only when
// root and directory entry are what they were.
#pragma once

#include <bit>

#include "shm/heap.h"
#include "shm/item.h"
#include "shm/layout.h"

namespace commonhold::shm {

inline constexpr std::uint64_t kNotesKept = 3;

// Of DictShard::unfinished.
inline constexpr Word kSplitting = 1, kSpreading = 2;

// Of DictShard::count.
inline constexpr Word kCountMask = (Word{1} << 39) - 1;
inline constexpr Word kCountChanging = Word{1} << 39;

struct DictShard {
  // Written by the holder of `writing`; `count`, `changes` and `hidden_root` are read by everybody.
  alignas(64) LockWord writing;
  AtomicWord count;    // entries in bits 0-38; bit 39: it is about to change; number of changes of it above. Derived
  AtomicWord changes;  // raised by each holder who changed anything, before it frees the lock (dict_moment.h)
  HeapState heap;      // derived
  // kSplitting while directory entries of one table may disagree; kSpreading while shards are made that nobody knows.
  Word unfinished;
  AtomicWord hidden_root;  // what `root` is while it says kRootHidden; a death in between: recovery puts it back
  Word shrink_at;     // not 0: a smaller table found no memory; tried again when no more entries than this are left
  AtomicWord staged;  // entries of a batch that is being prepared (dict_staging.h)
  // Read by everybody, changed rarely.
  alignas(64) AtomicWord recycle;  // see heap.h
  AtomicWord root;  // 0 empty; table offset | size code; directory offset | 32 | depth; kRootHidden; kRootMoved
  // Watching (watch.h), guarded by `writing`. A writer looks at `watched`, on a line that it has looked at already.
  AtomicWord watched;            // bit 63: the whole dict; bits 0-62: keys with such a hash; 0 nobody
  AtomicWord notes;              // changes of watched keys that were noted
  AtomicWord looked_at;          // the notes that there were at the last look of any watcher of a key
  AtomicWord noted[kNotesKept];  // hash of the key of note n at n % kNotesKept
};
static_assert(sizeof(DictShard) == 448);

// Whoever changed anything in a shard, before it frees the lock. SYNC POINT: dict changes: released with the lock.
inline void note_shard_change(DictShard& shard) {
  shard.changes.store(shard.changes.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

inline constexpr std::uint64_t kRecentInserts = 23;
inline constexpr std::uint64_t kDefaultShards = 16;
inline constexpr std::uint64_t kMaxShards = 128;
// Of DictControl::patience: it keeps the shards that it has.
inline constexpr Word kNeverSpreads = 63, kMostPatience = 24;

struct DictControl {
  // Where the shards are and how many: in bits 7-63, signed, their distance from here in units of 64 bytes; in bits 0-6
  // their number, a power of two, less 1. Written by the creator, and by whoever spreads the dict, under its one
  // shard's lock.
  AtomicWord shards;
  Word seed;                              // of the key hash; written once
  std::atomic<std::uint32_t> notes_made;  // futex of all watchers (watch.h): raised with each note of any shard
  std::uint32_t unused;
  // The batch that is being committed. `committing` is held beside the locks of all shards that the batch changes, from
  // before their roots are hidden until the batch is applied. Readers look at `batch` without it (dict_view.h).
  alignas(64) LockWord committing;
  AtomicWord batch;  // odd: a batch is committed and being applied; rises by 2 with each. Changed by its redo alone
  AtomicWord batch_redo;   // the redo block of the batch; means something while `batch` is odd
  AtomicWord batch_slots;  // how many of its entries, from the second on, lie in tables and entries, in rising order
  // Hints of a dict that may spread: how often a writer waited for its one shard; how often the limits are doubled from
  // which it is crowded, up to kMostPatience, or kNeverSpreads.
  AtomicWord waits, patience;
  // When all idle memory was given back and was not enough, not 0 (trim_mark): a hint. Written by whoever runs out of
  // memory.
  AtomicWord trimmed_at;
  LockWord preparing;  // of whoever writes entries of a large batch before it has its locks (dict_staging.h)
  alignas(64) AtomicWord next_sequence;  // drawn by each insertion of a new key
  AtomicWord recent[kRecentInserts];     // hash of the key with sequence s at s % kRecentInserts: a hint for pop_last
};
static_assert(sizeof(DictControl) == 320);

// The sum of all shards' `changes` in bits 0-39, the segment's free extents, as far as they fit, in 40-63.
inline constexpr std::uint32_t kTrimFreeShift = 40;
inline constexpr Word kTrimChanges = (Word{1} << kTrimFreeShift) - 1;
constexpr Word trim_mark(Word changes, Word free_extents) {
  constexpr Word kMost = ~Word{0} >> kTrimFreeShift;
  return (changes & kTrimChanges) | (free_extents < kMost ? free_extents : kMost) << kTrimFreeShift;
}

inline constexpr std::uint64_t kDictHeaderBytes = round_up(sizeof(DictControl), 64);

// DictControl::shards.
constexpr Word shards_word(std::uint64_t distance, std::uint64_t shards) {
  return distance << 1 | (shards - 1);
}
constexpr std::uint64_t shards_distance(Word word) {  // a difference of two addresses, which may be below 0
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(word & ~(kMaxShards - 1)) >> 1);
}
// 0: no number of shards, but garbage.
constexpr std::uint64_t shards_number(Word word) {
  const Word number = (word & (kMaxShards - 1)) + 1;
  return std::has_single_bit(number) ? number : 0;
}
// Shard `index` of those that the word names; without a look whether they are in the segment (DictShards looks).
inline DictShard& shard_of_word(DictControl& control, Word word, std::uint64_t index) {
  const auto base = reinterpret_cast<std::uintptr_t>(&control) + shards_distance(word);
  return *reinterpret_cast<DictShard*>(base + index * sizeof(DictShard));
}
inline DictShard& dict_shard(DictControl& control, std::uint64_t index) {
  return shard_of_word(control, control.shards.load(std::memory_order_acquire), index);
}
inline std::uint64_t dict_shards(const DictControl& control) {
  return shards_number(control.shards.load(std::memory_order_acquire));
}
// How many entries the redo block of a batch has that changes so many slots (and scalars) and shards: `batch` twice,
// and of each shard count and root.
constexpr std::uint64_t batch_redo_entries(std::uint64_t slots, std::uint64_t shards) {
  return slots + 2 * shards + 2;
}
// Behind one shard alone: its first table. Guarded by the shard's lock.
inline constexpr std::uint64_t kFirstTableBuckets = 2;
// Behind the shards: a redo block (redo.h) for a batch that changes every shard's root, so that clear needs no memory.
// Guarded by all shards' locks. Both distances from the first shard.
inline constexpr std::uint64_t kFirstTableAt = sizeof(DictShard);
constexpr std::uint64_t dict_redo_at(std::uint64_t shards) {
  return shards * sizeof(DictShard) + (shards == 1 ? kFirstTableBuckets * 64 : 0);
}
constexpr std::uint64_t dict_shards_bytes(std::uint64_t shards) {
  return dict_redo_at(shards) + 16 + batch_redo_entries(0, shards) * 16;
}
constexpr std::uint64_t dict_control_bytes(std::uint64_t shards) {
  return kDictHeaderBytes + dict_shards_bytes(shards);
}
static_assert(dict_control_bytes(1) <= kGranule);

// ---- hash

constexpr std::uint32_t hash_tag(std::uint64_t hash) {
  return static_cast<std::uint32_t>(hash >> 40);
}
constexpr std::uint64_t hash_shard(std::uint64_t hash, std::uint64_t shards) {
  return (hash >> 8) & (shards - 1);
}

// ---- slots

inline constexpr std::uint32_t kSlotsPerBucket = 8;
inline constexpr std::uint32_t kProbedBuckets = 4;
inline constexpr Word kSlotOverflow = Word{1} << 39;  // in a bucket's first slot: entries of it live further on
inline constexpr Word kSlotReserved = Word{1} << 38;  // empty, but reserved for a change that is being prepared
inline constexpr Word kSlotEntry = (Word{1} << 38) - 1;

constexpr Offset slot_entry(Word slot) {
  return (slot & kSlotEntry) << 4;
}
constexpr std::uint32_t slot_tag(Word slot) {
  return static_cast<std::uint32_t>(slot >> 40);
}
constexpr Word slot_word(std::uint32_t tag, Offset entry) {
  return Word{tag} << 40 | entry >> 4;
}

// ---- root and directory

inline constexpr Word kRootDirectory = 32;
// In the place of a shard's root while a batch that changes the shard is committed: a directory deeper than any, so
// that who looks for a key the short way does not find it and looks through the batch instead.
inline constexpr Word kRootHidden = 63;
// In the place of the root of a dict's one shard since the dict has spread: the entries are elsewhere, for ever.
inline constexpr Word kRootMoved = 62;
inline constexpr std::uint32_t kMaxDepth = 18;  // beyond it the tag's bits no longer tell keys apart

constexpr bool root_is_directory(Word root) {
  return (root & kRootDirectory) != 0;
}
constexpr std::uint32_t root_depth(Word root) {
  return static_cast<std::uint32_t>(root & 31);
}
constexpr Offset root_offset(Word root) {
  return root & ~Word{63};
}
// Of a small root: 1 more than the table's buckets' binary logarithm.
inline constexpr Word kLargestCode = 7;
constexpr std::uint32_t buckets_of_code(Word code) {
  return code - 1 < kLargestCode ? 1u << (code - 1) : 64;
}
constexpr Word code_of_buckets(std::uint32_t buckets) {
  return static_cast<Word>(std::bit_width(buckets));
}
constexpr std::uint64_t table_bytes(std::uint32_t buckets) {
  return std::uint64_t{buckets} * 64;
}
constexpr std::uint64_t directory_bytes(std::uint32_t depth) {
  return (std::uint64_t{8} << depth) < 64 ? 64 : std::uint64_t{8} << depth;
}
constexpr Offset entry_table(Word directory_entry) {
  return directory_entry & ~Word{63};
}
constexpr std::uint32_t entry_local_depth(Word directory_entry) {
  return static_cast<std::uint32_t>(directory_entry & 63);
}
constexpr std::uint64_t directory_index(std::uint32_t tag, std::uint32_t depth) {
  return tag >> (24 - depth);
}

// ---- entries

inline constexpr Word kSequenceMask = (Word{1} << 48) - 1;

struct EntryHeader {
  Word what;   // sequence in bits 0-47, key kind in 48-55, value kind in 56-63
  Word sizes;  // key size in bits 0-31, value size in 32-63

  std::uint64_t sequence() const { return what & kSequenceMask; }
  ItemKind key_kind() const { return static_cast<ItemKind>(what >> 48 & 0xff); }
  ItemKind value_kind() const { return static_cast<ItemKind>(what >> 56); }
  std::uint32_t key_size() const { return static_cast<std::uint32_t>(sizes); }
  std::uint32_t value_size() const { return static_cast<std::uint32_t>(sizes >> 32); }
  std::uint64_t value_at() const { return sizeof(EntryHeader) + round_up(key_size(), 8); }
  std::uint64_t bytes() const { return value_at() + round_up(value_size(), 8); }

  static EntryHeader make(std::uint64_t sequence, const Item& key, const Item& value) {
    return {
        sequence | Word{static_cast<std::uint8_t>(key.kind)} << 48 | Word{static_cast<std::uint8_t>(value.kind)} << 56,
        Word{key.size} | Word{value.size} << 32};
  }
};
static_assert(sizeof(EntryHeader) == 16);

[[gnu::always_inline]] inline EntryHeader load_entry(const std::byte* entry) {
  return {load_word(entry), load_word(entry + 8)};
}

}  // namespace commonhold::shm
