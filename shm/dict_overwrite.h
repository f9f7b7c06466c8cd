// The common changes of a value, as straight as the processor likes it: a short key that is there, in its home bucket,
// in a shard that is free, that nobody watches, and that has a block at hand. All else is left to dict.cc.
//
// Bucket and entry are two cache misses in a row, and the processor fills the time of a miss only with what lies within
// some hundreds of instructions. So the entry is asked for as soon as its place is known and looked at as late as
// possible: lock, block and new bytes come between, and the next call's bucket comes soon behind.
#pragma once

#include "shm/dict.h"
#include "shm/dict_probe.h"
#include "shm/dict_shard_writer.h"
#include "shm/heap_classes.h"
#include "shm/lock_fast.h"

namespace commonhold::shm {

// REQUIRES: the shard's lock. True when a block can be parked.
bool make_room_in_park(ThreadContext& me, const ObjectAddress& where, DictShard& shard);

// REQUIRES: the shard's lock.
[[gnu::always_inline]] inline bool overwrite_word(std::byte* entry, const ShortKey& key, const Item& value) {
  const EntryHeader header = load_entry(entry);
  if (!key.is(entry, header) || header.value_kind() != value.kind) return false;
  Word word;
  std::memcpy(&word, value.data, sizeof word);
  store_word(entry + header.value_at(), word);
  return true;
}

// REQUIRES: the shard's lock; room in its park.
[[gnu::always_inline]] inline bool overwrite_block(const Segment::Backed& memory, HeapState& heap, const DictHome& home,
                                                   const ShortKey& key, std::size_t key_size, const Item& value) {
  const std::uint64_t value_at = sizeof(EntryHeader) + round_up(key_size, 8);
  const std::uint32_t size_class = class_of(value_at + round_up(value.size, 8));
  const Offset block = take_listed_block(memory, heap, size_class);
  if (block == 0) [[unlikely]]
    return false;
  auto* copy = memory.at<std::byte>(block);
  const Word sizes = Word{key_size} | Word{value.size} << 32;
  store_word(copy + 8, sizes);
  key.write(copy + sizeof(EntryHeader));
  write_block(copy + value_at, value.data, value.size);

  const std::byte* entry = memory.at<std::byte>(home.entry);
  const EntryHeader header = load_entry(entry);
  if (!key.is(entry, header) || is_link(header.value_kind()) ||
      (header.sizes != sizes && header.bytes() > kLargestClass)) [[unlikely]] {
    list_block(memory, heap, size_class, block);
    return false;
  }
  constexpr Word kValueKind = Word{0xff} << 56;
  store_word(copy, (header.what & ~kValueKind) | Word{static_cast<std::uint8_t>(value.kind)} << 56);
  home.slot->store((home.slot_value & ~kSlotEntry) | block >> 4, std::memory_order_release);
  park_block(heap, home.entry, header.sizes == sizes ? size_class : class_of(header.bytes()));
  return true;
}

// Calls change(memory, shard, home, key) with the shard's lock held and an entry that seemed to
// have the key's tag; whether it is the key's the change has to see. False: that, or none was found, or the lock was
// not free.
template <typename Change>
[[gnu::always_inline]] inline bool change_straight(ThreadContext& me, DictControl& control, const Item& key,
                                                   std::uint64_t& absent, Change&& change) {
  if (key.size > kShortKey) [[unlikely]]
    return false;
  const std::uint64_t hash = hash_short_key(key, control.seed);
  const Segment::Backed memory = me.segment().backed();
  DictShard* const at_hand = shard_at_hand(memory, control, hash);
  if (at_hand == nullptr) [[unlikely]]
    return false;
  DictShard& shard = *at_hand;
  // SYNC POINT: recycle
  const Word recycle = shard.recycle.load(std::memory_order_acquire);
  DictHome home;
  if (!probe_bucket(memory, shard, hash, recycle, home)) {
    absent = hash;
    return false;
  }
  if (!take_free_lock(me, shard.writing)) {
    note_wait(control);
    return false;
  }
  TakenLock held(me, shard.writing);
  // The slot is still one of the table's: see DictKeyWriter.
  const bool changed = shard.recycle.load(std::memory_order_relaxed) == recycle &&
                       shard.root.load(std::memory_order_relaxed) == home.root &&
                       home.slot->load(std::memory_order_relaxed) == home.slot_value &&
                       shard.watched.load(std::memory_order_relaxed) == 0 && change(memory, shard, home, ShortKey(key));
  shard.changes.store(shard.changes.load(std::memory_order_relaxed) + Word{changed}, std::memory_order_release);
  return changed;
}

[[gnu::always_inline]] inline bool Dict::put_straight(ThreadContext& me, const Item& key, const Item& value,
                                                      std::uint64_t& absent) {
  constexpr std::size_t kStraightValue = kLargestClass - sizeof(EntryHeader) - kShortKey;
  if (value.size > kStraightValue || is_link(value.kind)) [[unlikely]]
    return false;
  auto overwrite = [&](const Segment::Backed& memory, DictShard& shard, const DictHome& home, const ShortKey& wanted)
      __attribute__((always_inline)) {
    if (is_scalar(value.kind)) return overwrite_word(memory.at<std::byte>(home.entry), wanted, value);
    if (park_is_full(shard.heap) && !make_room_in_park(me, where_, shard)) return false;
    return overwrite_block(memory, shard.heap, home, wanted, key.size, value);
  };
  return change_straight(me, *control_, key, absent, overwrite);
}

[[gnu::always_inline]] inline bool Dict::change_word_straight(ThreadContext& me, const Item& key, ItemKind kind,
                                                              WordChange change, Word operand, Word& before) {
  auto change_word = [&](const Segment::Backed& memory, DictShard&, const DictHome& home, const ShortKey& wanted)
      __attribute__((always_inline)) {
    auto* entry = memory.at<std::byte>(home.entry);
    const EntryHeader header = load_entry(entry);
    if (!wanted.is(entry, header) || header.value_kind() != kind || header.value_size() != sizeof(Word)) return false;
    std::byte* value = entry + header.value_at();
    before = load_word(value);
    store_word(value, change(before, operand));
    return true;
  };
  std::uint64_t absent = 0;
  return change_straight(me, *control_, key, absent, change_word);
}

}  // namespace commonhold::shm
