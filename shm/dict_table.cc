#include "shm/dict_table.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <new>

namespace commonhold::shm {

std::uint64_t hash_key(const Item& key, std::uint64_t seed) {
  return XXH3_64bits_withSeed(key.data, key.size, seed + static_cast<std::uint64_t>(key.kind));
}

Status find_in_table(const Segment& segment, const DictShard& shard, const DictKey& key, DictPlace& place) {
  place.root = shard.root.load(std::memory_order_acquire);
  if (place.root == 0) return Status::kNotFound;
  return find_in_table_under(segment, key, place);
}

Status find_in_table_under(const Segment& segment, const DictKey& key, DictPlace& place) {
  return find_under(segment, place.root, key, place, [](AtomicWord& slot) -> AtomicWord& { return slot; });
}

bool still_stands(const Segment& segment, const DictShard& shard, const DictKey& key, const DictPlace& place) {
  if (shard.root.load(std::memory_order_acquire) != place.root) return false;
  if (!root_is_directory(place.root) || root_depth(place.root) > kMaxDepth) return true;
  Offset at = root_offset(place.root) + directory_index(hash_tag(key.hash), root_depth(place.root)) * 8;
  return segment.holds(at, 8) && segment.at<AtomicWord>(at)->load(std::memory_order_acquire) == place.directory_entry;
}

void DictTable::zero(Offset block, std::uint64_t bytes) {
  for (std::uint64_t i = 0; i < bytes; i += 8) store_word(segment_.at<std::byte>(block) + i, 0);
}

Offset DictTable::take_zeroed(std::uint64_t bytes) {
  Offset block = heap_.take(bytes);
  if (block != 0) zero(block, bytes);
  return block;
}

// Of an empty shard.
Status DictTable::make_first_table() {
  std::uint32_t buckets = 1;
  Offset table = first_table_;
  if (table != 0) {
    buckets = kFirstTableBuckets;
    heap_.recycle();  // a reader may still look at what the table was before
    zero(table, table_bytes(buckets));
  } else if ((table = take_zeroed(table_bytes(buckets))) == 0) {
    return Status::kOutOfMemory;
  }
  shard_.root.store(table | code_of_buckets(buckets), std::memory_order_release);
  return Status::kOk;
}

void DictTable::retire_table(Offset table, std::uint32_t buckets) {
  if (table != first_table_) heap_.retire(table, table_bytes(buckets));
}

bool DictTable::place(Offset table, std::uint32_t buckets, Word slot) {
  std::uint32_t tag = slot_tag(slot);
  for (std::uint32_t i = 0; i < probed(buckets); ++i) {
    AtomicWord* slots = bucket_slots(segment_, table, buckets, tag, i);
    for (std::uint32_t s = 0; s < kSlotsPerBucket; ++s) {
      Word value = slots[s].load(std::memory_order_relaxed);
      if ((value & (kSlotEntry | kSlotReserved)) != 0) continue;
      if (i != 0) {
        AtomicWord& home = bucket_slots(segment_, table, buckets, tag, 0)[0];
        home.store(home.load(std::memory_order_relaxed) | kSlotOverflow, std::memory_order_release);
      }
      slots[s].store((slot & ~kSlotOverflow) | (value & kSlotOverflow), std::memory_order_release);
      return true;
    }
  }
  return false;
}

Status DictTable::free_slot(std::uint32_t tag, AtomicWord*& slot) {
  for (;;) {
    Word root = shard_.root.load(std::memory_order_relaxed);
    if (root == 0) {
      if (const Status status = make_first_table(); status != Status::kOk) return status;
      continue;
    }
    Word directory_entry;
    Offset table;
    std::uint32_t buckets;
    if (!find_table(segment_, root, tag, directory_entry, table, buckets)) return Status::kCorrupt;
    for (std::uint32_t i = 0; i < probed(buckets); ++i) {
      AtomicWord* slots = bucket_slots(segment_, table, buckets, tag, i);
      for (std::uint32_t s = 0; s < kSlotsPerBucket; ++s) {
        if ((slots[s].load(std::memory_order_relaxed) & (kSlotEntry | kSlotReserved)) != 0) continue;
        if (i != 0) {
          AtomicWord& home = bucket_slots(segment_, table, buckets, tag, 0)[0];
          Word value = home.load(std::memory_order_relaxed);
          if ((value & kSlotOverflow) == 0) home.store(value | kSlotOverflow, std::memory_order_release);
        }
        slot = &slots[s];
        return Status::kOk;
      }
    }
    ++rearranged_;
    store_word(&shard_.shrink_at, 0);
    Status status = !root_is_directory(root) ? grow_small(root) : split(tag);
    if (status != Status::kOk) return status;
  }
}

namespace {

// Of small tables beside the first one.
constexpr std::array<std::uint32_t, 3> kTableSizes{1, 8, 64};

}  // namespace

Status DictTable::grow_small(Word root) {
  const std::uint32_t old_buckets = buckets_of_code(root & 63);
  std::array<Word, 64 * kSlotsPerBucket> room;
  std::size_t entries = 0;
  const bool whole = each_entry([&](AtomicWord&, Word value) {
    if (entries < room.size()) room[entries++] = value & ~kSlotOverflow;
  });
  if (!whole) return Status::kCorrupt;
  const std::span slots(room.data(), entries);
  Word grown = 0;
  for (std::uint32_t buckets : kTableSizes) {
    if (buckets <= old_buckets || grown != 0) continue;
    Offset table = take_zeroed(table_bytes(buckets));
    if (table == 0) return Status::kOutOfMemory;
    grown = table | code_of_buckets(buckets);
    for (Word slot : slots) {
      if (place(table, buckets, slot)) continue;
      heap_.give(table, table_bytes(buckets));
      grown = 0;
      break;
    }
  }
  if (grown == 0) return make_directory(root);
  shard_.root.store(grown, std::memory_order_release);
  retire_table(root_offset(root), old_buckets);
  return Status::kOk;
}

// A directory of one table has local depth 0: the split that follows gives it its second.
Status DictTable::make_directory(Word root) {
  if ((root & 63) != kLargestCode)
    return Status::kTooLarge;  // dozens of keys with equal tags: no seeded hash gives that
  Offset directory = take_zeroed(directory_bytes(1));
  if (directory == 0) return Status::kOutOfMemory;
  for (int i = 0; i < 2; ++i) store_word(segment_.at<Word>(directory) + i, root_offset(root) | 0);
  shard_.root.store(directory | kRootDirectory | 1, std::memory_order_release);
  return Status::kOk;
}

Status DictTable::double_directory(Word root) {
  std::uint32_t depth = root_depth(root);
  if (depth >= kMaxDepth) return Status::kTooLarge;
  if (!has_directory(root)) return Status::kCorrupt;
  Offset bigger = heap_.take(directory_bytes(depth + 1));
  if (bigger == 0) return Status::kOutOfMemory;
  const Word* from = segment_.at<Word>(root_offset(root));
  Word* to = segment_.at<Word>(bigger);
  for (std::uint64_t i = 0; i < std::uint64_t{2} << depth; ++i) store_word(to + i, load_word(from + i / 2));
  shard_.root.store(bigger | kRootDirectory | (depth + 1), std::memory_order_release);
  heap_.retire(root_offset(root), directory_bytes(depth));
  return Status::kOk;
}

Status DictTable::split(std::uint32_t tag) {
  Word root = shard_.root.load(std::memory_order_relaxed);
  Word entry;
  Offset table;
  std::uint32_t buckets;
  if (!find_table(segment_, root, tag, entry, table, buckets)) return Status::kCorrupt;
  std::uint32_t local = entry_local_depth(entry);
  if (local >= root_depth(root)) {
    Status status = double_directory(root);
    if (status != Status::kOk) return status;
    root = shard_.root.load(std::memory_order_relaxed);
  }
  std::uint32_t depth = root_depth(root);
  if (!has_directory(root) || local >= depth) return Status::kCorrupt;
  Offset upper = take_zeroed(table_bytes(64));
  if (upper == 0) return Status::kOutOfMemory;
  std::uint32_t bit = 1u << (23 - local);
  copy_half(table, upper, bit);
  auto* directory = segment_.at<AtomicWord>(root_offset(root));
  std::uint64_t half = std::uint64_t{1} << (depth - local - 1);
  std::uint64_t first = directory_index(tag, depth) & ~(half * 2 - 1);
  store_word(&shard_.unfinished, kSplitting);
  // SYNC POINT: split: readers that go through an old entry find everything in the old table until clear_moved.
  for (std::uint64_t i = first + half * 2; i-- > first;) {
    directory[i].store((i >= first + half ? upper : table) | (local + 1), std::memory_order_release);
  }
  clear_moved(table, bit);
  store_word(&shard_.unfinished, 0);
  return Status::kOk;
}

// Each entry to the slot that it has in the old table: what was within its window there is so here, whatever the order.
void DictTable::copy_half(Offset table, Offset upper, std::uint32_t tag_bit) {
  const auto* from = segment_.at<AtomicWord>(table);
  auto* to = segment_.at<AtomicWord>(upper);
  for (std::uint32_t i = 0; i < 64 * kSlotsPerBucket; ++i) {
    Word value = from[i].load(std::memory_order_relaxed);
    if (slot_entry(value) == 0 || (slot_tag(value) & tag_bit) == 0) continue;
    Word mark = to[i].load(std::memory_order_relaxed) & kSlotOverflow;
    to[i].store((value & ~kSlotOverflow) | mark, std::memory_order_release);
    const std::uint32_t home = slot_tag(value) & 63;
    if (home == i / kSlotsPerBucket) continue;
    AtomicWord& first = to[std::size_t{home} * kSlotsPerBucket];
    first.store(first.load(std::memory_order_relaxed) | kSlotOverflow, std::memory_order_release);
  }
}

// Empties the slots of entries that now live in the upper half's table and reserved ones (choose_slots), and clears
// overflow bits that no longer tell.
void DictTable::clear_moved(Offset table, std::uint32_t tag_bit) {
  auto* slots = segment_.at<AtomicWord>(table);
  bool displaced[64] = {};
  for (std::uint32_t i = 0; i < 64 * kSlotsPerBucket; ++i) {
    Word value = slots[i].load(std::memory_order_relaxed);
    if (slot_entry(value) == 0) {
      if ((value & kSlotReserved) != 0) slots[i].store(value & kSlotOverflow, std::memory_order_release);
      continue;
    }
    if ((slot_tag(value) & tag_bit) != 0) {
      slots[i].store(value & kSlotOverflow, std::memory_order_release);
    } else if ((slot_tag(value) & 63) != i / kSlotsPerBucket) {
      displaced[slot_tag(value) & 63] = true;
    }
  }
  for (std::uint32_t b = 0; b < 64; ++b) {
    AtomicWord& home = slots[std::size_t{b} * kSlotsPerBucket];
    Word value = home.load(std::memory_order_relaxed);
    if ((value & kSlotOverflow) != 0 && !displaced[b]) home.store(value & ~kSlotOverflow, std::memory_order_release);
  }
}

Word DictTable::build(std::span<const Word> slots) {
  for (std::uint32_t buckets : kTableSizes) {
    if (slots.size() > buckets * kSlotsPerBucket * 7 / 8) continue;
    Offset table = take_zeroed(table_bytes(buckets));
    if (table == 0) return 0;
    bool fits = true;
    for (Word slot : slots) fits = fits && place(table, buckets, slot);
    if (fits) return table | code_of_buckets(buckets);
    heap_.give(table, table_bytes(buckets));
  }
  auto depth = static_cast<std::uint32_t>(std::bit_width(slots.size() / 320));
  for (; depth <= kMaxDepth; ++depth) {
    if (depth == 0) continue;
    Offset directory = take_zeroed(directory_bytes(depth));
    if (directory == 0) return 0;
    std::uint64_t count = std::uint64_t{1} << depth;
    Word* tables = segment_.at<Word>(directory);
    bool fits = true, memory = true;
    for (std::uint64_t i = 0; i < count && memory; ++i) {
      Offset table = take_zeroed(table_bytes(64));
      memory = table != 0;
      if (memory) store_word(tables + i, table | depth);
    }
    for (std::size_t i = 0; i < slots.size() && memory && fits; ++i) {
      const Offset table = entry_table(load_word(tables + directory_index(slot_tag(slots[i]), depth)));
      if (!segment_.holds(table, table_bytes(64))) return 0;  // damaged: blocks of the heap lie in one another
      fits = place(table, 64, slots[i]);
    }
    if (memory && fits) return directory | kRootDirectory | depth;
    for (std::uint64_t i = 0; i < count; ++i) {
      const Offset table = entry_table(load_word(tables + i));
      if (table != 0 && segment_.holds(table, table_bytes(64))) heap_.give(table, table_bytes(64));
    }
    heap_.give(directory, directory_bytes(depth));
    if (!memory) return 0;
  }
  return 0;
}

void DictTable::retire_tables(Word root) {
  (void)each_table(root, [&](Offset table, std::uint32_t buckets, auto...) { retire_table(table, buckets); });
  if (root_is_directory(root)) heap_.retire(root_offset(root), directory_bytes(root_depth(root)));
}

void DictTable::shrink(std::uint64_t entries) noexcept {
  Word root = shard_.root.load(std::memory_order_relaxed);
  if (root == 0 || root == kRootMoved) return;
  std::uint64_t slots = root_is_directory(root) ? std::uint64_t{512} << root_depth(root)
                                                : std::uint64_t{buckets_of_code(root & 63)} * kSlotsPerBucket;
  if (slots <= std::uint64_t{kSlotsPerBucket} * 8 ? entries != 0 : entries > slots / 16) return;
  if (entries != 0 && shard_.shrink_at != 0 && entries > shard_.shrink_at) return;
  Word smaller = 0;
  std::vector<BlockRange> blocks;
  try {
    if (entries != 0) {
      std::vector<Word> all;
      if (each_entry([&](AtomicWord&, Word value) { all.push_back(value & ~kSlotOverflow); })) smaller = build(all);
    }
  } catch (const std::bad_alloc&) {
    // As without memory in the segment, below.
  }
  if (smaller == 0 && entries != 0) {
    // No memory for it: the large table still serves. Not tried again at each erasure, which is the whole table's work.
    store_word(&shard_.shrink_at, std::max<Word>(entries / 2, 1));
    return;
  }
  store_word(&shard_.shrink_at, 0);
  shard_.root.store(smaller, std::memory_order_release);
  // The old tables and everything that fell idle go back at once.
  try {
    std::string error;
    if (reachable(blocks, nullptr, error)) heap_.rebuild(std::move(blocks));
  } catch (const std::bad_alloc&) {
    heap_.forget_free();
  }
}

}  // namespace commonhold::shm
