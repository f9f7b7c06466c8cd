#include "shm/dict_spread.h"

#include <algorithm>
#include <array>
#include <new>
#include <string>
#include <vector>

#include "shm/control_block.h"
#include "shm/extents.h"
#include "shm/timed_lock.h"

namespace commonhold::shm {

namespace {

struct Moving {
  std::uint64_t shard;  // the new one
  Word slot;
  std::uint64_t bytes;
};

// Every entry with its new shard, sorted by that. False: damaged.
bool list_entries(const Segment& segment, const DictControl& control, const DictShards& made, DictShardParts& old,
                  std::vector<Moving>& moving) {
  bool sound = true;
  std::string key;
  const bool whole = old.table.each_entry([&](AtomicWord&, Word slot) {
    if (moving.size() == old.entries()) sound = false;  // more than were counted
    if (!sound) return;
    const Offset at = slot_entry(slot);
    const std::byte* entry = segment.at<std::byte>(at);
    if (!segment.holds(at, sizeof(EntryHeader)) || !segment.holds(at, load_entry(entry).bytes())) {
      sound = false;
      return;
    }
    const EntryHeader header = load_entry(entry);
    key.resize(header.key_size());
    read_words(key.data(), entry + sizeof(EntryHeader), key.size());
    const std::uint64_t hash = hash_key({header.key_kind(), key.data(), key.size()}, control.seed);
    moving.push_back({made.index_of(hash), slot, header.bytes()});
  });
  std::sort(moving.begin(), moving.end(), [](auto& a, auto& b) { return a.shard < b.shard; });
  return whole && sound;
}

// Copies the entries of one new shard. False: out of memory.
bool fill_shard(const Segment& segment, DictShardParts& shard, std::span<const Moving> moving,
                std::vector<Word>& slots) {
  slots.clear();
  for (const Moving& entry : moving) {
    const Offset from = slot_entry(entry.slot);
    const auto key_size = load_entry(segment.at<std::byte>(from)).key_size();
    const Offset to = shard.heap.take(entry.bytes, entry_readers(key_size));
    if (to == 0) return false;
    write_block(segment.at<std::byte>(to), segment.at<std::byte>(from), entry.bytes);
    slots.push_back(slot_word(slot_tag(entry.slot), to));
  }
  if (slots.empty()) return true;
  const Word root = shard.table.build(slots);
  shard.shard.root.store(root, std::memory_order_release);
  shard.shard.count.store(slots.size(), std::memory_order_release);
  return root != 0;
}

// Gives back the chunks of the dict whose arena is_wanted. It needs no private memory.
template <typename IsWanted>
void give_chunks(ThreadContext& me, const ObjectAddress& where, IsWanted&& is_wanted) {
  struct Chunk {
    Offset at;
    std::uint64_t bytes;
  };
  std::array<Chunk, 64> found;
  std::size_t count = found.size();
  auto owner_is_wanted = [&](ChunkOwner owner) { return owner.object() == where.object && is_wanted(owner.arena()); };
  while (count == found.size()) {
    count = 0;
    for_each_chunk_of(me.segment(), owner_is_wanted, [&](Offset at, std::uint64_t bytes) {
      if (count < found.size() && at != where.control) found[count++] = {at, bytes};
    });
    for (std::size_t i = 0; i < count; ++i) give_chunk(me, found[i].at, found[i].bytes);
  }
}

// What nobody came to know.
void take_back(ThreadContext& me, const ObjectAddress& where, DictShard& old) {
  give_chunks(me, where, [](std::uint32_t arena) { return arena == kControlArena || arena < kDefaultShards; });
  store_word(&old.unfinished, 0);
}

// Whoever watches a key, or all, finds in the new shard what the old one had of him (watch.h).
void hand_on_watchers(const DictShard& old, DictShard& made) {
  auto copy = [](const AtomicWord& from, AtomicWord& to) {
    to.store(from.load(std::memory_order_relaxed), std::memory_order_relaxed);
  };
  copy(old.notes, made.notes);
  copy(old.looked_at, made.looked_at);
  for (std::uint64_t n = 0; n < kNotesKept; ++n) copy(old.noted[n], made.noted[n]);
  copy(old.watched, made.watched);
}

bool try_spread(ThreadContext& me, const ObjectAddress& where, DictControl& control, DictShardParts& old) {
  Segment& segment = me.segment();
  if (load_word(&old.shard.unfinished) == kSpreading) take_back(me, where, old.shard);
  store_word(&old.shard.unfinished, kSpreading);
  constexpr std::uint64_t kBytes = dict_shards_bytes(kDefaultShards);
  Offset chunk = 0;
  if (take_chunk(me, ChunkOwner(where.object, kControlArena), kBytes, chunk) != Status::kOk) return false;
  for (std::uint64_t i = 0; i < kBytes; i += 8) store_word(segment.at<std::byte>(chunk) + i, 0);
  const Word word = shards_word(chunk - where.control, kDefaultShards);
  const DictShards made(segment, control, word);

  std::vector<Moving> moving;
  if (made.size() == 0 || !list_entries(segment, control, made, old, moving)) return false;
  std::vector<Word> slots;
  slots.reserve(moving.size());
  for (std::uint64_t i = 0, from = 0; i < kDefaultShards; ++i) {
    std::uint64_t to = from;
    while (to < moving.size() && moving[to].shard == i) ++to;
    DictShardParts shard(me, where, control, made, i);
    hand_on_watchers(old.shard, shard.shard);
    if (!fill_shard(segment, shard, std::span(moving).subspan(from, to - from), slots)) return false;
    from = to;
  }
  control.shards.store(word, std::memory_order_release);  // SYNC POINT: dict shards. The commit point
  return true;
}

// Where nothing was ever pinned, without private memory.
void finish_spread(ThreadContext& me, const ObjectAddress& where, DictShardParts& old) {
  old.shard.root.store(kRootMoved, std::memory_order_release);
  old.shard.staged.store(0, std::memory_order_release);  // its batch begins again
  if (me.segment().header().pins_used.load(std::memory_order_seq_cst) == 0) {
    old.shard.recycle.fetch_add(1, std::memory_order_seq_cst);  // SYNC POINT: recycle: before others have the memory
    zero_words(&old.shard.heap, sizeof old.shard.heap);
    give_chunks(me, where, [](std::uint32_t arena) { return arena == kMaxShards; });
  } else {
    try {
      old.heap.rebuild({});
    } catch (const std::bad_alloc&) {
      old.heap.forget_free();
    }
  }
  store_word(&old.shard.unfinished, 0);
}

// False: no memory; then it is as it was.
bool spread(ThreadContext& me, const ObjectAddress& where, DictControl& control, DictShardParts& old) {
  bool done = false;
  try {
    done = try_spread(me, where, control, old);
  } catch (const std::bad_alloc&) {
    // Of private memory: as without any in the segment.
  }
  if (done) {
    finish_spread(me, where, old);
  } else {
    take_back(me, where, old.shard);
  }
  return done;
}

}  // namespace

bool is_crowded(const DictControl& control, const DictShardParts& shard, std::uint64_t entries, std::uint64_t bytes) {
  const Word patience = control.patience.load(std::memory_order_relaxed);
  if (patience >= kNeverSpreads) return false;
  return (shard.entries() + entries) >> patience > kCrowdedEntries ||
         (load_word(&shard.shard.heap.owned_bytes) + bytes) >> patience > kCrowdedBytes ||
         control.waits.load(std::memory_order_relaxed) >> patience >= kCrowdedWaits;
}

bool spread_crowded_dict(ThreadContext& me, const ObjectAddress& where, DictControl& control, DictShardParts& old) {
  if (spread(me, where, control, old)) return true;
  const Word patience = control.patience.load(std::memory_order_relaxed);
  if (patience < kMostPatience) control.patience.store(patience + 1, std::memory_order_relaxed);
  return false;
}

bool spread_if_crowded(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
                       std::span<const DictPair> pairs) {
  if (!shards.may_spread()) return false;
  std::uint64_t bytes = 0;
  for (const DictPair& pair : pairs) bytes += pair.key.size + pair.value.size;
  DictShardParts one(me, where, control, shards, 0);
  return is_crowded(control, one, pairs.size(), bytes) && spread_crowded_dict(me, where, control, one);
}

bool spread_for_batch(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
                      std::span<const DictPair> pairs) {
  if (!shards.may_spread()) return false;
  const HeldLock held(me, shards[0].writing);
  if (!shards.stand()) return true;
  const bool spread = spread_if_crowded(me, where, control, shards, pairs);
  if (spread) note_shard_change(shards[0]);
  return spread;
}

void spread_for_watchers(ThreadContext& me, const ObjectAddress& where, DictControl& control) {
  constexpr std::chrono::milliseconds kTimeout{10};
  const DictShards shards(me.segment(), control);
  if (!shards.may_spread() || control.patience.load(std::memory_order_relaxed) != 0) return;
  const TimedLockGuard held(me, shards[0].writing, Deadline::after(kTimeout));
  if (!held || !shards.stand()) return;
  DictShardParts one(me, where, control, shards, 0);
  (void)spread(me, where, control, one);
  one.note_change();
}

void settle_spread(ThreadContext& me, const ObjectAddress& where, DictControl& control) {
  const DictShards first = first_shard(me.segment(), control);
  if (first.size() == 0 || load_word(&first[0].unfinished) != kSpreading) return;
  if (first.stand()) return take_back(me, where, first[0]);
  DictShardParts old(me, where, control, first, 0);
  finish_spread(me, where, old);
}

}  // namespace commonhold::shm
