// Reading without a lock: copy, then see whether anything that was copied may have been reused meanwhile.
#include "shm/dict_lookup.h"
#include "shm/dict_shard_writer.h"

namespace commonhold::shm {

namespace {

// Undisturbed, a reader needs one attempt. After this many it takes the shard's lock.
constexpr int kAttempts = 32;

// Calls use(place) with an entry that may be overwritten meanwhile; what use did counts only if this returns kOk.
// use returns false to stop early with kMismatch.
template <typename Use>
Status read_entry(Segment& segment, const ObjectAddress& where, DictControl& control, const Item& key, Use&& use) {
  DictKey wanted{&key, hash_key(key, control.seed)};
  std::uint64_t index = hash_shard(wanted.hash, control.shards);
  DictShard& shard = dict_shard(control, index);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    // SYNC POINT: recycle
    Word recycle = shard.recycle.load(std::memory_order_acquire);
    DictPlace place;
    Status status = find_in_table(segment, shard, wanted, place);
    if (shard.recycle.load(std::memory_order_acquire) != recycle) continue;  // sizes may be anything
    bool used = status == Status::kOk && use(place);
    if (shard.recycle.load(std::memory_order_acquire) != recycle) continue;
    if (status == Status::kOk) return used ? Status::kOk : Status::kMismatch;
    if (still_stands(segment, shard, wanted, place)) return status;
  }
  ThreadContext* me = segment.here();
  if (me == nullptr) return segment.join_failure();
  DictShardWriter held(*me, where, control, index);
  DictPlace place;
  Status status = find_in_table(segment, shard, wanted, place);
  if (status != Status::kOk) return status;
  return use(place) ? Status::kOk : Status::kMismatch;
}

[[gnu::noinline, gnu::cold]] Status get_slowly(Segment& segment, const ObjectAddress& where, DictControl& control,
                                               const Item& key, Sink value) {
  return read_entry(segment, where, control, key, [&](const DictPlace& place) {
    void* to = value.room(value.context, place.header.value_kind(), place.header.value_size());
    if (to != nullptr) read_words(to, place.entry + place.header.value_at(), place.header.value_size());
    return true;
  });
}

}  // namespace

Status Dict::get(const Item& key, Sink value) const {
  auto copy = [&](const Segment::Backed& memory, Offset at, const EntryHeader& header, auto&& undisturbed) {
    if (!undisturbed() || !memory.holds_unit(at + header.bytes() - 1)) return false;
    void* to = value.room(value.context, header.value_kind(), header.value_size());
    if (to != nullptr) read_words(to, memory.at<std::byte>(at + header.value_at()), header.value_size());
    return true;
  };
  if (read_straight(*segment_, *control_, key, copy)) [[likely]]
    return Status::kOk;
  return get_slowly(*segment_, where_, *control_, key, value);
}

Status Dict::get_fixed(const Item& key, void* value, std::size_t size) const {
  return get_fixed_straight(key, value, size) ? Status::kOk : get_fixed_at_length(key, value, size);
}

[[gnu::noinline]] Status Dict::get_fixed_at_length(const Item& key, void* value, std::size_t size) const {
  return read_entry(*segment_, where_, *control_, key, [&](const DictPlace& place) {
    if (place.header.value_size() != size) return false;
    read_words(value, place.entry + place.header.value_at(), size);
    return true;
  });
}

bool Dict::contains(const Item& key) const {
  if (read_straight(*segment_, *control_, Item(key), [](auto&&...) { return true; })) return true;
  return read_entry(*segment_, where_, *control_, key, [](const DictPlace&) { return true; }) == Status::kOk;
}

std::uint64_t Dict::size() const {
  // The counts of all shards at one moment: two equal collections in a row (each change of a count changes its upper
  // bits).
  constexpr Word kCountMask = DictShardParts::kCountMask;
  const std::uint64_t shards = dict_shards(*control_);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Word first[kMaxShards], sum = 0;
    for (std::uint64_t i = 0; i < shards; ++i) {
      first[i] = dict_shard(*control_, i).count.load(std::memory_order_acquire);
      sum += first[i] & kCountMask;
    }
    bool same = true;
    for (std::uint64_t i = 0; i < shards && same; ++i) {
      same = dict_shard(*control_, i).count.load(std::memory_order_acquire) == first[i];
    }
    if (same) return sum;
  }
  ThreadContext* me = segment_->here();
  if (me == nullptr) return 0;
  DictAllLocked held(*me, where_, *control_);
  Word sum = 0;
  for (std::uint64_t i = 0; i < dict_shards(*control_); ++i) {
    sum += dict_shard(*control_, i).count.load(std::memory_order_relaxed) & kCountMask;
  }
  return sum;
}

Status Dict::pin(ThreadContext& me, const Item& key, const void*& data, std::size_t& size, ItemKind& kind,
                 std::uint32_t& pin_slot) const {
  AtomicWord* pin = nullptr;
  for (std::uint32_t i = 0; i < std::size(me.record().pinned) && pin == nullptr; ++i) {
    if (me.record().pinned[i].load(std::memory_order_relaxed) != 0) continue;
    pin = &me.record().pinned[i];
    pin_slot = i;
  }
  if (pin == nullptr) return Status::kTooMany;
  segment_->header().pins_used.store(1, std::memory_order_seq_cst);
  // Under the shard's lock no block is reused: what is pinned here is the entry of the key.
  DictKey wanted{&key, hash_key(key, control_->seed)};
  DictShardWriter shard(me, where_, *control_, hash_shard(wanted.hash, control_->shards));
  DictPlace place;
  Status found = find_in_table(*segment_, shard.shard, wanted, place);
  if (found != Status::kOk) return found;
  pin->store(Heap::block_word(slot_entry(place.slot_value), place.header.bytes()), std::memory_order_seq_cst);
  data = place.entry + place.header.value_at();
  size = place.header.value_size();
  kind = place.header.value_kind();
  return Status::kOk;
}

void Dict::unpin(ThreadContext& me, std::uint32_t pin_slot) {
  me.record().pinned[pin_slot].store(0, std::memory_order_release);
}

}  // namespace commonhold::shm
