// Moves large values together: what is free in pieces becomes free in one.
//
// A value above 64 KiB needs memory in one piece. Where erased values have left holes that are too small for the next
// one, the values that remain move towards the front of the segment, highest first, each into the first hole that holds
// it. A move is a copy and then one store, of the slot; a death before it leaves a chunk that nothing reaches, one after
// it a retired chunk: both are derived. Nobody sees a difference: an entry keeps its key, value and place in the order.
#include <algorithm>

#include "shm/dict.h"
#include "shm/dict_shard_writer.h"
#include "shm/large_read.h"

namespace commonhold::shm {

namespace {

struct LargeEntry {
  AtomicWord* slot;
  Word word;  // of the slot
  std::uint64_t bytes;
  EntryHeader header;
};

// REQUIRES: the shard is held.
std::vector<LargeEntry> large_entries(const Segment& segment, DictTable& table) {
  std::vector<LargeEntry> found;
  (void)table.each_entry([&](AtomicWord& slot, Word word) {
    const Offset at = slot_entry(word);
    if (!segment.holds(at, sizeof(EntryHeader))) return;
    const EntryHeader header = load_entry(segment.at<std::byte>(at));
    if (is_large_block(header.bytes()) && segment.holds(at, header.bytes())) {
      found.push_back({&slot, word, header.bytes(), header});
    }
  });
  std::sort(found.begin(), found.end(), [](auto& a, auto& b) { return slot_entry(a.word) > slot_entry(b.word); });
  return found;
}

// Moves what finds a lower place; how many. REQUIRES: the shard is held.
std::uint64_t compact_shard(const Segment& segment, DictShardParts& shard) {
  std::uint64_t moved = 0, refused_bytes = ~std::uint64_t{0};
  for (const LargeEntry& entry : large_entries(segment, shard.table)) {
    if (entry.bytes >= refused_bytes) continue;  // no hole holds one of that size
    const Offset from = slot_entry(entry.word);
    const Offset to = shard.heap.take(entry.bytes, entry_readers(entry.header.key_size()));
    if (to == 0 || to > from) {
      if (to != 0) shard.heap.give(to, entry.bytes);
      refused_bytes = entry.bytes;
      continue;
    }
    write_block(segment.at<std::byte>(to), segment.at<std::byte>(from),
                entry.bytes);  // nobody writes what is reachable
    entry.slot->store((entry.word & ~kSlotEntry) | to >> 4, std::memory_order_release);
    shard.heap.retire(from, entry.bytes);
    shard.heap.recycle();  // what became free is the next one's hole
    ++moved;
  }
  return moved;
}

}  // namespace

bool Dict::compact(ThreadContext& me) {
  std::uint64_t moved = 0;
  try {
    DictShards shards = look_at_shards();
    for (std::uint64_t i = 0; i < shards.size(); ++i) {
      DictShardWriter shard(me, where_, *control_, shards, i);
      if (!shards.stand()) {
        shards = look_at_shards();
        i = std::uint64_t{0} - 1;  // from the first on
        continue;
      }
      moved += compact_shard(*segment_, shard);
    }
  } catch (const std::bad_alloc&) {
    return moved != 0;  // of private memory: what was moved is moved
  }
  return moved != 0;
}

}  // namespace commonhold::shm
