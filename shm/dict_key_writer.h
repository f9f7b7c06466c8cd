// One key in a writer's hands: its shard locked for a scope, and where the key is.
//
// The key is looked for before the lock is taken, as a reader does it. That brings its bucket and entry into the
// cache, and under the lock three comparisons tell whether the place still stands, so that the lock is held for the
// change alone.
#pragma once

#include "shm/dict_probe.h"
#include "shm/dict_shard_writer.h"

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
    const DictShard& shard = dict_shard(control, hash_shard(hash, control.shards));
    // SYNC POINT: recycle
    recycle = shard.recycle.load(std::memory_order_acquire);
    const Segment::Backed memory = segment.backed();
    seen = probe_home(memory, shard, hash, ShortKey(item), recycle, home, header) &&
           memory.holds_unit(home.entry + header.bytes() - 1);
  }

  std::uint64_t hash;
  Word recycle = 0;
  bool seen = false;
  DictHome home;
  EntryHeader header;
};

class DictKeyWriter {
 public:
  DictKeyWriter(ThreadContext& me, const ObjectAddress& where, DictControl& control, const Item& item)
      : DictKeyWriter(me, where, control, item, DictForesight(me.segment(), control, item)) {}
  [[gnu::noinline]] DictKeyWriter(ThreadContext& me, const ObjectAddress& where, DictControl& control, const Item& item,
                                  const DictForesight& foresight)
      : foresight_(foresight),
        key{&item, foresight_.hash},
        shard(me, where, control, hash_shard(key.hash, control.shards)) {
    // No block was used again since the look (recycle), so the slot's value still names that entry; and the slot is
    // still one of the table's, for a table that was replaced takes the root with it, and a split empties what it
    // moved.
    const DictHome& home = foresight_.home;
    if (foresight_.seen && shard.shard.recycle.load(std::memory_order_relaxed) == foresight_.recycle &&
        shard.shard.root.load(std::memory_order_relaxed) == home.root &&
        home.slot->load(std::memory_order_relaxed) == home.slot_value) [[likely]] {
      place.slot = home.slot;
      place.slot_value = home.slot_value;
      place.entry = me.segment().at<std::byte>(home.entry);
      place.header = foresight_.header;
      found = Status::kOk;
    } else {
      found = find_in_table(me.segment(), shard.shard, key, place);
      if (found == Status::kOk && (place.slot == nullptr || place.entry == nullptr)) __builtin_unreachable();
    }
  }

 private:
  DictForesight foresight_;  // first of all: before the lock

 public:
  const DictKey key;
  DictShardWriter shard;
  DictPlace place;
  Status found;  // kOk with `place`, kNotFound, kCorrupt
};

}  // namespace commonhold::shm
