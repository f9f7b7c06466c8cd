#include "shm/dict_staging.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "shm/dict_spread.h"
#include "shm/links.h"
#include "shm/thread_recovery.h"
#include "shm/timed_lock.h"

namespace commonhold::shm {

namespace {

// Below these a batch holds its locks for some tenths of a millisecond at most.
constexpr std::size_t kWorthKeys = 512;
constexpr std::uint64_t kWorthBytes = 128 * kGranule;
// One hold of a shard's lock: some ten microseconds.
constexpr std::size_t kKeysAtOnce = 64;
constexpr std::uint64_t kBytesAtOnce = 32 * kGranule;
// How long a lock is left to those who wait for it, where no other shard's turn comes in between.
constexpr std::chrono::microseconds kTurnOfOthers{50};
// How long a recovery waits for a shard's lock, until one is not freed in time.
constexpr std::chrono::milliseconds kDropTimeout{10};

std::atomic<std::size_t> worth_keys{kWorthKeys}, keys_at_once{kKeysAtOnce};

// REQUIRES: the shard's lock, and that the shards stand.
void drop_staged(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
                 std::uint64_t index) {
  shards[index].staged.store(0, std::memory_order_release);
  dict_derive_shard(me, where, control, shards, index);
}

bool is_staged(const DictShard& shard) {
  return shard.staged.load(std::memory_order_relaxed) != 0;
}

}  // namespace

bool is_worth_staging(std::span<const DictPair> pairs) {
  const std::size_t worth = worth_keys.load(std::memory_order_relaxed);
  if (pairs.size() >= worth) return true;
  std::uint64_t bytes = 0;
  for (const DictPair& pair : pairs) bytes += pair.key.size + pair.value.size;
  return bytes >= kWorthBytes;
}

StagingForTest::StagingForTest(std::size_t worth, std::size_t at_once) {
  worth_keys.store(worth, std::memory_order_relaxed);
  keys_at_once.store(at_once, std::memory_order_relaxed);
}
StagingForTest::~StagingForTest() {
  worth_keys.store(kWorthKeys, std::memory_order_relaxed);
  keys_at_once.store(kKeysAtOnce, std::memory_order_relaxed);
}

DictStaging::DictStaging(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards)
    : me_(me), where_(where), control_(control), shards_(shards), held_(me, control.preparing) {
  drop_lists();  // what a dead one left, and nobody could free then
}

DictStaging::~DictStaging() {
  drop_lists();
}

void DictStaging::drop_lists() {
  for (std::uint64_t i = 0; i < shards_.size(); ++i) {
    if (!is_staged(shards_[i])) continue;
    const HeldLock held(me_, shards_[i].writing);
    if (shards_.stand()) drop_staged(me_, where_, control_, shards_, i);
  }
}

Status DictStaging::write(std::span<const BatchKey> keys, std::span<StagedEntry> entries, Scalars scalars) {
  std::vector<Run> runs;
  for (std::size_t i = 0; i < keys.size();) {
    const std::size_t end = i + keys_of_one_shard(keys, i);
    runs.push_back({i, end});
    i = end;
  }
  // Shard after shard in turn: between two holds of one lock its other writers have their turn.
  while (!runs.empty()) {
    bool awaited = false;
    for (Run& run : runs) {
      const Status status = write_some(run, keys, entries, scalars, awaited);
      if (status != Status::kOk) return status;
    }
    std::erase_if(runs, [](const Run& run) { return run.next == run.end; });
    if (awaited && runs.size() == 1) std::this_thread::sleep_for(kTurnOfOthers);
  }
  return Status::kOk;
}

Status DictStaging::write_some(Run& run, std::span<const BatchKey> keys, std::span<StagedEntry> entries,
                               Scalars scalars, bool& awaited) {
  Segment& segment = me_.segment();
  const std::uint64_t index = keys[run.next].shard;
  const HeldLock held(me_, shards_[index].writing);
  if (!shards_.stand()) return Status::kRetry;
  Offset& last = last_[index];
  if (shards_[index].staged.load(std::memory_order_relaxed) != last) return Status::kCorrupt;
  DictShardParts shard(me_, where_, control_, shards_, index);
  const std::size_t end = std::min(run.end, run.next + keys_at_once.load(std::memory_order_relaxed));
  std::uint64_t bytes = 0;
  for (; run.next < end && bytes < kBytesAtOnce; ++run.next) {
    const BatchKey& key = keys[run.next];
    StagedEntry& staged = entries[run.next];
    if (scalars == Scalars::kInPlace && is_scalar(key.value->kind)) {
      DictPlace place;
      const Status found = find_in_table(segment, shard.shard, key.key, place);
      if (found != Status::kOk && found != Status::kNotFound) return found;
      if (found == Status::kOk && place.header.value_kind() == key.value->kind) {
        note_links(segment, shard.object, *key.value);
        staged.in_place = true;
        staged.kind = key.value->kind;
        std::memcpy(&staged.word, key.value->data, sizeof staged.word);
        continue;
      }
    }
    const Offset entry = shard.write_entry(segment, last, *key.key.item, *key.value);
    if (entry == 0) return Status::kOutOfMemory;
    shard.shard.staged.store(entry, std::memory_order_release);
    staged.entry = last = entry;
    bytes += key.key.item->size + key.value->size;
  }
  awaited = awaited || (shards_[index].writing.state.load(std::memory_order_relaxed) & kLockWaiters) != 0;
  return Status::kOk;
}

Status DictStaging::take() {
  for (std::uint64_t i = 0; i < shards_.size(); ++i) {
    if (last_[i] != 0 && shards_[i].staged.load(std::memory_order_relaxed) != last_[i]) return Status::kCorrupt;
  }
  for (std::uint64_t i = 0; i < shards_.size(); ++i) {
    if (last_[i] != 0) shards_[i].staged.store(0, std::memory_order_release);
  }
  return Status::kOk;
}

Status stage_batch(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
                   std::span<const DictPair> pairs, std::span<const BatchKey> keys, DictStaging::Scalars scalars,
                   std::optional<DictStaging>& staging, std::vector<StagedEntry>& entries) {
  if (spread_for_batch(me, where, control, shards, pairs)) return Status::kRetry;
  staging.emplace(me, where, control, shards);
  entries.resize(keys.size());
  const Status status = staging->write(keys, entries, scalars);
  if (status != Status::kOutOfMemory) return status;
  staging.reset();
  entries.clear();
  return Status::kOk;
}

bool has_orphaned_entries(const DictControl& control, const DictShard& shard) {
  return is_staged(shard) && control.preparing.state.load(std::memory_order_acquire) == 0;
}

void drop_staged_of_dead(ThreadContext& me, const ObjectAddress& where, DictControl& control) {
  const DictShards shards(me.segment(), control);
  const std::uint32_t dead = dead_owner_of(me, control.preparing);
  auto timeout = kDropTimeout;
  for (std::uint64_t i = 0; i < shards.size(); ++i) {
    if (!is_staged(shards[i])) continue;
    control.trimmed_at.store(0, std::memory_order_relaxed);  // what stays listed is idle memory
    const std::uint32_t owner = shards[i].writing.state.load(std::memory_order_relaxed) & ~kLockWaiters;
    // The dead one's is repaired next. Our own is not to be waited for: see free_unheld_lock().
    if (owner == dead || owner == me.owner()) continue;
    const TimedLockGuard held(me, shards[i].writing, Deadline::after(timeout));
    if (!held) timeout = {};  // whoever is stopped in the middle of a batch has many of them
    if (held && shards.stand()) drop_staged(me, where, control, shards, i);
  }
}

}  // namespace commonhold::shm
