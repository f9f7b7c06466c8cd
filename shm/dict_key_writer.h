// One key in a writer's hands: its shard locked for a scope, and where the key is.
//
// The key is looked for before the lock is taken, as a reader does it. That brings its bucket and entry into the
// cache, and under the lock three comparisons tell whether the place still stands, so that the lock is held for the
// change alone.
#pragma once

#include "shm/dict_probe.h"
#include "shm/dict_shard_writer.h"
#include "shm/dict_spread.h"

namespace commonhold::shm {

// Where a key was seen without the lock, if it was.
struct DictForesight {
  explicit DictForesight(std::uint64_t hash_of_absent) : hash(hash_of_absent) {}
  [[gnu::always_inline]] DictForesight(const Segment& segment, DictControl& control, const Item& item) {
    if (item.size > kShortKey) {
      hash = hash_key(item, control.seed);
      return;
    }
    hash = hash_short_key(item, control.seed);
    const Segment::Backed memory = segment.backed();
    const DictShard* shard = shard_at_hand(memory, control, hash);
    if (shard == nullptr) [[unlikely]]
      return;
    // SYNC POINT: recycle
    recycle = shard->recycle.load(std::memory_order_acquire);
    const bool found = probe_home(memory, *shard, hash, ShortKey(item), recycle, home, header) &&
                       memory.holds_unit(home.entry + header.bytes() - 1);
    seen_in = found ? shard : nullptr;
  }

  std::uint64_t hash;
  Word recycle = 0;
  const DictShard* seen_in = nullptr;  // the dict may have spread since; no other shard is meant
  DictHome home;
  EntryHeader header;
};

class DictKeyWriter {
 public:
  // REQUIRES: there are shards.
  [[gnu::noinline]] DictKeyWriter(ThreadContext& me, const ObjectAddress& where, DictControl& control,
                                  const DictShards& shards, const Item& item, const DictForesight& foresight)
      : me_(me),
        where_(where),
        foresight_(foresight),
        key{&item, foresight_.hash},
        shard(me, where, control, shards, shards.index_of(key.hash)) {
    // No block was used again since the look (recycle), so the slot's value still names that entry; and the slot is
    // still one of the table's, for a table that was replaced takes the root with it, and a split empties what it
    // moved. A dict that has spread since has left another root in this shard.
    const DictHome& home = foresight_.home;
    if (foresight_.seen_in == &shard.shard &&
        shard.shard.recycle.load(std::memory_order_relaxed) == foresight_.recycle &&
        shard.shard.root.load(std::memory_order_relaxed) == home.root &&
        home.slot->load(std::memory_order_relaxed) == home.slot_value) [[likely]] {
      place.slot = home.slot;
      place.slot_value = home.slot_value;
      place.entry = me.segment().at<std::byte>(home.entry);
      place.header = foresight_.header;
      found = Status::kOk;
    } else if (!shards.stand()) [[unlikely]] {
      found = Status::kRetry;
    } else {
      found = find_in_table(me.segment(), shard.shard, key, place);
      if (found == Status::kOk && (place.slot == nullptr || place.entry == nullptr)) __builtin_unreachable();
    }
  }

  // True: the dict was too crowded for what is to be added to it, and has spread: look again.
  bool spread_if_crowded(std::uint64_t entries, std::uint64_t bytes) {
    return shard.shards.may_spread() && is_crowded(shard.control, shard, entries, bytes) &&
           spread_crowded_dict(me_, where_, shard.control, shard);
  }

 private:
  ThreadContext& me_;
  const ObjectAddress& where_;
  DictForesight foresight_;  // before the lock

 public:
  const DictKey key;
  DictShardWriter shard;
  DictPlace place;
  Status found;  // kOk with `place`, kNotFound, kCorrupt; kRetry: the dict has spread since the caller saw its shards
};

}  // namespace commonhold::shm
