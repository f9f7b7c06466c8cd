// The common overwrite, as straight as the processor likes it: a short key that is there, in its home bucket, in a
// shard that is free, that nobody watches, and that has a block at hand. No calls and few instructions, for the
// processor fills the time of a cache miss only with what lies within some hundreds of them. The steps are those of
// replace_value() in dict.cc, to which all else is left.
#pragma once

#include "shm/dict_key_writer.h"
#include "shm/heap_classes.h"
#include "shm/lock_fast.h"

namespace commonhold::shm {

// REQUIRES: the shard's lock; what was foreseen still stands.
[[gnu::always_inline]] inline bool overwrite_foreseen(ThreadContext& me, ChunkOwner owner, DictShard& shard,
                                                      const DictHome& home, const Item& value) {
  const Segment::Backed memory = me.segment().backed();
  const std::byte* entry = memory.at<std::byte>(home.entry);
  const std::uint64_t value_at = home.header.value_at();
  if (is_scalar(value.kind) && home.header.value_kind() == value.kind) {
    Word word;
    std::memcpy(&word, value.data, sizeof word);
    store_word(const_cast<std::byte*>(entry) + value_at, word);
    return true;
  }
  const std::uint64_t bytes = value_at + round_up(value.size, 8);
  if (bytes > kLargestClass) return false;
  if (park_is_full(shard.heap)) [[unlikely]] {
    Heap(me, owner, shard.heap, shard.recycle).recycle();
    if (park_is_full(shard.heap)) return false;  // all pinned
  }
  const Offset block = take_listed_block(memory, shard.heap, class_of(bytes));
  if (block == 0) return false;
  auto* copy = memory.at<std::byte>(block);
  constexpr Word kValueKind = Word{0xff} << 56;
  store_word(copy, (home.header.what & ~kValueKind) | Word{static_cast<std::uint8_t>(value.kind)} << 56);
  store_word(copy + 8, Word{home.header.key_size()} | Word{value.size} << 32);
  for (std::uint64_t at = sizeof(EntryHeader); at < value_at; at += 8) store_word(copy + at, load_word(entry + at));
  write_words_here(copy + value_at, value.data, value.size);
  home.slot->store((home.slot_value & ~kSlotEntry) | block >> 4, std::memory_order_release);
  park_block(shard.heap, home.entry, home.header.bytes());
  return true;
}

// False: nothing was changed.
[[gnu::always_inline]] inline bool overwrite_straight(ThreadContext& me, const ObjectAddress& where,
                                                      DictControl& control, const DictForesight& seen,
                                                      const Item& value) {
  if (!seen.seen || is_link(value.kind)) return false;
  const std::uint64_t index = hash_shard(seen.hash, control.shards);
  DictShard& shard = dict_shard(control, index);
  if (!take_free_lock(me, shard.writing)) return false;
  const DictHome& home = seen.home;
  bool done = false;
  if (shard.recycle.load(std::memory_order_relaxed) == seen.recycle &&
      shard.root.load(std::memory_order_relaxed) == home.root &&
      home.slot->load(std::memory_order_relaxed) == home.slot_value &&
      shard.watched.load(std::memory_order_relaxed) == 0) [[likely]] {
    done = overwrite_foreseen(me, ChunkOwner(where.object, static_cast<std::uint32_t>(index)), shard, home, value);
  }
  free_own_lock(me, shard.writing);
  return done;
}

}  // namespace commonhold::shm
