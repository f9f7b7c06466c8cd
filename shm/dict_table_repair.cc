// A shard's table after a death: what its root reaches, and half-done changes completed.
#include <algorithm>

#include "shm/dict_table.h"

namespace commonhold::shm {

void DictTable::complete_changes() {
  Word root = shard_.root.load(std::memory_order_acquire);
  if (shard_.unfinished == kSplitting && has_directory(root)) {
    std::uint32_t depth = root_depth(root);
    auto* directory = segment_.at<AtomicWord>(root_offset(root));
    // Where a half-done split stopped, a table of local depth d stands below entries of depth d + 1 in its own range.
    for (std::uint64_t i = 0; i < std::uint64_t{1} << depth;) {
      Word entry = directory[i].load(std::memory_order_relaxed);
      std::uint32_t local = entry_local_depth(entry);
      if (local > depth) break;  // no writer of ours leaves that
      std::uint64_t range = std::uint64_t{1} << (depth - local), first = i & ~(range - 1);
      Word last = directory[first + range - 1].load(std::memory_order_relaxed);
      if (entry_local_depth(last) == local + 1) {
        for (std::uint64_t j = first + range; j-- > first;) {
          directory[j].store((j >= first + range / 2 ? entry_table(last) : entry_table(entry)) | (local + 1),
                             std::memory_order_release);
        }
      }
      i = first + range;
    }
    // Entries that their tag no longer leads to were moved.
    (void)each_table(root, [&](Offset table, std::uint32_t, std::uint64_t, std::uint32_t local) {
      auto* slots = segment_.at<AtomicWord>(table);
      for (std::uint32_t i = 0; i < 64 * kSlotsPerBucket; ++i) {
        Word value = slots[i].load(std::memory_order_relaxed);
        if (slot_entry(value) == 0) continue;
        Word leads = directory[directory_index(slot_tag(value), depth)].load(std::memory_order_relaxed);
        if (entry_table(leads) != table) slots[i].store(value & kSlotOverflow, std::memory_order_release);
      }
      (void)local;
    });
  }
  store_word(&shard_.unfinished, 0);
  (void)each_table(root, [&](Offset table, std::uint32_t buckets, auto...) {
    auto* slots = segment_.at<AtomicWord>(table);
    for (std::uint32_t i = 0; i < buckets * kSlotsPerBucket; ++i) {
      Word value = slots[i].load(std::memory_order_relaxed);
      if ((value & kSlotReserved) != 0) slots[i].store(value & kSlotOverflow, std::memory_order_release);
    }
  });
}

bool DictTable::reachable_staged(std::vector<BlockRange>& blocks, std::string& error) {
  const std::uint64_t most = std::min(shard_.heap.owned_bytes / sizeof(EntryHeader),
                                      segment_.committed_extents() * (kExtent / sizeof(EntryHeader)));
  std::uint64_t count = 0;
  for (Offset at = shard_.staged.load(std::memory_order_acquire); at != 0; ++count) {
    if (count > most || at % 16 != 0 || !segment_.holds(at, sizeof(EntryHeader))) {
      error = "the entries of a batch are no list";
      return false;
    }
    const EntryHeader header = load_entry(segment_.at<std::byte>(at));
    if (!segment_.holds(at, header.bytes())) {
      error = "an entry of a batch reaches out of the segment";
      return false;
    }
    blocks.push_back({at, header.bytes()});
    at = header.sequence();  // the next one, in its place
  }
  return true;
}

bool DictTable::reachable(std::vector<BlockRange>& blocks, std::vector<EntryHeader>* entries, std::string& error) {
  if (!reachable_staged(blocks, error)) return false;
  Word root = shard_.root.load(std::memory_order_acquire);
  if (root == 0 || root == kRootMoved) return true;
  if (root_is_directory(root)) {
    if (!has_directory(root)) {
      error = "the root names no directory";
      return false;
    }
    blocks.push_back({root_offset(root), directory_bytes(root_depth(root))});
  }
  bool sound = each_table(root, [&](Offset table, std::uint32_t buckets, std::uint64_t first, std::uint32_t local) {
    if (local > kMaxDepth) {
      error = "a table is deeper than any";
      return;
    }
    if (table != first_table_) blocks.push_back({table, table_bytes(buckets)});
    auto* slots = segment_.at<AtomicWord>(table);
    for (std::uint32_t i = 0; i < buckets * kSlotsPerBucket; ++i) {
      Word value = slots[i].load(std::memory_order_acquire);
      Offset at = slot_entry(value);
      if (at == 0) continue;
      if (!segment_.holds(at, sizeof(EntryHeader))) {
        error = "a slot names an entry outside the segment";
        return;
      }
      EntryHeader header = load_entry(segment_.at<std::byte>(at));
      if (!segment_.holds(at, header.bytes())) {
        error = "an entry reaches out of the segment";
        return;
      }
      blocks.push_back({at, header.bytes()});
      if (entries != nullptr) entries->push_back(header);
    }
    (void)first;
  });
  if (!sound && error.empty()) error = "a table lies outside the segment";
  return error.empty();
}

}  // namespace commonhold::shm
