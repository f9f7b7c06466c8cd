// Other contents in the place of all, or none: each shard's new table is made where nobody looks, a large one's
// entries before the locks are taken (dict_staging.h); then all roots are changed as one batch (dict_view.h).
//
// Private memory is taken before the locks and not under them: a std::bad_alloc leaves nothing to take back.
#include <optional>

#include "shm/dict.h"
#include "shm/dict_batch_keys.h"
#include "shm/dict_shard_writer.h"
#include "shm/dict_spread.h"
#include "shm/dict_staging.h"
#include "shm/dict_view.h"
#include "shm/idle_memory.h"

namespace commonhold::shm {

namespace {

// Puts each shard's new root and count in the place of the old, and frees what the old ones alone reached. REQUIRES:
// all locks, which are freed one by one.
void swap_roots(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
                std::span<const DictShardOutcome> outcomes, DictAllLocked& held) noexcept {
  commit_batch(me, control, shards.redo_of_roots(), {}, outcomes);
  for (std::uint64_t i = 0; i < shards.size(); ++i) {
    if (shards[i].watched.load(std::memory_order_relaxed) != 0) note_all_dict_changes(control, shards[i]);
    dict_derive_shard(me, where, control, shards, i);
    held.free_next();
  }
}

}  // namespace

Status Dict::clear(ThreadContext& me) {
  return on_shards_that_stand([&] { return try_clear(me); });
}

Status Dict::try_clear(ThreadContext& me) {
  const DictShards shards = look_at_shards();
  if (shards.size() == 0) return Status::kCorrupt;
  std::vector<DictShardOutcome> outcomes;
  outcomes.reserve(shards.size());
  DictAllLocked held(me, where_, shards);
  if (!shards.stand()) return Status::kRetry;
  for (std::uint64_t i = 0; i < shards.size(); ++i) {
    DictShardParts shard(me, where_, *control_, shards, i);
    outcomes.push_back({&shard.shard, 0, shard.count_after(-static_cast<std::int64_t>(shard.entries()))});
  }
  swap_roots(me, where_, *control_, shards, outcomes, held);
  return Status::kOk;
}

Status Dict::assign(ThreadContext& me, std::span<const DictPair> pairs) {
  if (!fit_entries(pairs)) return Status::kTooLarge;
  return with_idle_memory(*this, me, [&] { return on_shards_that_stand([&] { return try_assign(me, pairs); }); });
}

Status Dict::try_assign(ThreadContext& me, std::span<const DictPair> pairs) {
  const DictShards shards = look_at_shards();
  if (shards.size() == 0) return Status::kCorrupt;
  const std::vector<BatchKey> keys = sort_batch(*control_, shards, pairs);
  const RecentKeys recent(keys, pairs.size());
  std::vector<StagedEntry> staged;  // of each key, or empty: none is
  std::vector<Word> slots;
  slots.reserve(keys.size());
  std::vector<DictShardOutcome> outcomes;
  outcomes.reserve(shards.size());
  std::optional<DictStaging> staging;
  const bool is_large = is_worth_staging(pairs);
  if (is_large) {
    const Status status =
        stage_batch(me, where_, *control_, shards, pairs, keys, DictStaging::Scalars::kAnew, staging, staged);
    if (status != Status::kOk) return status;
  }
  DictAllLocked held(me, where_, shards);
  if (!shards.stand()) return Status::kRetry;
  // A large one has had its look, before what it has written since counted among what the dict holds.
  if (!is_large && spread_if_crowded(me, where_, *control_, shards, pairs)) return Status::kRetry;
  if (const Status taken = staging ? staging->take() : Status::kOk; taken != Status::kOk) return taken;
  std::uint64_t first_sequence = draw_sequences(*control_, recent, pairs.size());
  bool memory = true;
  std::size_t next = 0;
  for (std::uint64_t i = 0; i < shards.size() && memory; ++i) {
    DictShardParts shard(me, where_, *control_, shards, i);
    slots.clear();
    for (; next < keys.size() && keys[next].shard == i && memory; ++next) {
      const std::uint64_t sequence = first_sequence + keys[next].order;
      Offset entry = staged.empty() ? 0 : staged[next].entry;
      if (entry != 0) {
        set_sequence(*segment_, entry, sequence);
      } else {
        entry = shard.write_entry(*segment_, sequence, *keys[next].key.item, *keys[next].value);
      }
      memory = entry != 0;
      slots.push_back(slot_word(hash_tag(keys[next].key.hash), entry));
    }
    const Word root = slots.empty() || !memory ? 0 : shard.table.build(slots);
    memory = memory && (root != 0 || slots.empty());
    outcomes.push_back(
        {&shard.shard, root,
         shard.count_after(static_cast<std::int64_t>(slots.size()) - static_cast<std::int64_t>(shard.entries()))});
  }
  if (!memory) {
    for (std::uint64_t i = 0; i < shards.size(); ++i) dict_derive_shard(me, where_, *control_, shards, i);
    return Status::kOutOfMemory;
  }
  swap_roots(me, where_, *control_, shards, outcomes, held);
  return Status::kOk;
}

}  // namespace commonhold::shm
