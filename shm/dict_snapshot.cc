// What is read of several keys or shards at one moment: all entries, some keys, the number of entries.
#include <algorithm>

#include "shm/dict.h"
#include "shm/dict_moment.h"
#include "shm/large_read.h"

namespace commonhold::shm {

namespace {

// Whether what was read is of no block that was used again: an entry's, or the batch's list, which `view` looks into.
bool undisturbed(const DictView& view, const DictShardMoment& moment) {
  return moment.undisturbed() && view.stands();
}

// Calls visit(slot's word) for each entry's slot in the shard; a half-done split shows each entry once.
template <typename Visit>
Status each_slot(const Segment& segment, const DictView& view, const DictShard& shard, const DictShardMoment& moment,
                 std::vector<Word>* words, Visit&& visit) {
  const Word root = view.root(shard);
  if (root == kRootMoved) return Status::kRetry;
  if (words != nullptr) words->push_back(root);
  const auto* directory = holds_directory(segment, root) ? segment.at<AtomicWord>(root_offset(root)) : nullptr;
  Status status = Status::kOk;
  const bool whole = each_table_under(
      segment, root, [&](Offset table, std::uint32_t buckets, std::uint64_t first, std::uint32_t local) {
        if (!moment.undisturbed()) {  // before the table is followed: it may be a word of something else
          status = Status::kRetry;
          return;
        }
        if (words != nullptr) words->insert(words->end(), {table | local, first});
        const auto* slots = segment.at<AtomicWord>(table);
        for (std::uint32_t i = 0; i < buckets * kSlotsPerBucket && status == Status::kOk; ++i) {
          const Word slot = view.word(slots[i]).load(std::memory_order_acquire);
          if (slot_entry(slot) == 0) continue;
          // In the middle of a split the old table still holds what is in the new one.
          if (directory != nullptr && entry_table(directory[directory_index(slot_tag(slot), root_depth(root))].load(
                                          std::memory_order_acquire)) != table) {
            continue;
          }
          if (words != nullptr) words->push_back(slot);
          status = visit(slot);
        }
      });
  if (!moment.undisturbed()) return Status::kRetry;
  return whole ? status : Status::kCorrupt;
}

class EntryReader {
 public:
  EntryReader(const Segment& segment, const DictShards& shards, std::vector<DictEntryCopy>& entries)
      : segment_(segment), shards_(shards), entries_(entries) {}

  void begin() { entries_.clear(); }
  Status read(const DictView& view, std::uint64_t index, const DictShardMoment& moment, std::vector<Word>* words,
              bool again) {
    return each_slot(segment_, view, shards_[index], moment, words, [&](Word slot) {
      const Offset at = slot_entry(slot);
      const std::byte* entry = segment_.at<std::byte>(at);
      if (!undisturbed(view, moment)) return Status::kRetry;  // the slot may be a word of something else
      if (!segment_.holds(at, sizeof(EntryHeader))) return Status::kCorrupt;
      const EntryHeader header = load_entry(entry);
      if (!undisturbed(view, moment)) return Status::kRetry;  // the sizes may be anything
      if (!segment_.holds(at, header.bytes())) return Status::kCorrupt;
      const std::byte* value = view.value(entry, header);
      if (words != nullptr && is_scalar(header.value_kind())) words->push_back(load_word(value));
      if (!again) copy_entry(entry, header, value, entries_.emplace_back());
      return Status::kOk;
    });
  }

 private:
  const Segment& segment_;
  const DictShards& shards_;
  std::vector<DictEntryCopy>& entries_;
};

class KeyReader {
 public:
  struct Wanted {
    DictKey key;
    std::size_t index;  // in the results
    std::uint64_t shard;
  };
  KeyReader(const Segment& segment, const DictShards& shards, std::vector<Wanted> wanted,
            std::vector<std::string>& values, std::vector<bool>& found, std::vector<ItemKind>* kinds)
      : segment_(segment), shards_(shards), wanted_(std::move(wanted)), values_(values), found_(found), kinds_(kinds) {
    std::sort(wanted_.begin(), wanted_.end(), [](auto& a, auto& b) { return a.shard < b.shard; });
  }

  DictShardSet shards() const {
    DictShardSet shards;
    for (const Wanted& wanted : wanted_) shards.set(wanted.shard);
    return shards;
  }
  void begin() {
    values_.assign(wanted_.size(), {});
    found_.assign(wanted_.size(), false);
    if (kinds_ != nullptr) kinds_->assign(wanted_.size(), ItemKind::kNull);
  }
  Status read(const DictView& view, std::uint64_t index, const DictShardMoment& moment, std::vector<Word>* words,
              bool again) {
    const DictShard& shard = shards_[index];
    auto from = std::partition_point(wanted_.begin(), wanted_.end(), [&](auto& w) { return w.shard < index; });
    for (; from != wanted_.end() && from->shard == index; ++from) {
      DictPlace place{.undisturbed = moment.reuse()};
      const Status status = view.find(shard, from->key, place);
      if (!undisturbed(view, moment)) return Status::kRetry;  // the sizes may be anything
      if (status == Status::kCorrupt || status == Status::kRetry) return status;
      if (words != nullptr) words->insert(words->end(), {place.root, place.directory_entry, place.slot_value});
      if (status != Status::kOk) continue;
      const std::byte* value = view.value(place.entry, place.header);
      if (words != nullptr && is_scalar(place.header.value_kind())) words->push_back(load_word(value));
      if (again) continue;
      std::string& copy = values_[from->index];
      copy.resize(place.header.value_size());
      read_words(copy.data(), value, copy.size());
      found_[from->index] = true;
      if (kinds_ != nullptr) (*kinds_)[from->index] = place.header.value_kind();
    }
    return moment.undisturbed() ? Status::kOk : Status::kRetry;
  }

 private:
  const Segment& segment_;
  const DictShards& shards_;
  std::vector<Wanted> wanted_;
  std::vector<std::string>& values_;
  std::vector<bool>& found_;
  std::vector<ItemKind>* kinds_;
};

class Counter {
 public:
  Counter(const Segment& segment, const DictShards& shards) : segment_(segment), shards_(shards) {}

  void begin() { entries_ = 0; }
  Status read(const DictView& view, std::uint64_t index, const DictShardMoment& moment, std::vector<Word>* words,
              bool again) {
    const DictShard& shard = shards_[index];
    const Word count = view.count(shard);
    if (shard.root.load(std::memory_order_acquire) == kRootMoved) return Status::kRetry;
    if (words != nullptr) words->push_back(count);
    // Without `words` nobody holds the shard but this reader.
    if (words == nullptr || (count & kCountChanging) == 0) {
      if (!again) entries_ += count & kCountMask;
      return Status::kOk;
    }
    // Its holder stopped between the store of a slot and that of the count.
    return each_slot(segment_, view, shard, moment, words, [&](Word) {
      if (!again) ++entries_;
      return Status::kOk;
    });
  }
  std::uint64_t entries() const { return entries_; }

 private:
  const Segment& segment_;
  const DictShards& shards_;
  std::uint64_t entries_ = 0;
};

DictShardSet all_of(const DictShards& shards) {
  DictShardSet set;
  for (std::uint64_t i = 0; i < shards.size(); ++i) set.set(i);
  return set;
}

}  // namespace

Status Dict::snapshot(ThreadContext& me, std::vector<DictEntryCopy>& entries) const {
  const LargeRead announced(*segment_);
  const Status status = on_shards_that_stand([&] {
    const DictShards shards = look_at_shards();
    if (shards.size() == 0) return Status::kCorrupt;
    EntryReader reader(*segment_, shards, entries);
    return read_at_one_moment(&me, where_, *control_, shards, all_of(shards), reader);
  });
  if (status != Status::kOk) return status;
  std::sort(entries.begin(), entries.end(), [](auto& a, auto& b) { return a.sequence < b.sequence; });
  return Status::kOk;
}

Status Dict::get_many(ThreadContext& me, std::span<const Item> keys, std::vector<std::string>& values,
                      std::vector<bool>& found, std::vector<ItemKind>* kinds) const {
  const LargeRead announced(*segment_);
  return on_shards_that_stand([&] {
    const DictShards shards = look_at_shards();
    if (shards.size() == 0) return Status::kCorrupt;
    std::vector<KeyReader::Wanted> wanted;
    wanted.reserve(keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const std::uint64_t hash = hash_key(keys[i], control_->seed);
      wanted.push_back({{&keys[i], hash}, i, shards.index_of(hash)});
    }
    KeyReader reader(*segment_, shards, std::move(wanted), values, found, kinds);
    return read_at_one_moment(&me, where_, *control_, shards, reader.shards(), reader);
  });
}

bool Dict::has_shards() const {
  return look_at_shards().size() != 0;
}

std::uint64_t Dict::size() const {
  // Two equal collections in a row are the counts at the moment between them: each change of a count changes its upper
  // bits.
  constexpr int kAttempts = 32;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const DictShards shards = look_at_shards();
    const DictView view(*segment_, *control_);
    if (view.in_batch()) break;
    Word first[kMaxShards], sum = 0, changing = 0;
    for (std::uint64_t i = 0; i < shards.size(); ++i) {
      first[i] = shards[i].count.load(std::memory_order_acquire);
      sum += first[i] & kCountMask;
      changing |= first[i] & kCountChanging;
    }
    bool same = changing == 0;
    for (std::uint64_t i = 0; i < shards.size() && same; ++i) {
      same = shards[i].count.load(std::memory_order_acquire) == first[i];
    }
    if (same && view.stands() && shards.stand()) return sum;
    relax();
  }
  std::uint64_t entries = 0;
  (void)on_shards_that_stand([&] {
    const DictShards shards = look_at_shards();
    Counter counter(*segment_, shards);
    const Status status = read_at_one_moment(segment_->here(), where_, *control_, shards, all_of(shards), counter);
    entries = counter.entries();
    return status;
  });
  return entries;
}

}  // namespace commonhold::shm
