// Several keys at once: what nobody reaches is prepared, a large batch's entries before its locks are taken
// (dict_staging.h), the rest under them, and then committed as one batch (dict_view.h).
//
// Private memory is taken before the locks and not under them: a std::bad_alloc leaves nothing to take back.
#include <algorithm>
#include <bitset>
#include <optional>

#include "shm/dict.h"
#include "shm/dict_batch_keys.h"
#include "shm/dict_probe.h"
#include "shm/dict_shard_writer.h"
#include "shm/dict_spread.h"
#include "shm/dict_staging.h"
#include "shm/dict_view.h"
#include "shm/idle_memory.h"
#include "shm/redo.h"

namespace commonhold::shm {

namespace {

// The locks of the shards that a set of keys lives in, for a scope.
class SomeLocked {
 public:
  SomeLocked(ThreadContext& me, const ObjectAddress& where, const DictShards& shards, const std::vector<BatchKey>& keys)
      : me_(me), where_(where), shards_(shards) {
    for (const BatchKey& key : keys) held_.set(key.shard);
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

struct Change {
  RedoEntry store;
  Offset entry = 0;  // the new one
  std::uint64_t bytes = 0;
  Offset retired = 0;  // the one that it replaces
  std::uint64_t retired_bytes = 0;
};

// What a batch needs of private memory, all of it touched before the locks.
struct Plan {
  Plan(std::vector<BatchKey> sorted, std::size_t pairs)
      : keys(std::move(sorted)), stores(keys.size()), recent(keys, pairs) {
    changes.resize(keys.size());
    changes.clear();
    outcomes.reserve(kMaxShards);
    std::size_t most = 0;
    for (std::size_t i = 0, count; i < keys.size(); i += count) {
      most = std::max(most, count = keys_of_one_shard(keys, i));
    }
    places.resize(most);
  }
  std::vector<BatchKey> keys;
  std::vector<StagedEntry> staged;  // of each key, or empty: none is
  std::vector<DictPlace> places;    // of each key of the shard that is worked on
  std::vector<Change> changes;      // of each key, as far as they are prepared
  std::vector<RedoEntry> stores;
  std::vector<DictShardOutcome> outcomes;
  RecentKeys recent;
};

// Has what the next keys are looked up through fetched while others are worked on: which part of a large table a key
// needs cannot be predicted, only known early.
class LookAhead {
 public:
  LookAhead(const Segment& segment, const DictShard& shard, std::span<const BatchKey> keys)
      : segment_(segment), shard_(shard), keys_(keys) {}
  void at(std::size_t i) const {
    if (keys_.size() < kWorthIt) return;
    if (i + kBucket < keys_.size()) {
      if (const AtomicWord* slots = home(keys_[i + kBucket])) __builtin_prefetch(slots);
    }
    if (i + kEntry < keys_.size()) {
      const BatchKey& key = keys_[i + kEntry];
      if (const Offset entry = likely_entry(key)) {
        __builtin_prefetch(segment_.at<std::byte>(entry));  // never faults
        __builtin_prefetch(key.key.item);
      }
    }
    if (i + kKey < keys_.size() && likely_entry(keys_[i + kKey]) != 0) {
      __builtin_prefetch(keys_[i + kKey].key.item->data);
    }
  }

 private:
  static constexpr std::size_t kBucket = 24, kEntry = 16, kKey = 8;  // so many keys ahead
  static constexpr std::size_t kWorthIt = 256;                       // keys: the tables of less are in the cache anyway
  // The one that the key is compared with, if there is any.
  Offset likely_entry(const BatchKey& key) const {
    const AtomicWord* slots = home(key);
    const std::uint32_t matches = slots != nullptr ? slots_with_tag(slots, hash_tag(key.key.hash)) : 0;
    return matches != 0 ? slot_entry(slots[std::countr_zero(matches)].load(std::memory_order_relaxed)) : 0;
  }
  const AtomicWord* home(const BatchKey& key) const {
    const Word root = shard_.root.load(std::memory_order_relaxed);
    const std::uint32_t tag = hash_tag(key.key.hash);
    Word directory_entry;
    Offset table;
    std::uint32_t buckets;
    if (root == 0 || !find_table(segment_, root, tag, directory_entry, table, buckets)) return nullptr;
    return bucket_slots(segment_, table, buckets, tag, 0);
  }
  const Segment& segment_;
  const DictShard& shard_;
  std::span<const BatchKey> keys_;
};

// Finds or reserves a slot for each key of one shard. The keys are sorted by hash, so those of one table stand
// together: when a table is split, its keys alone start again, with no more than a table's slots behind them.
Status choose_slots(Segment& segment, DictShardParts& shard, std::span<const BatchKey> keys,
                    std::span<DictPlace> places) {
  const LookAhead ahead(segment, shard.shard, keys);
  Offset current = 0;
  std::size_t first = 0;  // of the current table's keys
  for (std::size_t i = 0; i < keys.size();) {
    ahead.at(i);
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

// Whether the new value goes where the old one is, and it. A staged entry is always used: the key may have got its
// scalar since it was written.
bool goes_in_place(const Segment& segment, const DictShardParts& shard, const DictPlace& place, const BatchKey& key,
                   const StagedEntry& staged, Word& word) {
  if (place.entry == nullptr) return false;
  if (staged.in_place && staged.kind == place.header.value_kind()) {
    word = staged.word;
    return true;
  }
  if (staged.entry != 0 || !is_scalar(key.value->kind) || place.header.value_kind() != key.value->kind) return false;
  note_links(segment, shard.object, *key.value);
  std::memcpy(&word, key.value->data, sizeof word);
  return true;
}

// Writes the new entries of one shard, as far as they are not staged, and lists the stores that will show them.
// `changes` gets one for each key. `staged`: what is, or empty.
Status prepare(Segment& segment, DictShardParts& shard, std::span<const BatchKey> keys,
               std::span<const StagedEntry> staged, std::span<DictPlace> places, std::uint64_t first_sequence,
               std::vector<Change>& changes) {
  Status status = choose_slots(segment, shard, keys, places);
  if (status != Status::kOk) return status;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const DictPlace& place = places[i];
    Change change;
    const StagedEntry prepared = staged.empty() ? StagedEntry() : staged[i];
    if (goes_in_place(segment, shard, place, keys[i], prepared, change.store.word)) {
      change.store.at = segment.offset_of(place.entry) + place.header.value_at();
    } else {
      std::uint64_t sequence = place.entry != nullptr ? place.header.sequence() : first_sequence + keys[i].order;
      change.entry = prepared.entry;
      if (change.entry != 0) {
        set_sequence(segment, change.entry, sequence);
      } else {
        change.entry = shard.write_entry(segment, sequence, *keys[i].key.item, *keys[i].value);
        if (change.entry == 0) return Status::kOutOfMemory;
      }
      change.bytes = load_entry(segment.at<std::byte>(change.entry)).bytes();
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

}  // namespace

Status Dict::put_many(ThreadContext& me, std::span<const DictPair> pairs) {
  if (!fit_entries(pairs)) return Status::kTooLarge;
  if (pairs.empty()) return Status::kOk;
  return with_idle_memory(*this, me, [&] { return on_shards_that_stand([&] { return try_put_many(me, pairs); }); });
}

Status Dict::try_put_many(ThreadContext& me, std::span<const DictPair> pairs) {
  const DictShards shards = look_at_shards();
  if (shards.size() == 0) return Status::kCorrupt;
  Plan plan(sort_batch(*control_, shards, pairs), pairs.size());
  const std::vector<BatchKey>& keys = plan.keys;
  std::vector<Change>& changes = plan.changes;
  std::optional<DictStaging> staging;
  const bool is_large = is_worth_staging(pairs);
  if (is_large) {
    const Status status =
        stage_batch(me, where_, *control_, shards, pairs, keys, DictStaging::Scalars::kInPlace, staging, plan.staged);
    if (status != Status::kOk) return status;
  }
  SomeLocked held(me, where_, shards, keys);
  if (!shards.stand()) return Status::kRetry;
  // A large one has had its look, before what it has written since counted among what the dict holds.
  if (!is_large && spread_if_crowded(me, where_, *control_, shards, pairs)) return Status::kRetry;
  if (const Status taken = staging ? staging->take() : Status::kOk; taken != Status::kOk) return taken;
  std::uint64_t first_sequence = draw_sequences(*control_, plan.recent, pairs.size());
  Status status = Status::kOk;
  for (std::size_t i = 0, count; i < keys.size(); i += count) {
    count = keys_of_one_shard(keys, i);
    DictShardParts shard(me, where_, *control_, shards, keys[i].shard);
    const auto staged = plan.staged.empty() ? std::span<const StagedEntry>() : std::span(plan.staged).subspan(i, count);
    status = prepare(*segment_, shard, std::span(keys).subspan(i, count), staged, plan.places, first_sequence, changes);
    if (status != Status::kOk) break;
    std::int64_t added = 0;
    for (std::size_t k = i; k < i + count; ++k) added += changes[k].entry != 0 && changes[k].retired == 0;
    plan.outcomes.push_back(
        {&shard.shard, shard.shard.root.load(std::memory_order_relaxed),
         added == 0 ? shard.shard.count.load(std::memory_order_relaxed) : shard.count_after(added)});
  }
  DictShardParts first(me, where_, *control_, shards, keys.front().shard);
  const std::uint64_t redo_bytes = redo_block_bytes(batch_redo_entries(keys.size(), plan.outcomes.size()));
  Offset redo = status == Status::kOk ? first.heap.take(redo_bytes) : 0;
  if (redo == 0) {
    for (std::size_t i = 0, count; i < keys.size(); i += count) {
      count = keys_of_one_shard(keys, i);
      DictShardParts shard(me, where_, *control_, shards, keys[i].shard);
      if (is_large) {  // what it took is worth the work for the whole shard: it goes to others
        dict_derive_shard(me, where_, *control_, shards, keys[i].shard);
        shard.table.shrink(shard.entries());
        continue;
      }
      for (std::size_t k = i; k < i + count; ++k) {
        if (k < changes.size() && changes[k].entry != 0) shard.heap.give(changes[k].entry, changes[k].bytes);
      }
      shard.table.complete_changes();  // takes the reservations back
    }
    return status == Status::kOk ? Status::kOutOfMemory : status;
  }
  std::ranges::transform(changes, plan.stores.begin(), &Change::store);
  std::ranges::sort(plan.stores, {}, &RedoEntry::at);
  commit_batch(me, *control_, redo, plan.stores, plan.outcomes);
  for (std::size_t i = 0, count; i < keys.size(); i += count) {
    count = keys_of_one_shard(keys, i);
    DictShardParts shard(me, where_, *control_, shards, keys[i].shard);
    for (std::size_t k = i; k < i + count; ++k) {
      shard.tell_watchers(keys[k].key.hash);
      if (changes[k].retired != 0) shard.heap.retire(changes[k].retired, changes[k].retired_bytes);
    }
  }
  first.heap.give(redo, redo_bytes);
  return Status::kOk;
}

}  // namespace commonhold::shm
