// Several keys in one step: put_many through a redo block of slots, clear and assign through one of roots.
#include <algorithm>
#include <bitset>

#include "shm/dict.h"
#include "shm/dict_shard_writer.h"
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
std::vector<Keyed> sort_out(const DictControl& control, std::span<const DictPair> pairs) {
  std::vector<Keyed> all;
  all.reserve(pairs.size());
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    std::uint64_t hash = hash_key(pairs[i].key, control.seed);
    all.push_back({{&pairs[i].key, hash}, &pairs[i].value, i, hash_shard(hash, control.shards)});
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
  SomeLocked(ThreadContext& me, const ObjectAddress& where, DictControl& control, const std::vector<Keyed>& keys)
      : me_(me), where_(where), control_(control) {
    for (const Keyed& keyed : keys) shards_.set(keyed.shard);
    me_.announce_object(where_.control);
    for (std::uint64_t i = 0; i < dict_shards(control_); ++i) {
      if (shards_.test(i)) (void)lock_announced(me_, dict_shard(control_, i).writing);
    }
  }
  ~SomeLocked() {
    for (std::uint64_t i = 0; i < dict_shards(control_); ++i) {
      if (shards_.test(i)) unlock_announced(dict_shard(control_, i).writing);
    }
    me_.retract_object(where_.control);
  }
  SomeLocked(const SomeLocked&) = delete;
  SomeLocked& operator=(const SomeLocked&) = delete;

  // Frees what was prepared and not committed.
  void undo() {
    for (std::uint64_t i = 0; i < dict_shards(control_); ++i) {
      if (shards_.test(i)) dict_derive_shard(me_, where_, control_, i);
    }
  }

 private:
  ThreadContext& me_;
  const ObjectAddress& where_;
  DictControl& control_;
  std::bitset<kMaxShards> shards_;
};

struct Change {
  RedoEntry store;
  Offset retired = 0;  // the entry that it replaces
  std::uint64_t retired_bytes = 0;
  bool adds = false;
};

// Finds or promises a slot for each key of one shard. When the table was rearranged on the way, starts again.
Status choose_slots(Segment& segment, DictShardParts& shard, std::span<Keyed> keys, std::vector<DictPlace>& places) {
  for (;;) {
    places.assign(keys.size(), {});
    std::uint32_t arrangement = shard.table.rearranged();
    for (std::size_t i = 0; i < keys.size() && arrangement == shard.table.rearranged(); ++i) {
      Status found = find_in_table(segment, shard.shard, keys[i].key, places[i]);
      if (found == Status::kOk) continue;
      if (found != Status::kNotFound) return found;
      places[i].slot = nullptr;
      Status status = shard.table.free_slot(hash_tag(keys[i].key.hash), places[i].slot);
      if (status != Status::kOk) return status;
      Word value = places[i].slot->load(std::memory_order_relaxed);
      places[i].slot->store(value | kSlotReserved, std::memory_order_release);
    }
    if (arrangement == shard.table.rearranged()) return Status::kOk;
    shard.table.complete_changes();  // takes the promises back
  }
}

// Writes the new entries of one shard and lists the stores that will show them.
Status prepare(Segment& segment, DictShardParts& shard, std::span<Keyed> keys, std::uint64_t first_sequence,
               std::vector<Change>& changes) {
  std::vector<DictPlace> places;
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
      Offset entry = shard.write_entry(segment, sequence, *keys[i].key.item, value);
      if (entry == 0) return Status::kOutOfMemory;
      // Read now: a later key of the batch may have set the overflow bit.
      Word mark = place.slot->load(std::memory_order_relaxed) & kSlotOverflow;
      change.store = {segment.offset_of(place.slot), slot_word(hash_tag(keys[i].key.hash), entry) | mark};
      change.adds = place.entry == nullptr;
      if (!change.adds) {
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

Offset redo_of_roots(const ObjectAddress& where, const DictControl& control) {
  return where.control + dict_redo_at(dict_shards(control));
}

// Commits the listed roots, applies them, and frees what they no longer reach. REQUIRES: all locks.
void swap_roots(ThreadContext& me, const ObjectAddress& where, DictControl& control, const std::vector<Word>& roots) {
  Segment& segment = me.segment();
  Offset redo = redo_of_roots(where, control);
  for (std::uint64_t i = 0; i < dict_shards(control); ++i) {
    write_redo_entry(segment, redo, i, {segment.offset_of(&dict_shard(control, i).root), roots[i]});
  }
  write_redo_count(segment, redo, dict_shards(control));
  commit_redo(me, redo);
  (void)apply_redo(segment, redo);
  end_redo(me);
  for (std::uint64_t i = 0; i < dict_shards(control); ++i) {
    DictShard& shard = dict_shard(control, i);
    if (shard.watched.load(std::memory_order_relaxed) != 0) note_all_dict_changes(control, shard);
    dict_derive_shard(me, where, control, i);
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
  return with_idle_memory(*this, me, [&] { return try_put_many(me, pairs); });
}

Status Dict::try_put_many(ThreadContext& me, std::span<const DictPair> pairs) {
  std::vector<Keyed> keys = sort_out(*control_, pairs);
  std::vector<Change> changes;
  changes.reserve(keys.size());
  SomeLocked held(me, where_, *control_, keys);
  std::uint64_t first_sequence = draw_sequences(*control_, keys, pairs.size());
  Status status = Status::kOk;
  std::vector<std::pair<std::size_t, std::size_t>> runs;  // keys of one shard
  for (std::size_t i = 0, end; i < keys.size() && status == Status::kOk; i = end) {
    for (end = i; end < keys.size() && keys[end].shard == keys[i].shard;) ++end;
    runs.emplace_back(i, end);
    DictShardParts shard(me, where_, *control_, keys[i].shard);
    status = prepare(*segment_, shard, std::span(keys).subspan(i, end - i), first_sequence, changes);
  }
  DictShardParts first(me, where_, *control_, keys.front().shard);
  Offset redo = status == Status::kOk ? first.heap.take(redo_block_bytes(changes.size())) : 0;
  if (redo == 0) {
    held.undo();
    return status == Status::kOk ? Status::kOutOfMemory : status;
  }
  write_redo_count(*segment_, redo, changes.size());
  for (std::size_t i = 0; i < changes.size(); ++i) write_redo_entry(*segment_, redo, i, changes[i].store);
  commit_redo(me, redo);
  (void)apply_redo(*segment_, redo);
  end_redo(me);
  for (auto [begin, end] : runs) {
    DictShardParts shard(me, where_, *control_, keys[begin].shard);
    std::int64_t added = 0;
    for (std::size_t i = begin; i < end; ++i) {
      added += changes[i].adds;
      shard.tell_watchers(keys[i].key.hash);
      if (changes[i].retired != 0) shard.heap.retire(changes[i].retired, changes[i].retired_bytes);
    }
    if (added != 0) shard.add_to_count(added);
  }
  first.heap.give(redo, redo_block_bytes(changes.size()));
  return Status::kOk;
}

Status Dict::get_many(ThreadContext& me, std::span<const Item> keys, std::vector<std::string>& values,
                      std::vector<bool>& found, std::vector<ItemKind>* kinds) const {
  std::vector<Keyed> wanted;
  wanted.reserve(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    std::uint64_t hash = hash_key(keys[i], control_->seed);
    wanted.push_back({{&keys[i], hash}, nullptr, i, hash_shard(hash, control_->shards)});
  }
  values.assign(keys.size(), {});
  found.assign(keys.size(), false);
  if (kinds != nullptr) kinds->assign(keys.size(), ItemKind::kNull);
  SomeLocked held(me, where_, *control_, wanted);
  for (const Keyed& keyed : wanted) {
    DictPlace place;
    Status status = find_in_table(*segment_, dict_shard(*control_, keyed.shard), keyed.key, place);
    if (status == Status::kCorrupt) return status;
    if (status != Status::kOk) continue;
    std::string& value = values[keyed.order];
    value.resize(place.header.value_size());
    read_words(value.data(), place.entry + place.header.value_at(), value.size());
    found[keyed.order] = true;
    if (kinds != nullptr) (*kinds)[keyed.order] = place.header.value_kind();
  }
  return Status::kOk;
}

Status Dict::clear(ThreadContext& me) {
  std::vector<Word> roots(dict_shards(*control_), 0);
  DictAllLocked held(me, where_, *control_);
  swap_roots(me, where_, *control_, roots);
  return Status::kOk;
}

Status Dict::assign(ThreadContext& me, std::span<const DictPair> pairs) {
  if (!all_fit(pairs)) return Status::kTooLarge;
  return with_idle_memory(*this, me, [&] { return try_assign(me, pairs); });
}

Status Dict::try_assign(ThreadContext& me, std::span<const DictPair> pairs) {
  std::vector<Keyed> keys = sort_out(*control_, pairs);
  std::vector<Word> roots(dict_shards(*control_), 0), slots;
  DictAllLocked held(me, where_, *control_);
  std::uint64_t first_sequence = draw_sequences(*control_, keys, pairs.size());
  bool memory = true;
  for (std::size_t i = 0, end; i < keys.size() && memory; i = end) {
    DictShardParts shard(me, where_, *control_, keys[i].shard);
    slots.clear();
    for (end = i; end < keys.size() && keys[end].shard == keys[i].shard && memory; ++end) {
      const Keyed& keyed = keys[end];
      Offset entry = shard.write_entry(*segment_, first_sequence + keyed.order, *keyed.key.item, *keyed.value);
      memory = entry != 0;
      slots.push_back(slot_word(hash_tag(keyed.key.hash), entry));
    }
    if (!memory) break;
    roots[keys[i].shard] = shard.table.build(slots);
    memory = roots[keys[i].shard] != 0;
  }
  if (!memory) {
    for (std::uint64_t i = 0; i < dict_shards(*control_); ++i) dict_derive_shard(me, where_, *control_, i);
    return Status::kOutOfMemory;
  }
  swap_roots(me, where_, *control_, roots);
  return Status::kOk;
}

}  // namespace commonhold::shm
