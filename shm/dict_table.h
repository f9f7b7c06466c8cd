// The hash table of one shard: finding, placing, growing, splitting, shrinking. dict_layout.h draws it.
#pragma once

#include <bit>
#include <span>
#include <vector>

#include "shm/dict_layout.h"
#include "shm/segment.h"
#include "shm/undisturbed.h"

namespace commonhold::shm {

// Where a key is, or would be.
struct DictPlace {
  Word root = 0;
  Word directory_entry = 0;    // 0 for a small table
  AtomicWord* slot = nullptr;  // of the entry found
  Word slot_value = 0;
  const std::byte* entry = nullptr;
  EntryHeader header{};
  Undisturbed undisturbed = {};  // of a reader without the shard's lock, who sets it before it looks
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

// Looks a key up under `root` (not 0). kRetry: not undisturbed. `slot_of` gives the word in force for a slot: itself,
// or what a batch puts there.
template <typename SlotOf>
[[gnu::always_inline]] inline Status find_under(const Segment& segment, Word root, const DictKey& key, DictPlace& place,
                                                SlotOf&& slot_of);

// Looks a key up, with or without the shard's lock. kOk, kNotFound or kCorrupt; without the lock a kCorrupt or
// kNotFound is worth a second look (see still_stands).
Status find_in_table(const Segment& segment, const DictShard& shard, const DictKey& key, DictPlace& place);

// The same from place.root on, which is not 0.
Status find_in_table_under(const Segment& segment, const DictKey& key, DictPlace& place);

// True when what find_in_table read on its way is unchanged, so that its "not found" holds.
bool still_stands(const Segment& segment, const DictShard& shard, const DictKey& key, const DictPlace& place);

inline bool holds_directory(const Segment& segment, Word root) {
  return root_is_directory(root) && root_depth(root) <= kMaxDepth &&
         segment.holds(root_offset(root), directory_bytes(root_depth(root)));
}

// Calls visit(Offset table, buckets, first directory index, local depth) for each table under `root`. False: one lies
// outside the segment and was left out.
template <typename Visit>
bool each_table_under(const Segment& segment, Word root, Visit&& visit) {
  if (root == 0 || root == kRootMoved) return true;
  if (!root_is_directory(root)) {
    if (!segment.holds(root_offset(root), table_bytes(buckets_of_code(root & 63)))) return false;
    visit(root_offset(root), buckets_of_code(root & 63), std::uint64_t{0}, 0u);
    return true;
  }
  if (!holds_directory(segment, root)) return false;
  bool sound = true;
  auto* directory = segment.at<AtomicWord>(root_offset(root));
  Offset before = 0;
  for (std::uint64_t i = 0; i < std::uint64_t{1} << root_depth(root); ++i) {
    Word entry = directory[i].load(std::memory_order_acquire);
    if (entry_table(entry) == before) continue;
    before = entry_table(entry);
    if (segment.holds(before, table_bytes(64))) {
      visit(before, 64u, i, entry_local_depth(entry));
    } else {
      sound = false;
    }
  }
  return sound;
}

// What a writer may do with a shard's table. REQUIRES: the shard's lock, as Heap.
class DictTable {
 public:
  // `first_table`: the one beside the shard, 0 for none. It is no block of the heap.
  DictTable(Segment& segment, DictShard& shard, Heap& heap, Offset first_table)
      : segment_(segment), shard_(shard), heap_(heap), first_table_(first_table) {}

  // A free slot for the tag, growing the table where needed. The caller stores slot_word() | (*slot & kSlotOverflow).
  Status free_slot(std::uint32_t tag, AtomicWord*& slot);

  // After entries went: a smaller table where this one is far too large. Never fails; may do nothing.
  void shrink(std::uint64_t entries) noexcept;

  // Calls visit(AtomicWord& slot, Word value) for each entry; each table once. False: a table lies outside the segment
  // and was left out.
  template <typename Visit>
  bool each_entry(Visit&& visit);

  // All blocks that root reaches, entries included. False: something makes no sense (`error` says what).
  bool reachable(std::vector<BlockRange>& blocks, std::vector<EntryHeader>* entries, std::string& error);

  // Of these, the entries of a batch that no slot names yet (dict_staging.h).
  bool reachable_staged(std::vector<BlockRange>& blocks, std::string& error);

  // Retires the tables and directory (not the entries) under `root`.
  void retire_tables(Word root);

  // After a death: completes a split, clears promises and leftovers of moved entries.
  void complete_changes();

  // How often the table was rearranged under this writer: slots found before may have moved.
  std::uint32_t rearranged() const { return rearranged_; }

  // A private, filled table or directory for these slots; 0 without memory. `root` is not stored.
  Word build(std::span<const Word> slots);

 private:
  template <typename Visit>
  bool each_table(Word root, Visit&& visit) {
    return each_table_under(segment_, root, visit);
  }
  bool has_directory(Word root) const { return holds_directory(segment_, root); }
  bool place(Offset table, std::uint32_t buckets, Word slot);
  Status grow_small(Word root);
  Status split(std::uint32_t tag);
  Status make_directory(Word root);
  Status double_directory(Word root);
  void copy_half(Offset table, Offset upper, std::uint32_t tag_bit);
  void clear_moved(Offset table, std::uint32_t tag_bit);
  Offset take_zeroed(std::uint64_t bytes);
  void zero(Offset block, std::uint64_t bytes);
  Status make_first_table();
  void retire_table(Offset table, std::uint32_t buckets);

  Segment& segment_;
  DictShard& shard_;
  Heap& heap_;
  const Offset first_table_;
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

template <typename SlotOf>
inline Status find_under(const Segment& segment, Word root, const DictKey& key, DictPlace& place, SlotOf&& slot_of) {
  std::uint32_t tag = hash_tag(key.hash), buckets;
  Offset table;
  if (!find_table(segment, root, tag, place.directory_entry, table, buckets)) return Status::kCorrupt;
  if (!place.undisturbed()) return Status::kRetry;
  for (std::uint32_t i = 0; i < probed(buckets); ++i) {
    AtomicWord* slots = bucket_slots(segment, table, buckets, tag, i);
    // SYNC POINT: slot: the entry was written before the slot's release store.
    // All eight at once and then a look at the matches: where the match stands cannot be predicted, that there is one
    // can.
    Word values[kSlotsPerBucket];
    std::uint32_t matches = 0;
    for (std::uint32_t s = 0; s < kSlotsPerBucket; ++s) {
      values[s] = slot_of(slots[s]).load(std::memory_order_acquire);
      matches |= static_cast<std::uint32_t>(slot_tag(values[s]) == tag) << s;
    }
    for (; matches != 0; matches &= matches - 1) {
      auto s = static_cast<std::uint32_t>(std::countr_zero(matches));
      Offset at = slot_entry(values[s]);
      if (at == 0) continue;  // an empty slot with tag 0
      const std::byte* entry = segment.at<std::byte>(at);
      __builtin_prefetch(entry + 64);  // never faults, so it may precede the check
      if (!place.undisturbed()) return Status::kRetry;
      if (!segment.holds(at, sizeof(EntryHeader))) return Status::kCorrupt;
      EntryHeader header = load_entry(entry);
      if (header.key_size() != key.item->size || header.key_kind() != key.item->kind) continue;
      if (!place.undisturbed()) return Status::kRetry;  // else the sizes are ones that were written
      if (!segment.holds(at, header.bytes())) return Status::kCorrupt;
      if (!equal_words(entry + sizeof(EntryHeader), key.item->data, key.item->size)) continue;
      place.slot = &slots[s];
      place.slot_value = values[s];
      place.entry = entry;
      place.header = header;
      return Status::kOk;
    }
    if (i == 0 && (values[0] & kSlotOverflow) == 0) break;
  }
  return Status::kNotFound;
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
