// After a death: a shard is made whole from what its root reaches. And the audit that proves it.
#include <fmt/format.h>

#include <set>

#include "shm/dict.h"
#include "shm/dict_shard_writer.h"
#include "shm/dict_spread.h"
#include "shm/dict_staging.h"
#include "shm/dict_view.h"
#include "shm/lost_memory.h"

namespace commonhold::shm {

namespace {

enum class WithoutMemory : std::uint8_t { kForgetFree, kThrow };

void derive_shard(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
                  std::uint64_t index, WithoutMemory without_memory) {
  DictShardParts shard(me, where, control, shards, index);
  show_hidden_root(shard.shard);
  if (has_orphaned_entries(control, shard.shard)) shard.shard.staged.store(0, std::memory_order_release);
  shard.table.complete_changes();
  std::int64_t entries = 0;
  const bool whole = shard.table.each_entry([&](auto&&...) { ++entries; });
  try {
    std::vector<BlockRange> blocks;
    std::string error;
    // Damaged by something else: free nothing, count what was counted.
    if (shard.table.reachable(blocks, nullptr, error)) {
      shard.heap.rebuild(std::move(blocks));
    } else {
      entries = static_cast<std::int64_t>(shard.entries());
    }
  } catch (const std::bad_alloc&) {
    if (without_memory == WithoutMemory::kThrow) throw;
    shard.heap.forget_free();
    if (!whole) entries = static_cast<std::int64_t>(shard.entries());
  }
  shard.add_to_count(entries - static_cast<std::int64_t>(shard.entries()));
  shard.note_change();
}

}  // namespace

void dict_derive_shard(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
                       std::uint64_t index) noexcept {
  derive_shard(me, where, control, shards, index, WithoutMemory::kForgetFree);
}

void Dict::repair(ThreadContext& me, const ObjectAddress& where, LockWord& held) {
  auto* control = where.segment->at<DictControl>(where.control);
  if (&held == &control->committing) end_batch_of_dead(*control);
  if (&held == &control->preparing) drop_staged_of_dead(me, where, *control);
  auto repair_shard = [&](const DictShards& shards, std::uint64_t index) {
    note_all_dict_changes(*control, shards[index]);  // the dead one may have changed anything and told nobody
    // Without private memory a recovery gives up its claim, and is done again from the start: nothing is lost.
    derive_shard(me, where, *control, shards, index, WithoutMemory::kThrow);
    // While it gave chunks back it may have recovered another, who held the extents' lock and had `preparing`: that
    // recovery left to this one what the shard, which it holds, has of the batch.
    if (has_orphaned_entries(*control, shards[index])) {
      derive_shard(me, where, *control, shards, index, WithoutMemory::kThrow);
    }
  };
  if (const DictShards first = first_shard(me.segment(), *control); first.size() != 0 && &first[0].writing == &held) {
    settle_spread(me, where, *control);
    return repair_shard(first, 0);
  }
  const DictShards shards(me.segment(), *control);
  for (std::uint64_t i = 0; i < shards.size(); ++i) {
    if (&shards[i].writing == &held) return repair_shard(shards, i);
  }
}

namespace {

// Chunks of a dict that belong to none of its heaps.
std::uint64_t unnamed_chunks(const Segment& segment, const ObjectAddress& where, const DictShards& shards) {
  std::uint64_t found = 0;
  auto is_unnamed = [&](ChunkOwner owner) {
    const bool of_no_shard = owner.arena() < kDefaultShards && shards.may_spread();
    return owner.object() == where.object && (owner.arena() == kControlArena || of_no_shard);
  };
  for_each_chunk_of(segment, is_unnamed, [&](Offset at, std::uint64_t bytes) {
    auto holds = [&](Offset named) { return named - at < bytes; };
    found += !holds(where.control) && !holds(segment.offset_of(&shards[0]));
  });
  return found;
}

// Whether each table stands in the directory as often as its depth says, in one row that begins where it must.
bool is_regular_directory(const Segment& segment, Word root) {
  if (!holds_directory(segment, root)) return true;
  const std::uint32_t depth = root_depth(root);
  const auto* directory = segment.at<AtomicWord>(root_offset(root));
  std::set<Offset> tables;
  for (std::uint64_t i = 0, next = 0; i < std::uint64_t{1} << depth; i = next) {
    const Word entry = directory[i].load(std::memory_order_relaxed);
    if (entry_local_depth(entry) > depth || !tables.insert(entry_table(entry)).second) return false;
    const std::uint64_t row = std::uint64_t{1} << (depth - entry_local_depth(entry));
    if (i % row != 0) return false;
    for (next = i; next < i + row; ++next) {
      if (directory[next].load(std::memory_order_relaxed) != entry) return false;
    }
  }
  return true;
}

}  // namespace

Dict::Audit Dict::audit(ThreadContext& me) const {
  Audit audit;
  auto fail = [&](std::string what) {
    if (audit.error.empty()) audit.error = std::move(what);
  };
  std::set<std::uint64_t> sequences;
  std::uint64_t next = control_->next_sequence.load(std::memory_order_relaxed);
  if ((control_->batch.load() & 1) != 0) fail("a batch was left half applied");
  const DictShards shards = look_at_shards();
  if (shards.size() == 0) fail("the control block names no shards");
  for (std::uint64_t i = 0; i < shards.size(); ++i) {
    DictShardParts shard(me, where_, *control_, shards, i);
    std::vector<BlockRange> blocks;
    std::vector<EntryHeader> entries;
    std::string error;
    if (shard.shard.root.load() == kRootHidden) fail(fmt::format("shard {}: its root was left hidden", i));
    if ((shard.shard.count.load() & kCountChanging) != 0) fail(fmt::format("shard {}: its count was left open", i));
    audit.left_staged += has_orphaned_entries(*control_, shard.shard);
    if (shard.shard.unfinished != 0) fail(fmt::format("shard {}: a split, or a spreading, was left half done", i));
    if (!shard.table.reachable(blocks, &entries, error)) {
      fail(fmt::format("shard {}: {}", i, error));
      continue;
    }
    if (!is_regular_directory(*segment_, shard.shard.root.load())) {
      fail(fmt::format("shard {}: the directory does not hold each table as often as its depth says", i));
    }
    if (entries.size() != shard.entries()) {
      fail(fmt::format("shard {}: {} entries, counted {}", i, entries.size(), shard.entries()));
    }
    audit.entries += entries.size();
    for (const EntryHeader& header : entries) {
      if (header.sequence() >= next) fail(fmt::format("shard {}: sequence {} of {}", i, header.sequence(), next));
      if (!sequences.insert(header.sequence()).second) fail(fmt::format("sequence {} twice", header.sequence()));
    }
    (void)shard.table.each_entry([&](AtomicWord& slot, Word value) {
      const std::byte* entry = segment_->at<std::byte>(slot_entry(value));
      EntryHeader header = load_entry(entry);
      std::string key(header.key_size(), '\0');
      read_words(key.data(), entry + sizeof(EntryHeader), key.size());
      Item item{header.key_kind(), key.data(), key.size()};
      DictKey wanted{&item, hash_key(item, control_->seed)};
      DictPlace place;
      if (shards.index_of(wanted.hash) != i) fail(fmt::format("an entry in shard {} belongs elsewhere", i));
      if (find_in_table(*segment_, shard.shard, wanted, place) != Status::kOk || place.slot != &slot) {
        fail(fmt::format("shard {}: an entry is not found where it stands", i));
      }
      if ((value & kSlotReserved) != 0) fail(fmt::format("shard {}: a promise was left", i));
    });
    Heap::Audit heap = shard.heap.audit(blocks);
    audit.lost_blocks += heap.lost_blocks;
    audit.lost_chunks += heap.lost_chunks;
    if (heap.doubled_blocks != 0) fail(fmt::format("shard {}: {} blocks in use twice", i, heap.doubled_blocks));
  }
  if (shards.size() != 0) audit.lost_chunks += unnamed_chunks(*segment_, where_, shards);
  if (const DictShards first = first_shard(*segment_, *control_); shards.size() != 0 && !shards.in_control_block()) {
    DictShardParts old(me, where_, *control_, first, 0);
    if (old.shard.root.load() != kRootMoved) fail("the dict has spread, and its first shard was not emptied");
    if (old.shard.unfinished != 0) fail("a spreading was left half done");
    audit.lost_chunks += old.heap.audit({}).lost_chunks;
  }
  report_lost_memory(audit);
  return audit;
}

}  // namespace commonhold::shm
