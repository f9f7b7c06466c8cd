// From one shard to many. A dict begins with one shard, which is quick to read as a whole and takes 1 KiB; when it is
// crowded, that is when it holds many entries or much memory, or its writers wait for each other, or when one of its
// keys is watched, whoever puts something into it next makes kDefaultShards that hold a copy of everything, and then
// names them in DictControl::shards: the commit point. It happens once in a dict's life.
//
// A death before that store leaves chunks that nothing names, and DictShard::unfinished says so; one after it leaves
// the old shard to be emptied. Whoever recovers the old shard's lock does either (settle_spread).
#pragma once

#include <span>

#include "shm/dict_shard_writer.h"

namespace commonhold::shm {

// When a dict is crowded: more than these. Each attempt that finds no memory doubles them.
inline constexpr std::uint64_t kCrowdedEntries = 256;
inline constexpr std::uint64_t kCrowdedBytes = 256 * kGranule;
inline constexpr std::uint32_t kCrowdedWaits = 16;

// Whether a dict of one shard is too large for it, with so many entries and bytes more. REQUIRES: the shard's lock.
bool is_crowded(const DictControl& control, const DictShardParts& shard, std::uint64_t entries, std::uint64_t bytes);

// Spreads it. False: there is no memory for that, the limits are higher now, and the dict is as it was. Throws
// std::bad_alloc where a dead holder of the extents' lock was recovered without private memory: what is left then is
// for the next. REQUIRES: the one shard's lock.
bool spread_crowded_dict(ThreadContext& me, const ObjectAddress& where, DictControl& control, DictShardParts& old);

// For a batch of so many pairs. True: the dict was too crowded for it, and has spread. REQUIRES: all shards' locks,
// and that they stand.
bool spread_if_crowded(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
                       std::span<const DictPair> pairs);
// The same for who has no lock. True: the shards do not stand any more.
bool spread_for_batch(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
                      std::span<const DictPair> pairs);

// Spreads a dict whose keys are about to be watched: many shards tell keys apart better (watch.h). Does nothing when
// the lock is not free soon, or there was no memory before.
void spread_for_watchers(ThreadContext& me, const ObjectAddress& where, DictControl& control);

// After a death, or std::bad_alloc: ends a spreading, or takes it back. REQUIRES: the lock of the first shard, the
// caller's or a dead owner's.
void settle_spread(ThreadContext& me, const ObjectAddress& where, DictControl& control);

// The one shard that a dict has, or had before it spread. None: it was made with several.
inline DictShards first_shard(const Segment& segment, DictControl& control) {
  const Word one = shards_word(kDictHeaderBytes, 1), now = control.shards.load(std::memory_order_acquire);
  return {segment, control, now == one || shards_distance(now) != kDictHeaderBytes ? one : shards_word(0, 3)};
}

}  // namespace commonhold::shm
