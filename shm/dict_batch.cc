// Several keys at once: put_many, clear and assign prepare what nobody reaches and commit it as one batch
// (dict_view.h).
//
// Private memory is taken before the locks and not under them: a std::bad_alloc leaves nothing to take back.
#include <algorithm>
#include <bitset>

#include "shm/dict.h"
#include "shm/dict_shard_writer.h"
#include "shm/dict_spread.h"
#include "shm/dict_view.h"
#include "shm/idle_memory.h"
#include "shm/redo.h"

namespace commonhold::shm {

namespace {

struct Keyed {
  DictKey key;
  const Item* value = nullptr;
  std::size_t order = 0;  // of the key's first appearance
  std::uint64_t shard = 0;
};

bool equal_items(const Item& a, const Item& b) {
  return a.kind == b.kind && a.size == b.size && (a.size == 0 || std::memcmp(a.data, b.data, a.size) == 0);
}

// Sorted by shard, each key once: the last value, the first place.
std::vector<Keyed> sort_out(const DictControl& control, const DictShards& shards, std::span<const DictPair> pairs) {
  std::vector<Keyed> all;
  all.reserve(pairs.size());
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    std::uint64_t hash = hash_key(pairs[i].key, control.seed);
    all.push_back({{&pairs[i].key, hash}, &pairs[i].value, i, shards.index_of(hash)});
  }
  std::sort(all.begin(), all.end(), [](const Keyed& a, const Keyed& b) {
    return std::tie(a.shard, a.key.hash, a.order) < std::tie(b.shard, b.key.hash, b.order);
  });
  std::vector<Keyed> once;
  once.reserve(all.size());
  for (const Keyed& keyed : all) {
    bool known = false;
    for (std::size_t i = once.size(); i-- > 0 && once[i].key.hash == keyed.key.hash && !known;) {
      if (!equal_items(*once[i].key.item, *keyed.key.item)) continue;
      once[i].value = keyed.value;
      known = true;
    }
    if (!known) once.push_back(keyed);
  }
  return once;
}

// The locks of the shards that a set of keys lives in, for a scope.
class SomeLocked {
 public:
  SomeLocked(ThreadContext& me, const ObjectAddress& where, const DictShards& shards, const std::vector<Keyed>& keys)
      : me_(me), where_(where), shards_(shards) {
    for (const Keyed& keyed : keys) held_.set(keyed.shard);
    me_.announce_object(where_.control);
    for (std::uint64_t i = 0; i < shards_.size(); ++i) {
      if (held_.test(i)) (void)lock_announced(me_, shards_[i].writing);
    }
  }
  ~SomeLocked() {
    for (std::uint64_t i = 0; i < shards_.size(); ++i) {
      if (!held_.test(i)) continue;
      note_shard_change(shards_[i]);
      unlock_announced(shards_[i].writing);
    }
    me_.retract_object(where_.control);
  }
  SomeLocked(const SomeLocked&) = delete;
  SomeLocked& operator=(const SomeLocked&) = delete;

 private:
  ThreadContext& me_;
  const ObjectAddress& where_;
  const DictShards& shards_;
  std::bitset<kMaxShards> held_;
};

// For a batch of so many pairs. True: the dict was too crowded for it, and has spread. REQUIRES: all shards' locks,
// and that they stand.
bool spread_if_crowded(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
                       std::span<const DictPair> pairs) {
  if (!shards.may_spread()) return false;
  std::uint64_t bytes = 0;
  for (const DictPair& pair : pairs) bytes += pair.key.size + pair.value.size;
  DictShardParts one(me, where, control, shards, 0);
  return is_crowded(control, one, pairs.size(), bytes) && spread_crowded_dict(me, where, control, one);
}

struct Change {
  RedoEntry store;
  Offset entry = 0;  // the new one
  std::uint64_t bytes = 0;
  Offset retired = 0;  // the one that it replaces
  std::uint64_t retired_bytes = 0;
};

// What a batch needs of private memory.
struct Plan {
  explicit Plan(std::vector<Keyed> sorted) : keys(std::move(sorted)), places(keys.size()) {
    changes.reserve(keys.size());
    stores.reserve(keys.size());
    outcomes.reserve(kMaxShards);
  }
  std::vector<Keyed> keys;
  std::vector<DictPlace> places;  // of each key
  std::vector<Change> changes;    // of each key, as far as they are prepared
  std::vector<RedoEntry> stores;
  std::vector<DictShardOutcome> outcomes;
};

// Finds or reserves a slot for each key of one shard. The keys are sorted by hash, so those of one table stand
// together: when a table is split, its keys alone start again, with no more than a table's slots behind them.
Status choose_slots(Segment& segment, DictShardParts& shard, std::span<const Keyed> keys, std::span<DictPlace> places) {
  Offset current = 0;
  std::size_t first = 0;  // of the current table's keys
  for (std::size_t i = 0; i < keys.size();) {
    DictPlace& place = places[i] = {};
    const Status found = find_in_table(segment, shard.shard, keys[i].key, place);
    if (found != Status::kOk && found != Status::kNotFound) return found;
    const Offset table = root_is_directory(place.root) ? entry_table(place.directory_entry) : root_offset(place.root);
    if (table != current) current = table, first = i;
    if (found == Status::kNotFound) {
      place.slot = nullptr;
      const std::uint32_t arrangement = shard.table.rearranged();
      const Status status = shard.table.free_slot(hash_tag(keys[i].key.hash), place.slot);
      if (status != Status::kOk) return status;
      if (arrangement != shard.table.rearranged() || place.root == 0) {
        i = first;  // the reservations went with the old arrangement
        current = 0;
        continue;
      }
      Word value = place.slot->load(std::memory_order_relaxed);
      place.slot->store(value | kSlotReserved, std::memory_order_release);
    }
    ++i;
  }
  return Status::kOk;
}

// Writes the new entries of one shard and lists the stores that will show them. `changes` gets one for each key.
Status prepare(Segment& segment, DictShardParts& shard, std::span<const Keyed> keys, std::span<DictPlace> places,
               std::uint64_t first_sequence, std::vector<Change>& changes) {
  Status status = choose_slots(segment, shard, keys, places);
  if (status != Status::kOk) return status;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const DictPlace& place = places[i];
    const Item& value = *keys[i].value;
    Change change;
    if (place.entry != nullptr && is_scalar(value.kind) && place.header.value_kind() == value.kind) {
      note_links(segment, shard.object, value);
      std::memcpy(&change.store.word, value.data, 8);
      change.store.at = segment.offset_of(place.entry) + place.header.value_at();
    } else {
      std::uint64_t sequence = place.entry != nullptr ? place.header.sequence() : first_sequence + keys[i].order;
      change.entry = shard.write_entry(segment, sequence, *keys[i].key.item, value);
      if (change.entry == 0) return Status::kOutOfMemory;
      change.bytes = EntryHeader::make(sequence, *keys[i].key.item, value).bytes();
      // Read now: a later key of the batch may have set the overflow bit.
      Word mark = place.slot->load(std::memory_order_relaxed) & kSlotOverflow;
      change.store = {segment.offset_of(place.slot), slot_word(hash_tag(keys[i].key.hash), change.entry) | mark};
      if (place.entry != nullptr) {
        change.retired = slot_entry(place.slot_value);
        change.retired_bytes = place.header.bytes();
      }
    }
    changes.push_back(change);
  }
  return Status::kOk;
}

std::uint64_t draw_sequences(DictControl& control, const std::vector<Keyed>& keys, std::size_t count) {
  std::uint64_t first = control.next_sequence.fetch_add(count, std::memory_order_relaxed);
  for (const Keyed& keyed : keys) {
    control.recent[(first + keyed.order) % kRecentInserts].store(keyed.key.hash, std::memory_order_relaxed);
  }
  return first;
}

// Puts each shard's new root and count in the place of the old, and frees what the old ones alone reached. REQUIRES:
// all locks.
void swap_roots(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
                std::span<const DictShardOutcome> outcomes) noexcept {
  commit_batch(me, control, shards.redo_of_roots(), {}, outcomes);
  for (std::uint64_t i = 0; i < shards.size(); ++i) {
    if (shards[i].watched.load(std::memory_order_relaxed) != 0) note_all_dict_changes(control, shards[i]);
    dict_derive_shard(me, where, control, shards, i);
  }
}

bool all_fit(std::span<const DictPair> pairs) {
  return std::all_of(pairs.begin(), pairs.end(), [](const DictPair& pair) {
    return pair.key.size <= kMaxItemBytes && pair.value.size <= kMaxItemBytes;
  });
}

}  // namespace

Status Dict::put_many(ThreadContext& me, std::span<const DictPair> pairs) {
  if (!all_fit(pairs)) return Status::kTooLarge;
  if (pairs.empty()) return Status::kOk;
  return with_idle_memory(*this, me, [&] { return on_shards_that_stand([&] { return try_put_many(me, pairs); }); });
}

Status Dict::try_put_many(ThreadContext& me, std::span<const DictPair> pairs) {
  const DictShards shards = look_at_shards();
  if (shards.size() == 0) return Status::kCorrupt;
  Plan plan(sort_out(*control_, shards, pairs));
  const std::vector<Keyed>& keys = plan.keys;
  std::vector<Change>& changes = plan.changes;
  auto end_of_run = [&](std::size_t begin) {  // of the keys of one shard
    std::size_t end = begin;
    while (end < keys.size() && keys[end].shard == keys[begin].shard) ++end;
    return end;
  };
  SomeLocked held(me, where_, shards, keys);
  if (!shards.stand() || spread_if_crowded(me, where_, *control_, shards, pairs)) return Status::kRetry;
  std::uint64_t first_sequence = draw_sequences(*control_, keys, pairs.size());
  Status status = Status::kOk;
  for (std::size_t i = 0, end; i < keys.size() && status == Status::kOk; i = end) {
    end = end_of_run(i);
    DictShardParts shard(me, where_, *control_, shards, keys[i].shard);
    status = prepare(*segment_, shard, std::span(keys).subspan(i, end - i), std::span(plan.places).subspan(i, end - i),
                     first_sequence, changes);
    if (status != Status::kOk) break;
    std::int64_t added = 0;
    for (std::size_t k = i; k < end; ++k) added += changes[k].entry != 0 && changes[k].retired == 0;
    plan.outcomes.push_back(
        {&shard.shard, shard.shard.root.load(std::memory_order_relaxed),
         added == 0 ? shard.shard.count.load(std::memory_order_relaxed) : shard.count_after(added)});
  }
  DictShardParts first(me, where_, *control_, shards, keys.front().shard);
  const std::uint64_t redo_bytes = redo_block_bytes(batch_redo_entries(keys.size(), plan.outcomes.size()));
  Offset redo = status == Status::kOk ? first.heap.take(redo_bytes) : 0;
  if (redo == 0) {
    for (std::size_t i = 0, end; i < keys.size(); i = end) {
      end = end_of_run(i);
      DictShardParts shard(me, where_, *control_, shards, keys[i].shard);
      for (std::size_t k = i; k < std::min(end, changes.size()); ++k) {
        if (changes[k].entry != 0) shard.heap.give(changes[k].entry, changes[k].bytes);
      }
      shard.table.complete_changes();  // takes the reservations back
    }
    return status == Status::kOk ? Status::kOutOfMemory : status;
  }
  for (const Change& change : changes) plan.stores.push_back(change.store);
  std::sort(plan.stores.begin(), plan.stores.end(), [](auto& a, auto& b) { return a.at < b.at; });
  commit_batch(me, *control_, redo, plan.stores, plan.outcomes);
  for (std::size_t i = 0, end; i < keys.size(); i = end) {
    end = end_of_run(i);
    DictShardParts shard(me, where_, *control_, shards, keys[i].shard);
    for (std::size_t k = i; k < end; ++k) {
      shard.tell_watchers(keys[k].key.hash);
      if (changes[k].retired != 0) shard.heap.retire(changes[k].retired, changes[k].retired_bytes);
    }
  }
  first.heap.give(redo, redo_bytes);
  return Status::kOk;
}

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
  swap_roots(me, where_, *control_, shards, outcomes);
  return Status::kOk;
}

Status Dict::assign(ThreadContext& me, std::span<const DictPair> pairs) {
  if (!all_fit(pairs)) return Status::kTooLarge;
  return with_idle_memory(*this, me, [&] { return on_shards_that_stand([&] { return try_assign(me, pairs); }); });
}

Status Dict::try_assign(ThreadContext& me, std::span<const DictPair> pairs) {
  const DictShards shards = look_at_shards();
  if (shards.size() == 0) return Status::kCorrupt;
  std::vector<Keyed> keys = sort_out(*control_, shards, pairs);
  std::vector<Word> slots;
  slots.reserve(keys.size());
  std::vector<DictShardOutcome> outcomes;
  outcomes.reserve(shards.size());
  DictAllLocked held(me, where_, shards);
  if (!shards.stand() || spread_if_crowded(me, where_, *control_, shards, pairs)) return Status::kRetry;
  std::uint64_t first_sequence = draw_sequences(*control_, keys, pairs.size());
  bool memory = true;
  std::size_t next = 0;
  for (std::uint64_t i = 0; i < shards.size() && memory; ++i) {
    DictShardParts shard(me, where_, *control_, shards, i);
    slots.clear();
    for (; next < keys.size() && keys[next].shard == i && memory; ++next) {
      Offset entry =
          shard.write_entry(*segment_, first_sequence + keys[next].order, *keys[next].key.item, *keys[next].value);
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
  swap_roots(me, where_, *control_, shards, outcomes);
  return Status::kOk;
}

}  // namespace commonhold::shm
