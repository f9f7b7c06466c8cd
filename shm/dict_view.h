// What readers without locks see of a dict while a batch (put_many, clear, assign) is being committed.
//
// A batch is prepared where nobody looks; then its writer hides the roots of the shards that it changes (kRootHidden),
// commits the list of all its stores (redo.h), whose first store makes DictControl::batch odd, applies them, which
// shows the roots again, and ends with the store that makes `batch` even. So a reader of one key who finds its root
// there is not concerned; and everybody else takes from `batch` which of the two states holds: even, all words are as
// they were before; odd, each word that the list names is what the list says, stored already or not. A writer that
// stops or dies anywhere in between holds nobody up.
//
// INVARIANT: the redo block is whole and sorted before `batch` becomes odd, and is not used again before it is even.
// SYNC POINT: dict batch: released with `batch`; readers load it first, and again after all that they read.
#pragma once

#include "shm/dict_table.h"

namespace commonhold::shm {

struct RedoEntry;
class ThreadContext;

class DictView {
 public:
  DictView(const Segment& segment, const DictControl& control);

  // True while what was read through this view since it was made was one state of the dict, as far as batches go.
  bool stands() const { return control_.batch.load(std::memory_order_acquire) == batch_; }

  // Whether a batch is committed and may not be applied yet.
  bool in_batch() const { return (batch_ & 1) != 0; }
  // The word in force: itself, or the one in the list of a committed batch. Only words that batches change.
  const AtomicWord& word(const AtomicWord& word) const { return list_ == 0 ? word : listed_word(word); }
  Word root(const DictShard& shard) const {
    const Word root = word(shard.root).load(std::memory_order_acquire);
    return root != kRootHidden ? root : shard.hidden_root.load(std::memory_order_acquire);
  }
  Word count(const DictShard& shard) const { return word(shard.count).load(std::memory_order_acquire); }

  // find_in_table() in this view; kRetry: the dict has spread. For kNotFound the caller sees to it that nobody
  // rearranged the table meanwhile.
  Status find(const DictShard& shard, const DictKey& key, DictPlace& place) const;
  // Where the value of an entry is: of a scalar it may be in the list.
  const std::byte* value(const std::byte* entry, const EntryHeader& header) const;

 private:
  const AtomicWord& listed_word(const AtomicWord& word) const;

  const Segment& segment_;
  const DictControl& control_;
  const Word batch_;
  Offset list_ = 0;          // of its first entry; 0: no batch is committed
  std::uint64_t slots_ = 0;  // entries [1, 1 + slots_) and [1 + slots_, end_) rise by address each
  std::uint64_t end_ = 0;
};

// What a batch makes of a shard.
struct DictShardOutcome {
  DictShard* shard;
  Word root;
  Word count;  // as DictShard::count
};

// Commits a batch. `redo` is a block for batch_redo_entries(slots, shards); `slots` is sorted by address, `shards` by
// index. REQUIRES: the locks of all these shards are held, and the dict is announced as a whole.
void commit_batch(ThreadContext& me, DictControl& control, Offset redo, std::span<const RedoEntry> slots,
                  std::span<const DictShardOutcome> shards) noexcept;

// After the death of a batch's writer, of whom a redo record was applied if it had got so far: what is left of a batch
// that was not committed. REQUIRES: the dead one's lock of the shard; its lock `committing`.
void show_hidden_root(DictShard& shard);
void end_batch_of_dead(DictControl& control);

}  // namespace commonhold::shm
