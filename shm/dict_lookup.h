// The common lookup in its caller's code: a short key that is there, in its home bucket, undisturbed.
#pragma once

#include "shm/dict.h"
#include "shm/dict_probe.h"
#include "shm/dict_shards.h"
#include "shm/large_read.h"

namespace commonhold::shm {

// Tries use(memory, entry, header, undisturbed) once, on the straight way, with the key's entry. A use that believes
// the sizes in the header asks undisturbed() first. False: read_entry.
template <typename Use>
[[gnu::always_inline]] inline bool read_straight(const Segment& segment, DictControl& control, const Item& key,
                                                 Use&& use) {
  if (key.size > kShortKey) [[unlikely]]
    return false;
  const std::uint64_t hash = hash_short_key(key, control.seed);
  const Segment::Backed memory = segment.backed();
  const DictShard* const at_hand = shard_at_hand(memory, control, hash);
  if (at_hand == nullptr) [[unlikely]]
    return false;
  const DictShard& shard = *at_hand;
  // SYNC POINT: recycle
  const Word recycle = shard.recycle.load(std::memory_order_acquire);
  DictHome home;
  EntryHeader header;
  auto undisturbed = [&] { return shard.recycle.load(std::memory_order_acquire) == recycle; };
  return probe_home(memory, shard, hash, ShortKey(key), recycle, home, header) &&
         use(memory, home.entry, header, undisturbed) && undisturbed();
}

[[gnu::always_inline]] inline bool Dict::get_fixed_straight(const Item& key, void* value, std::size_t size) const {
  // As header.value_at() will say, but known without waiting for the header.
  const std::uint64_t value_at = sizeof(EntryHeader) + round_up(key.size, 8);
  if (is_large_block(value_at + size)) [[unlikely]]
    return false;  // a reader of a large block says so first (large_read.h)
  auto copy = [=](const Segment::Backed& memory, Offset at, const EntryHeader& header, auto&& undisturbed) {
    if (header.value_size() != size || !undisturbed() || !memory.holds_unit(at + value_at + size - 1)) return false;
    copy_block(value, memory.at<std::byte>(at + value_at), size);
    return true;
  };
  return read_straight(*segment_, *control_, key, copy);
}

}  // namespace commonhold::shm
