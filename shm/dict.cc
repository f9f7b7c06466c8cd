// Single-key changes and the catalogue's functions. Reading: dict_read.cc; several keys: dict_batch.cc; order:
// dict_order.cc; after a death: dict_repair.cc.
#include "shm/dict.h"

#include <sys/random.h>

#include "shm/dict_key_writer.h"
#include "shm/dict_overwrite.h"
#include "shm/dict_shard_writer.h"
#include "shm/extents.h"
#include "shm/idle_memory.h"
#include "shm/liveness.h"
#include "shm/planted_fault.h"
#include "shm/recovery.h"

namespace commonhold::shm {

Dict::Dict(const ObjectAddress& where)
    : where_(where), segment_(where.segment), control_(where.segment->at<DictControl>(where.control)) {}

DictShards Dict::look_at_shards() const {
  return {*segment_, *control_, sound_shards_};
}

Offset DictShardParts::write_entry(Segment& segment, std::uint64_t sequence, const Item& key, const Item& value) {
  note_links(segment, object, value);
  EntryHeader header = EntryHeader::make(sequence, key, value);
  Offset at = heap.take(header.bytes(), entry_readers(key.size));
  if (at == 0) return 0;
  std::byte* entry = segment.at<std::byte>(at);
  store_word(entry, header.what);
  store_word(entry + 8, header.sizes);
  write_block(entry + sizeof(EntryHeader), key.data, key.size);
  write_block(entry + header.value_at(), value.data, value.size);
  return at;
}

namespace {

bool fits(const Item& key, const Item& value) {
  return key.size <= kMaxItemBytes && value.size <= kMaxItemBytes;
}

void copy_value(const DictPlace& place, std::string& out) {
  out.resize(place.header.value_size());
  read_words(out.data(), place.entry + place.header.value_at(), out.size());
}

// Adds an entry for an absent key. The commit point is the slot's store.
Status add_entry(Segment& segment, DictShardParts& shard, const DictKey& key, const Item& value) {
  AtomicWord* slot;
  Status status = shard.table.free_slot(hash_tag(key.hash), slot);
  if (status != Status::kOk) return status;
  Offset entry = shard.write_entry(segment, draw_sequence(shard.control, key.hash), *key.item, value);
  if (entry == 0) return Status::kOutOfMemory;
  Word mark = slot->load(std::memory_order_relaxed) & kSlotOverflow;
  shard.begin_count_change();
  if (planted(PlantedFault::kUnlockBeforeCommit)) unlock_announced(shard.shard.writing);
  slot->store(slot_word(hash_tag(key.hash), entry) | mark, std::memory_order_release);
  shard.add_to_count(1);
  shard.tell_watchers(key.hash);
  return Status::kOk;
}

// Puts another value in the place of one. The commit point is one store: of the word, or of the slot.
Status replace_value(Segment& segment, DictShardParts& shard, const DictPlace& place, const DictKey& key,
                     const Item& value) {
  if (is_scalar(value.kind) && place.header.value_kind() == value.kind) {
    note_links(segment, shard.object, value);
    Word word;
    std::memcpy(&word, value.data, sizeof word);
    store_word(const_cast<std::byte*>(place.entry) + place.header.value_at(), word);
    shard.tell_watchers(key.hash);
    return Status::kOk;
  }
  Offset entry = shard.write_entry(segment, place.header.sequence(), *key.item, value);
  if (entry == 0) return Status::kOutOfMemory;
  Word mark = place.slot_value & ~kSlotEntry;
  place.slot->store(mark | entry >> 4, std::memory_order_release);
  shard.heap.retire(slot_entry(place.slot_value), place.header.bytes());
  shard.tell_watchers(key.hash);
  return Status::kOk;
}

}  // namespace

void Dict::give_idle_memory(ThreadContext& me) {
  (void)recover_dead_holder(me, control_->preparing);  // what it had listed is idle then, also without a server
  (void)on_shards_that_stand([&] {
    const DictShards shards = look_at_shards();
    for (std::uint64_t i = 0; i < shards.size(); ++i) {
      HeldLock held(me, shards[i].writing);
      if (!shards.stand()) return Status::kRetry;
      dict_derive_shard(me, where_, *control_, shards, i);
    }
    // What was pinned when the dict spread.
    if (const DictShards first = first_shard(*segment_, *control_); first.size() != 0 && !shards.in_control_block()) {
      HeldLock held(me, first[0].writing);
      settle_spread(me, where_, *control_);
      dict_derive_shard(me, where_, *control_, first, 0);
    }
    return Status::kOk;
  });
}

namespace {

Word sum_of_changes(const DictShards& shards) {
  Word sum = 0;
  for (std::uint64_t i = 0; i < shards.size(); ++i) sum += shards[i].changes.load(std::memory_order_relaxed);
  return sum;
}

}  // namespace

// One more since then is the attempt that has just failed; none where another process noted that since.
bool Dict::may_have_idle_memory() const {
  const Word changes = sum_of_changes(look_at_shards());
  const Word mark = control_->trimmed_at.load(std::memory_order_relaxed);
  if (mark == 0 || ((changes - mark) & kTrimChanges) > 1) return true;
  const std::uint32_t preparing = control_->preparing.state.load(std::memory_order_relaxed) & ~kLockWaiters;
  if (preparing != 0 && owner_is_dead(*segment_, preparing)) return true;
  control_->trimmed_at.store(trim_mark(changes, mark >> kTrimFreeShift), std::memory_order_relaxed);
  return false;
}

bool Dict::may_move_together() const {
  const Word mark = control_->trimmed_at.load(std::memory_order_relaxed);
  return segment_->header().free_extents.load(std::memory_order_relaxed) > mark >> kTrimFreeShift;
}

void Dict::found_no_idle_memory() {
  const Word free = segment_->header().free_extents.load(std::memory_order_relaxed);
  control_->trimmed_at.store(trim_mark(sum_of_changes(look_at_shards()), free), std::memory_order_relaxed);
}

[[gnu::noinline, gnu::cold]] void note_wait(DictControl& control) {
  if (control.shards.load(std::memory_order_relaxed) != shards_word(kDictHeaderBytes, 1)) return;
  if (control.patience.load(std::memory_order_relaxed) < kNeverSpreads) {
    control.waits.fetch_add(1, std::memory_order_relaxed);
  }
}

[[gnu::noinline]] bool make_room_in_park(ThreadContext& me, const ObjectAddress& where, DictShard& shard) {
  const DictShards shards(me.segment(), *me.segment().at<DictControl>(where.control));
  for (std::uint64_t i = 0; i < shards.size(); ++i) {
    if (&shards[i] != &shard) continue;
    Heap(me, ChunkOwner(where.object, shards.arena(i)), shard.heap, shard.recycle).recycle();
  }
  return !park_is_full(shard.heap);  // full when all are pinned
}

Status Dict::put(ThreadContext& me, const Item& key, const Item& value, PutMode mode, std::string* before,
                 bool* replaced) {
  std::uint64_t absent = 0;
  if (mode == PutMode::kInsertOnly || before != nullptr || !put_straight(me, key, value, absent)) {
    return put_at_length(me, key, value, mode, before, replaced, absent);
  }
  if (replaced != nullptr) *replaced = true;
  return Status::kOk;
}

// Calls use(at) with the key in a writer's hands; again as long as it returns kRetry: the dict has spread.
template <typename Use>
Status Dict::with_key(ThreadContext& me, const Item& key, const DictForesight& seen, Use&& use) {
  return on_shards_that_stand([&] {
    const DictShards shards = look_at_shards();
    if (shards.size() == 0) return Status::kCorrupt;
    DictKeyWriter at(me, where_, *control_, shards, key, seen);
    if (at.found == Status::kCorrupt || at.found == Status::kRetry) return at.found;
    return use(at);
  });
}

[[gnu::noinline]] Status Dict::put_at_length(ThreadContext& me, const Item& key, const Item& value, PutMode mode,
                                             std::string* before, bool* replaced, std::uint64_t absent) {
  if (!fits(key, value)) return Status::kTooLarge;
  auto put_at = [&](DictKeyWriter& at) {
    const bool present = at.found == Status::kOk;
    if ((mode != PutMode::kReplaceOnly || present) && at.spread_if_crowded(!present, key.size + value.size)) {
      return Status::kRetry;
    }
    if (replaced != nullptr) *replaced = present;
    if (present) {
      if (before != nullptr) copy_value(at.place, *before);
      if (mode == PutMode::kInsertOnly) return Status::kExists;
      return replace_value(*segment_, at.shard, at.place, at.key, value);
    }
    if (mode == PutMode::kReplaceOnly) return Status::kNotFound;
    return add_entry(*segment_, at.shard, at.key, value);
  };
  // A key that is new is not looked for before the lock is held.
  const DictForesight seen = absent != 0 ? DictForesight(absent) : DictForesight(*segment_, *control_, key);
  return with_idle_memory(*this, me, [&] { return with_key(me, key, seen, put_at); });
}

Status Dict::erase(ThreadContext& me, const Item& key, std::string* before, const Item* expected) {
  return with_key(me, key, DictForesight(*segment_, *control_, key), [&](DictKeyWriter& at) {
    if (at.found != Status::kOk) return at.found;
    if (expected != nullptr && !same_value(at.place, *expected)) return Status::kMismatch;
    if (before != nullptr) copy_value(at.place, *before);
    at.shard.begin_count_change();
    at.place.slot->store(at.place.slot_value & kSlotOverflow, std::memory_order_release);
    at.shard.heap.retire(slot_entry(at.place.slot_value), at.place.header.bytes());
    at.shard.add_to_count(-1);
    at.shard.tell_watchers(at.key.hash);
    at.shard.table.shrink(at.shard.entries());
    return Status::kOk;
  });
}

Status Dict::compare_exchange(ThreadContext& me, const Item& key, const Item& expected, const Item& desired,
                              std::string* actual) {
  if (!fits(key, desired)) return Status::kTooLarge;
  auto exchange_at = [&](DictKeyWriter& at) {
    if (at.found != Status::kOk) return at.found;
    if (!same_value(at.place, expected)) {
      if (actual != nullptr) copy_value(at.place, *actual);
      return Status::kMismatch;
    }
    if (at.spread_if_crowded(0, desired.size)) return Status::kRetry;
    return replace_value(*segment_, at.shard, at.place, at.key, desired);
  };
  return with_idle_memory(*this, me,
                          [&] { return with_key(me, key, DictForesight(*segment_, *control_, key), exchange_at); });
}

Status Dict::change_word(ThreadContext& me, const Item& key, ItemKind kind, WordChange change, Word operand,
                         const Word* start, Word* before) {
  Word was;
  if (change_word_straight(me, key, kind, change, operand, was)) {
    if (before != nullptr) *before = was;
    return Status::kOk;
  }
  auto change_at = [&](DictKeyWriter& at) {
    const bool present = at.found == Status::kOk;
    if (at.spread_if_crowded(!present, key.size)) return Status::kRetry;
    if (present) {
      if (at.place.header.value_kind() != kind || at.place.header.value_size() != 8) return Status::kMismatch;
      std::byte* value = const_cast<std::byte*>(at.place.entry) + at.place.header.value_at();
      const Word word = load_word(value);
      if (before != nullptr) *before = word;
      store_word(value, change(word, operand));
      at.shard.tell_watchers(at.key.hash);
      return Status::kOk;
    }
    if (start == nullptr) return at.found;
    if (before != nullptr) *before = *start;
    const Word word = change(*start, operand);
    return add_entry(*segment_, at.shard, at.key, Item{kind, &word, 8});
  };
  return with_idle_memory(*this, me,
                          [&] { return with_key(me, key, DictForesight(*segment_, *control_, key), change_at); });
}

DictAllLocked::DictAllLocked(ThreadContext& me, const ObjectAddress& where, const DictShards& shards)
    : me_(me), control_at_(where.control), shards_(shards) {
  me_.announce_object(control_at_);
  for (std::uint64_t i = 0; i < shards_.size(); ++i) (void)lock_announced(me_, shards_[i].writing);
}

DictAllLocked::~DictAllLocked() {
  for (std::uint64_t i = shards_.size(); i-- > freed_;) unlock_announced(shards_[i].writing);
  me_.retract_object(control_at_);
}

void DictAllLocked::free_next() {
  unlock_announced(shards_[freed_++].writing);
}

Status Dict::create(ThreadContext& me, std::uint32_t object, std::uint64_t shards, Offset& control_at) {
  const bool may_spread = shards == 0;
  if (may_spread) shards = 1;
  if (shards > kMaxShards || (shards & (shards - 1)) != 0) return Status::kOutOfRange;
  Offset chunk = 0;
  Status status = take_chunk(me, ChunkOwner(object, kControlArena), dict_control_bytes(shards), chunk);
  if (status != Status::kOk) return status;
  std::byte* bytes = me.segment().at<std::byte>(chunk);
  for (std::uint64_t i = 0; i < dict_control_bytes(shards); i += 8) store_word(bytes + i, 0);
  auto* control = me.segment().at<DictControl>(chunk);
  control->shards.store(shards_word(kDictHeaderBytes, shards), std::memory_order_relaxed);
  control->patience.store(may_spread ? 0 : kNeverSpreads, std::memory_order_relaxed);
  Word seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = chunk;
  store_word(&control->seed, seed);
  control_at = chunk;
  return Status::kOk;
}

void Dict::each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word)) {
  auto* control = where.segment->at<DictControl>(where.control);
  const DictShards shards(*where.segment, *control);
  for (std::uint64_t i = 0; i < shards.size(); ++i) visit(context, shards[i].writing);
  // Of a dict that has spread: somebody may have waited for it, and died with it.
  if (const DictShards first = first_shard(*where.segment, *control); first.size() != 0 && !shards.in_control_block()) {
    visit(context, first[0].writing);
  }
  visit(context, control->committing);
  visit(context, control->preparing);
}

}  // namespace commonhold::shm
