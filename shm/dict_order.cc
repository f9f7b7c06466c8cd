// Insertion order: every entry carries the sequence number that its insertion drew. A snapshot sorts by it; pop_last
// keeps a sorted memory in the calling process and adds what was inserted since from DictControl::recent.
//
// A number is drawn before the entry is stored, under the lock of its shard alone. So entries of several shards whose
// insertions overlap may become visible in another order than that of their numbers.
#include <algorithm>

#include "shm/dict.h"
#include "shm/dict_shard_writer.h"

namespace commonhold::shm {

namespace {

// The slot of the entry with this sequence among those that a hash leads to, or nullptr.
AtomicWord* find_sequence(const Segment& segment, const DictShard& shard, std::uint64_t hash, std::uint64_t sequence) {
  Word root = shard.root.load(std::memory_order_relaxed), directory_entry;
  Offset table;
  std::uint32_t buckets, tag = hash_tag(hash);
  if (root == 0 || !find_table(segment, root, tag, directory_entry, table, buckets)) return nullptr;
  for (std::uint32_t i = 0; i < probed(buckets); ++i) {
    AtomicWord* slots = bucket_slots(segment, table, buckets, tag, i);
    for (std::uint32_t s = 0; s < kSlotsPerBucket; ++s) {
      Word value = slots[s].load(std::memory_order_relaxed);
      Offset at = slot_entry(value);
      if (at == 0 || slot_tag(value) != tag || !segment.holds(at, sizeof(EntryHeader))) continue;
      if (load_entry(segment.at<std::byte>(at)).sequence() == sequence) return &slots[s];
    }
  }
  return nullptr;
}

void learn_all(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
               DictOrderCache& cache) {
  cache.order.clear();
  std::string key;
  for (std::uint64_t i = 0; i < shards.size(); ++i) {
    DictShardParts shard(me, where, control, shards, i);
    (void)shard.table.each_entry([&](AtomicWord&, Word slot) {
      if (!me.segment().holds(slot_entry(slot), sizeof(EntryHeader))) return;
      const std::byte* entry = me.segment().at<std::byte>(slot_entry(slot));
      EntryHeader header = load_entry(entry);
      if (!me.segment().holds(slot_entry(slot), header.bytes())) return;
      key.resize(header.key_size());
      read_words(key.data(), entry + sizeof(EntryHeader), key.size());
      std::uint64_t hash = hash_key({header.key_kind(), key.data(), key.size()}, control.seed);
      cache.order.emplace_back(header.sequence(), hash);
    });
  }
  std::sort(cache.order.begin(), cache.order.end());
}

}  // namespace

Status Dict::pop_last(ThreadContext& me, DictOrderCache& cache, DictEntryCopy& popped, const DictEntryCopy* expected) {
  return on_shards_that_stand([&] { return try_pop_last(me, cache, popped, expected); });
}

Status Dict::try_pop_last(ThreadContext& me, DictOrderCache& cache, DictEntryCopy& popped,
                          const DictEntryCopy* expected) {
  const DictShards shards = look_at_shards();
  if (shards.size() == 0) return Status::kCorrupt;
  DictAllLocked held(me, where_, shards);
  if (!shards.stand()) return Status::kRetry;
  std::uint64_t next = control_->next_sequence.load(std::memory_order_relaxed), entries = 0;
  for (std::uint64_t i = 0; i < shards.size(); ++i) {
    entries += shards[i].count.load(std::memory_order_relaxed) & kCountMask;
  }
  if (entries == 0) {
    cache.order.clear();
    cache.known = next;
    return Status::kNotFound;
  }
  bool complete = false;
  if (cache.known > next || next - cache.known > kRecentInserts) {
    learn_all(me, where_, *control_, shards, cache);
    complete = true;
  } else {
    for (std::uint64_t s = cache.known; s < next; ++s) {
      cache.order.emplace_back(s, control_->recent[s % kRecentInserts].load(std::memory_order_relaxed));
    }
  }
  cache.known = next;
  for (;;) {
    while (!cache.order.empty()) {
      auto [sequence, hash] = cache.order.back();
      DictShardParts shard(me, where_, *control_, shards, shards.index_of(hash));
      AtomicWord* slot = find_sequence(*segment_, shard.shard, hash, sequence);
      if (slot == nullptr) {
        cache.order.pop_back();
        continue;
      }
      Word value = slot->load(std::memory_order_relaxed);
      const std::byte* entry = segment_->at<std::byte>(slot_entry(value));
      EntryHeader header = load_entry(entry);
      if (!segment_->holds(slot_entry(value), header.bytes())) return Status::kCorrupt;
      copy_entry(entry, header, entry + header.value_at(), popped);
      if (expected != nullptr && (expected->sequence != popped.sequence || expected->value_kind != popped.value_kind ||
                                  expected->bytes != popped.bytes)) {
        return Status::kMismatch;
      }
      cache.order.pop_back();
      shard.begin_count_change();
      slot->store(value & kSlotOverflow, std::memory_order_release);
      shard.heap.retire(slot_entry(value), header.bytes());
      shard.add_to_count(-1);
      shard.tell_watchers(hash);
      shard.table.shrink(shard.entries());
      shard.note_change();
      return Status::kOk;
    }
    if (complete) return Status::kCorrupt;  // entries are counted that no table holds
    learn_all(me, where_, *control_, shards, cache);
    complete = true;
  }
}

}  // namespace commonhold::shm
