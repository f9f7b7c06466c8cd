#include "shm/dict_view.h"

#include "shm/lock_word.h"
#include "shm/redo.h"

namespace commonhold::shm {

DictView::DictView(const Segment& segment, const DictControl& control)
    : segment_(segment), control_(control), batch_(control.batch.load(std::memory_order_acquire)) {
  if ((batch_ & 1) == 0) [[likely]]
    return;
  const Offset redo = control.batch_redo.load(std::memory_order_acquire);
  const Word slots = control.batch_slots.load(std::memory_order_acquire);
  if (redo % 16 != 0 || !segment.holds(redo, redo_block_bytes(0))) return;  // damaged, or over: then it does not stand
  const Word entries = load_word(segment.at<Word>(redo));
  if (entries > Word{1} << 32 || slots >= entries || !segment.holds(redo, redo_block_bytes(entries))) return;
  list_ = redo + redo_block_bytes(0);
  slots_ = slots;
  end_ = entries - 1;  // the last one ends the batch
}

const AtomicWord& DictView::listed_word(const AtomicWord& word) const {
  const Offset wanted = segment_.offset_of(&word);
  auto entry = [this](std::uint64_t index) { return segment_.at<AtomicWord>(list_ + index * sizeof(RedoEntry)); };
  const std::uint64_t runs[] = {1, std::min(1 + slots_, end_), end_};
  for (int run = 0; run < 2; ++run) {
    std::uint64_t from = runs[run], to = runs[run + 1];
    while (from < to) {
      const std::uint64_t middle = from + (to - from) / 2;
      const Offset at = entry(middle)->load(std::memory_order_acquire);
      if (at == wanted) return entry(middle)[1];
      (at < wanted ? from : to) = at < wanted ? middle + 1 : middle;
    }
  }
  return word;
}

Status DictView::find(const DictShard& shard, const DictKey& key, DictPlace& place) const {
  place.root = root(shard);
  if (place.root == 0) return Status::kNotFound;
  if (place.root == kRootMoved) return Status::kRetry;
  if (list_ == 0) return find_in_table_under(segment_, key, place);
  return find_under(segment_, place.root, key, place,
                    [this](const AtomicWord& slot) -> const AtomicWord& { return word(slot); });
}

const std::byte* DictView::value(const std::byte* entry, const EntryHeader& header) const {
  const std::byte* value = entry + header.value_at();
  if (list_ == 0 || !is_scalar(header.value_kind()) || header.value_size() != sizeof(Word)) return value;
  return reinterpret_cast<const std::byte*>(&word(*reinterpret_cast<const AtomicWord*>(value)));
}

void commit_batch(ThreadContext& me, DictControl& control, Offset redo, std::span<const RedoEntry> slots,
                  std::span<const DictShardOutcome> shards) noexcept {
  Segment& segment = me.segment();
  (void)lock_announced(me, control.committing);
  const Offset batch_at = segment.offset_of(&control.batch);
  const Word committed = control.batch.load(std::memory_order_relaxed) | 1;
  std::uint64_t entries = 0;
  auto add = [&](RedoEntry entry) { write_redo_entry(segment, redo, entries++, entry); };
  add({batch_at, committed});
  for (const RedoEntry& slot : slots) add(slot);
  for (const DictShardOutcome& outcome : shards) {
    add({segment.offset_of(&outcome.shard->count), outcome.count});
    add({segment.offset_of(&outcome.shard->root), outcome.root});
  }
  add({batch_at, committed + 1});
  write_redo_count(segment, redo, entries);
  control.batch_redo.store(redo, std::memory_order_release);
  control.batch_slots.store(slots.size(), std::memory_order_release);
  for (const DictShardOutcome& outcome : shards) {
    outcome.shard->hidden_root.store(outcome.shard->root.load(std::memory_order_relaxed), std::memory_order_release);
    outcome.shard->root.store(kRootHidden, std::memory_order_release);
  }
  commit_redo(me, redo);
  (void)apply_redo(segment, redo);
  end_redo(me);
  unlock_announced(control.committing);
}

void show_hidden_root(DictShard& shard) {
  if (shard.root.load(std::memory_order_relaxed) == kRootHidden) {
    shard.root.store(shard.hidden_root.load(std::memory_order_relaxed), std::memory_order_release);
  }
}

void end_batch_of_dead(DictControl& control) {
  const Word batch = control.batch.load(std::memory_order_relaxed);
  if ((batch & 1) != 0) control.batch.store(batch + 1, std::memory_order_release);
}

}  // namespace commonhold::shm
