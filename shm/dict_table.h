// The hash table of one shard: finding, placing, growing, splitting, shrinking. dict_layout.h draws it.
#pragma once

#include <vector>

#include "shm/dict_layout.h"
#include "shm/segment.h"

namespace commonhold::shm {

// Where a key is, or would be.
struct DictPlace {
  Word root = 0;
  Word directory_entry = 0;    // 0 for a small table
  AtomicWord* slot = nullptr;  // of the entry found
  Word slot_value = 0;
  const std::byte* entry = nullptr;
  EntryHeader header{};
};

struct DictKey {
  const Item* item;
  std::uint64_t hash;
};

std::uint64_t hash_key(const Item& key, std::uint64_t seed);

// The table that a tag belongs to under `root`. False: offsets that make no sense.
inline bool find_table(const Segment& segment, Word root, std::uint32_t tag, Word& directory_entry, Offset& table,
                       std::uint32_t& buckets) {
  if (!root_is_directory(root)) {
    directory_entry = 0;
    buckets = buckets_of_code(root & 63);
    table = root_offset(root);
  } else {
    std::uint32_t depth = root_depth(root);
    if (depth > kMaxDepth) return false;
    Offset at = root_offset(root) + directory_index(tag, depth) * 8;
    if (!segment.holds(at, 8)) return false;
    directory_entry = segment.at<AtomicWord>(at)->load(std::memory_order_acquire);
    buckets = 64;
    table = entry_table(directory_entry);
  }
  return segment.holds(table, table_bytes(buckets));
}

// Looks a key up, with or without the shard's lock. kOk, kNotFound or kCorrupt; without the lock a kCorrupt or
// kNotFound is worth a second look (see still_stands).
Status find_in_table(const Segment& segment, const DictShard& shard, const DictKey& key, DictPlace& place);

// True when what find_in_table read on its way is unchanged, so that its "not found" holds.
bool still_stands(const Segment& segment, const DictShard& shard, const DictKey& key, const DictPlace& place);

// What a writer may do with a shard's table. REQUIRES: the shard's lock, as Heap.
class DictTable {
 public:
  DictTable(Segment& segment, DictShard& shard, Heap& heap) : segment_(segment), shard_(shard), heap_(heap) {}

  // A free slot for the tag, growing the table where needed. The caller stores slot_word() | (*slot & kSlotOverflow).
  Status free_slot(std::uint32_t tag, AtomicWord*& slot);

  // After entries went: a smaller table where this one is far too large. Never fails; may do nothing.
  void shrink(std::uint64_t entries);

  // Calls visit(AtomicWord& slot, Word value) for each entry; each table once. False: a table lies outside the segment
  // and was left out.
  template <typename Visit>
  bool each_entry(Visit&& visit);

  // All blocks that root reaches, entries included. False: something makes no sense (`error` says what).
  bool reachable(std::vector<BlockRange>& blocks, std::vector<EntryHeader>* entries, std::string& error);

  // Retires the tables and directory (not the entries) under `root`.
  void retire_tables(Word root);

  // After a death: completes a split, clears promises and leftovers of moved entries.
  void complete_changes();

  // How often the table was rearranged under this writer: slots found before may have moved.
  std::uint32_t rearranged() const { return rearranged_; }

  // A private, filled table or directory for these slots; 0 without memory. `root` is not stored.
  Word build(const std::vector<Word>& slots);

 private:
  template <typename Visit>
  bool each_table(Word root, Visit&& visit);  // visit(Offset table, buckets, first directory index, local depth)
  bool has_directory(Word root) const {
    return root_is_directory(root) && root_depth(root) <= kMaxDepth &&
           segment_.holds(root_offset(root), directory_bytes(root_depth(root)));
  }
  bool place(Offset table, std::uint32_t buckets, Word slot);
  Status grow_small(Word root);
  Status split(std::uint32_t tag);
  Status make_directory(Word root);
  Status double_directory(Word root);
  void copy_half(Offset table, Offset upper, std::uint32_t tag_bit);
  void clear_moved(Offset table, std::uint32_t tag_bit);
  Offset take_zeroed(std::uint64_t bytes);
  bool all_slots(std::vector<Word>& slots);

  Segment& segment_;
  DictShard& shard_;
  Heap& heap_;
  std::uint32_t rearranged_ = 0;
};

// The slots of a table's window for a tag: bucket i of kProbedBuckets.
inline AtomicWord* bucket_slots(const Segment& segment, Offset table, std::uint32_t buckets, std::uint32_t tag,
                                std::uint32_t i) {
  return segment.at<AtomicWord>(table) + std::size_t{(tag + i) & (buckets - 1)} * kSlotsPerBucket;
}
constexpr std::uint32_t probed(std::uint32_t buckets) {
  return buckets < kProbedBuckets ? buckets : kProbedBuckets;
}

template <typename Visit>
bool DictTable::each_table(Word root, Visit&& visit) {
  if (root == 0) return true;
  if (!root_is_directory(root)) {
    if (!segment_.holds(root_offset(root), table_bytes(buckets_of_code(root & 63)))) return false;
    visit(root_offset(root), buckets_of_code(root & 63), std::uint64_t{0}, 0u);
    return true;
  }
  if (!has_directory(root)) return false;
  bool sound = true;
  auto* directory = segment_.at<AtomicWord>(root_offset(root));
  Offset before = 0;
  for (std::uint64_t i = 0; i < std::uint64_t{1} << root_depth(root); ++i) {
    Word entry = directory[i].load(std::memory_order_acquire);
    if (entry_table(entry) == before) continue;
    before = entry_table(entry);
    if (segment_.holds(before, table_bytes(64))) {
      visit(before, 64u, i, entry_local_depth(entry));
    } else {
      sound = false;
    }
  }
  return sound;
}

template <typename Visit>
bool DictTable::each_entry(Visit&& visit) {
  return each_table(shard_.root.load(std::memory_order_acquire), [&](Offset table, std::uint32_t buckets, auto...) {
    auto* slots = segment_.at<AtomicWord>(table);
    for (std::uint32_t i = 0; i < buckets * kSlotsPerBucket; ++i) {
      Word value = slots[i].load(std::memory_order_acquire);
      if (slot_entry(value) != 0) visit(slots[i], value);
    }
  });
}

}  // namespace commonhold::shm
