// Reading several shards as they were at one moment, without waiting for a writer that is stopped.
//
// First without locks: a shard whose lock is free before and after, and whose `changes` are the same, was not changed
// in between. When writers keep coming in between, their locks are taken, for a bounded time in all. A lock that is not
// free in time has a holder who is slow, stopped or dead; then its shard is read twice. `changes` being the same before
// and after, nobody but that holder can have changed the shard, and one holder makes no more than one store that
// readers can see (several keys: DictView), and never puts a word back that it changed. So when both readings saw the
// same words, these were there at the moment between the two readings, and all other shards were as they were read.
// Dict::compact() makes many such stores, but each gives an entry another place, downwards only, and changes nothing
// else: whichever of them a reading saw, it saw the same entries.
//
// SYNC POINT: dict changes: what a holder stored comes before `changes`, that before the lock is free.
#pragma once

#include <array>
#include <bitset>
#include <vector>

#include "shm/dict_shard_writer.h"
#include "shm/dict_view.h"
#include "shm/recovery.h"
#include "shm/spin.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

using DictShardSet = std::bitset<kMaxShards>;

// The locks of a set of shards for a scope, as far as they are free by the deadline. Without a thread slot: none.
//
// A dead holder is recovered, as by all who wait for a lock, but not while somebody holds the extents' lock, which the
// repair of a shard may need: that holder may be stopped, and what the dead one left can be read as it is. `recovers`:
// recover even while the extents' lock is held.
class DictReadGuard {
 public:
  DictReadGuard(ThreadContext* me, const ObjectAddress& where, const DictShards& shards, const DictShardSet& wanted,
                Deadline deadline, bool recovers)
      : me_(me), shards_(shards), control_at_(where.control) {
    if (me_ == nullptr) return;
    me_->announce_object(control_at_);
    for (std::uint64_t i = 0; i < shards_.size(); ++i) {
      if (!wanted.test(i)) continue;
      LockWord& word = shards_[i].writing;
      held_.set(i, lock_announced(*me_, word, deadline) == Status::kOk);
      if (held_.test(i)) continue;
      const LockWord& extents = me_->segment().header().extents_lock;
      if (recovers || extents.state.load(std::memory_order_relaxed) == 0) (void)recover_dead_holder(*me_, word);
    }
  }
  ~DictReadGuard() {
    if (me_ == nullptr) return;
    for (std::uint64_t i = 0; i < shards_.size(); ++i) {
      if (held_.test(i)) unlock_announced(shards_[i].writing);
    }
    me_->retract_object(control_at_);
  }
  DictReadGuard(const DictReadGuard&) = delete;
  DictReadGuard& operator=(const DictReadGuard&) = delete;

  bool holds(std::uint64_t shard) const { return held_.test(shard); }

 private:
  ThreadContext* me_;
  const DictShards& shards_;
  Offset control_at_;
  DictShardSet held_;
};

// What a shard was like before it was read.
class DictShardMoment {
 public:
  DictShardMoment() = default;
  explicit DictShardMoment(const DictShard& shard)
      : shard_(&shard),
        changes_(shard.changes.load(std::memory_order_acquire)),
        recycle_(shard.recycle.load(std::memory_order_acquire)),
        free_(shard.writing.state.load(std::memory_order_acquire) == 0) {}

  bool was_free() const { return free_; }
  Undisturbed reuse() const { return {&shard_->recycle, recycle_}; }
  // False: what was copied may be of a block that was used again.
  bool undisturbed() const { return shard_->recycle.load(std::memory_order_acquire) == recycle_; }
  bool unchanged() const { return undisturbed() && shard_->changes.load(std::memory_order_acquire) == changes_; }
  bool quiet() const { return free_ && shard_->writing.state.load(std::memory_order_acquire) == 0 && unchanged(); }

 private:
  const DictShard* shard_;  // no initial values: there are many of these, and few are used
  Word changes_, recycle_;
  bool free_;
};

// Reads the `wanted` ones of a dict's shards as they were at one moment with a `Reader`:
//   void begin();   forgets what was read
//   Status read(const DictView&, shard's index, const DictShardMoment&, std::vector<Word>* words, bool again);
// kRetry: disturbed; from read_at_one_moment(): the dict has spread. With `words` it adds each word that its result
// depends on. `again`: it does only that.
template <typename Reader>
Status read_at_one_moment(ThreadContext* me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
                          const DictShardSet& wanted, Reader& reader) {
  constexpr int kAttempts = 3, kSpins = 200;
  constexpr auto kFirstTimeout = std::chrono::milliseconds(1), kLastTimeout = std::chrono::milliseconds(100);
  const Segment& segment = *where.segment;
  std::array<DictShardMoment, kMaxShards> moments;  // of the wanted
  auto each = [&](auto&& visit) {
    for (std::uint64_t i = 0; i < shards.size(); ++i) {
      if (wanted.test(i) && !visit(i)) return false;
    }
    return true;
  };
  // Another attempt only where one is short: what takes long is disturbed again. The first does not look at the clock.
  const std::uint64_t start = ticks();
  for (int attempt = 0; attempt == 0 || (attempt < kAttempts && ticks() - start < kLookFor); ++attempt) {
    const DictView view(segment, control);
    const bool free = each([&](std::uint64_t i) {
      for (int spin = 0; looks_again(spin, kSpins); ++spin, relax()) {
        moments[i] = DictShardMoment(shards[i]);
        if (moments[i].was_free()) return true;
      }
      return false;
    });
    if (!free) break;
    reader.begin();
    Status status = Status::kOk;
    (void)each([&](std::uint64_t i) {
      status = reader.read(view, i, moments[i], nullptr, false);
      return status == Status::kOk;
    });
    if (status != Status::kRetry && each([&](std::uint64_t i) { return moments[i].quiet(); }) && view.stands()) {
      return status;
    }
  }
  std::vector<Word> first, second;
  for (auto timeout = kFirstTimeout;; timeout = std::min(timeout * 2, kLastTimeout)) {
    const bool sound = each([&](std::uint64_t i) { return DictView(segment, control).root(shards[i]) != kRootMoved; });
    if (!shards.stand()) return Status::kRetry;
    if (!sound) return Status::kCorrupt;
    const DictReadGuard guard(me, where, shards, wanted, Deadline::after(timeout), timeout == kLastTimeout);
    const DictView view(segment, control);
    reader.begin();
    first.clear();
    second.clear();
    Status status = Status::kOk;
    (void)each([&](std::uint64_t i) {
      moments[i] = DictShardMoment(shards[i]);
      return true;
    });
    (void)each([&](std::uint64_t i) {
      status = reader.read(view, i, moments[i], guard.holds(i) ? nullptr : &first, false);
      return status == Status::kOk;
    });
    (void)each([&](std::uint64_t i) {
      if (!guard.holds(i) && status == Status::kOk) status = reader.read(view, i, moments[i], &second, true);
      return status == Status::kOk;
    });
    if (status == Status::kRetry || (status == Status::kOk && first != second)) continue;
    if (each([&](std::uint64_t i) { return moments[i].unchanged(); }) && view.stands()) return status;
  }
}

}  // namespace commonhold::shm
