// Reading without a lock: copy, then see whether anything that was copied may have been reused meanwhile.
#include <algorithm>
#include <chrono>

#include "shm/dict_lookup.h"
#include "shm/dict_shard_writer.h"
#include "shm/dict_view.h"
#include "shm/large_read.h"
#include "shm/spin.h"
#include "shm/timed_lock.h"

namespace commonhold::shm {

namespace {

// Undisturbed, a reader needs one attempt. After this many it asks for the shard's lock, for so long, and tries anew.
constexpr int kAttempts = 32;
constexpr auto kFirstTimeout = std::chrono::milliseconds(1), kLastTimeout = std::chrono::milliseconds(100);
// How long a pin waits for the shard's lock before it is left to a copy.
constexpr auto kPinTimeout = std::chrono::milliseconds(100);

// Looks once, without the lock, in the state before or after the batch that hides the shard's root. kRetry: disturbed.
template <typename Use>
[[gnu::noinline]] Status read_through_batch(const Segment& segment, const DictControl& control, const DictShard& shard,
                                            const DictKey& key, Use&& use) {
  const DictView view(segment, control);
  const Word changes = shard.changes.load(std::memory_order_acquire);
  const Word recycle = shard.recycle.load(std::memory_order_acquire);
  DictPlace place{.undisturbed = {&shard.recycle, recycle}};
  const Status status = view.find(shard, key, place);
  if (shard.recycle.load(std::memory_order_acquire) != recycle || !view.stands()) return Status::kRetry;
  const bool used = status == Status::kOk && use(place, view.value(place.entry, place.header));
  if (shard.recycle.load(std::memory_order_acquire) != recycle || !view.stands()) return Status::kRetry;
  // Nothing is rearranged while the root is hidden; when it is hidden no more, or was shown in between, look again.
  if (status != Status::kOk && (shard.root.load(std::memory_order_acquire) != kRootHidden ||
                                shard.changes.load(std::memory_order_acquire) != changes)) {
    return Status::kRetry;
  }
  return status != Status::kOk || used ? status : Status::kMismatch;
}

// Calls use(place, value) with an entry that may be overwritten meanwhile; what use did counts only if this returns
// kOk.
// use returns false to stop early with kMismatch.
template <typename Use>
Status read_entry(Segment& segment, DictControl& control, std::atomic<Word>& sound_shards, const Item& key, Use&& use) {
  DictKey wanted{&key, hash_key(key, control.seed)};
  for (auto timeout = kFirstTimeout;; timeout = std::min(timeout * 2, kLastTimeout)) {
    const DictShards shards(segment, control, sound_shards);
    if (shards.size() == 0) return Status::kCorrupt;
    DictShard& shard = shards[shards.index_of(wanted.hash)];
    bool moved = false;  // the dict has spread
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      if (shard.root.load(std::memory_order_acquire) == kRootHidden) [[unlikely]] {
        // A batch is short, unless its writer was stopped.
        if (attempt < kAttempts / 2) {
          relax();
          continue;
        }
        const Status status = read_through_batch(segment, control, shard, wanted, use);
        if (status != Status::kRetry) return status;
        continue;
      }
      // SYNC POINT: recycle
      Word recycle = shard.recycle.load(std::memory_order_acquire);
      DictPlace place{.undisturbed = {&shard.recycle, recycle}};
      Status status = find_in_table(segment, shard, wanted, place);
      if (place.root == kRootHidden) continue;
      if (place.root == kRootMoved) [[unlikely]] {
        if (shards.stand()) return Status::kCorrupt;
        moved = true;
        break;
      }
      if (shard.recycle.load(std::memory_order_acquire) != recycle) continue;  // sizes may be anything
      bool used = status == Status::kOk && use(place, place.entry + place.header.value_at());
      if (shard.recycle.load(std::memory_order_acquire) != recycle) continue;
      if (status == Status::kOk) return used ? Status::kOk : Status::kMismatch;
      if (still_stands(segment, shard, wanted, place)) return status;
    }
    if (moved) [[unlikely]]
      continue;
    // Writers keep coming in between. One that is stopped does not: then the next attempts succeed.
    ThreadContext* me = segment.here();
    if (me == nullptr) continue;
    const TimedLockGuard held(*me, shard.writing, Deadline::after(timeout));
    if (!held || !shards.stand()) continue;
    DictPlace place;
    Status status = find_in_table(segment, shard, wanted, place);
    if (status != Status::kOk) return status;
    return use(place, place.entry + place.header.value_at()) ? Status::kOk : Status::kMismatch;
  }
}

// Copies the value to where `room` says, kMismatch when that is nowhere. A large value is looked up a second time, by
// a reader who has said that it reads one.
template <typename Room>
Status copy_value(Segment& segment, DictControl& control, std::atomic<Word>& sound_shards, const Item& key,
                  Room&& room) {
  bool large = false;
  const auto copy = [&](bool announced) {
    return read_entry(segment, control, sound_shards, key,
                      [&, announced](const DictPlace& place, const std::byte* bytes) {
                        large = !announced && is_large_block(place.header.bytes());
                        if (large) return true;
                        void* to = room(place.header);
                        if (to != nullptr) read_words(to, bytes, place.header.value_size());
                        return to != nullptr;
                      });
  };
  const Status status = copy(false);
  if (status != Status::kOk || !large) [[likely]]
    return status;
  const LargeRead announced(segment);
  return copy(true);
}

[[gnu::noinline, gnu::cold]] Status get_slow(Segment& segment, DictControl& control, std::atomic<Word>& sound_shards,
                                             const Item& key, Sink value) {
  const Status status = copy_value(segment, control, sound_shards, key, [&](const EntryHeader& header) {
    return value.room(value.context, header.value_kind(), header.value_size());
  });
  return status == Status::kMismatch ? Status::kOk : status;  // no room was wanted
}

}  // namespace

Status Dict::get(const Item& key, Sink value) const {
  auto copy = [&](const Segment::Backed& memory, Offset at, const EntryHeader& header, auto&& undisturbed) {
    if (!undisturbed() || is_large_block(header.bytes()) || !memory.holds_unit(at + header.bytes() - 1)) return false;
    void* to = value.room(value.context, header.value_kind(), header.value_size());
    if (to != nullptr) read_words(to, memory.at<std::byte>(at + header.value_at()), header.value_size());
    return true;
  };
  if (read_straight(*segment_, *control_, key, copy)) [[likely]]
    return Status::kOk;
  return get_slow(*segment_, *control_, sound_shards_, key, value);
}

Status Dict::get_fixed(const Item& key, void* value, std::size_t size) const {
  return get_fixed_straight(key, value, size) ? Status::kOk : get_fixed_at_length(key, value, size);
}

[[gnu::noinline]] Status Dict::get_fixed_at_length(const Item& key, void* value, std::size_t size) const {
  return copy_value(*segment_, *control_, sound_shards_, key,
                    [&](const EntryHeader& header) { return header.value_size() == size ? value : nullptr; });
}

bool Dict::contains(const Item& key) const {
  if (read_straight(*segment_, *control_, Item(key), [](auto&&...) { return true; })) return true;
  return read_entry(*segment_, *control_, sound_shards_, key, [](auto&&...) { return true; }) == Status::kOk;
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
  const DictShards shards = look_at_shards();
  if (shards.size() == 0) return Status::kCorrupt;
  DictShard& shard = shards[shards.index_of(wanted.hash)];
  const TimedLockGuard held(me, shard.writing, Deadline::after(kPinTimeout));
  if (!held || !shards.stand()) return Status::kTooMany;
  DictPlace place;
  Status found = find_in_table(*segment_, shard, wanted, place);
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
