// Where a dict's shards are, as one look at its control block says.
//
// A dict that has spread since keeps its one old shard, whose root is kRootMoved for ever. So a writer who holds a
// shard's lock looks whether stand(), or sees the root that it saw before; and a reader without a lock needs no second
// look: until the dict spread nothing was elsewhere, and from then on what the old shard holds stays as it was at that
// moment, which lies within the call.
//
// SYNC POINT: dict shards: the new shards are whole before DictControl::shards names them.
#pragma once

#include "shm/dict_layout.h"
#include "shm/extents.h"
#include "shm/segment.h"

namespace commonhold::shm {

class DictShards {
 public:
  // Without shards when the control block says what makes no sense.
  DictShards(const Segment& segment, DictControl& control) : DictShards(segment, control, load(control)) {}
  // The same for one who looks often: what makes sense does so as long as the dict lives, so it is looked at once.
  // `sound`: what was; 0, which never is, at first.
  DictShards(const Segment& segment, DictControl& control, std::atomic<Word>& sound)
      : DictShards(control, load(control)) {
    first_ = segment.offset_of(&control) + shards_distance(word_);
    if (word_ != 0 && sound.load(std::memory_order_relaxed) == word_) [[likely]]
      return;
    check(segment);
    if (number_ != 0) sound.store(word_, std::memory_order_relaxed);
  }
  // Those that `word` will name.
  DictShards(const Segment& segment, DictControl& control, Word word) : DictShards(control, word) {
    first_ = segment.offset_of(&control) + shards_distance(word);
    check(segment);
  }

  std::uint64_t size() const { return number_; }
  // REQUIRES: index < size().
  DictShard& operator[](std::uint64_t index) const { return shard_of_word(*control_, word_, index); }
  std::uint64_t index_of(std::uint64_t hash) const { return hash_shard(hash, number_); }

  // Whether the dict still has these.
  bool stand() const { return load(*control_) == word_; }
  // Whether they are those that the dict was made with.
  bool in_control_block() const { return shards_distance(word_) == kDictHeaderBytes; }
  // Whether they may be replaced by more.
  bool may_spread() const { return number_ == 1; }

  // Which of the object's heaps shard `index` has. That of one shard alone is none of those of the many after it.
  std::uint32_t arena(std::uint64_t index) const {
    return number_ == 1 ? kMaxShards : static_cast<std::uint32_t>(index);
  }
  // 0: there is none.
  Offset first_table() const { return number_ == 1 ? first_ + kFirstTableAt : 0; }
  // The redo block of a batch that changes roots alone.
  Offset redo_of_roots() const { return first_ + dict_redo_at(number_); }

 private:
  DictShards(DictControl& control, Word word) : control_(&control), word_(word), number_(shards_number(word)) {}

  void check(const Segment& segment) {
    if (word_ != shards_word(kDictHeaderBytes, 1) && !lie_in_a_chunk(segment)) number_ = 0;
  }
  // In one chunk of the object that is for control blocks and the like, and beside the control block.
  bool lie_in_a_chunk(const Segment& segment) const {
    const std::uint64_t bytes = dict_shards_bytes(number_);
    const Offset control = segment.offset_of(control_);
    if (number_ == 0 || first_ % 64 != 0 || !segment.holds(first_, bytes)) return false;
    if (first_ < control + kDictHeaderBytes && first_ + bytes > control) return false;
    const ChunkOwner owner = chunk_owner(segment, first_);
    return owner.arena() == kControlArena && owner == chunk_owner(segment, first_ + bytes - 1) &&
           owner == chunk_owner(segment, control);
  }
  static Word load(const DictControl& control) { return control.shards.load(std::memory_order_acquire); }

  DictControl* control_;
  Word word_;
  std::uint64_t number_;
  Offset first_ = 0;
};

// The shard of a key for the short ways; nullptr when it is not in memory that is known to be backed.
[[gnu::always_inline]] inline DictShard* shard_at_hand(const Segment::Backed& memory, DictControl& control,
                                                       std::uint64_t hash) {
  const Word word = control.shards.load(std::memory_order_acquire);
  DictShard& shard = shard_of_word(control, word, (hash >> 8) & word & (kMaxShards - 1));
  const auto at = static_cast<Offset>(reinterpret_cast<std::byte*>(&shard) - memory.base);
  return memory.holds_unit(at + sizeof(DictShard) - 64) ? &shard : nullptr;
}

}  // namespace commonhold::shm
