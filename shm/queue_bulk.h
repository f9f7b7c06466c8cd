// What a bulk take copies out of a queue, in private memory that is allocated outside of the queue's lock and before
// the items are taken: a take that finds no memory takes nothing.
//
// Under the lock a take says begin(), need() for each item, and ready(). kRetry: the caller gives its lock back, calls
// make_room() and tries again. kOk: it calls add() for each item.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "shm/item.h"
#include "shm/status.h"
#include "shm/words.h"

namespace commonhold::shm {

// Items of any size, one behind the other.
class CopiedItems {
 public:
  std::uint64_t count() const { return count_; }
  ItemKind kind(std::uint64_t index) const { return kinds_[index]; }
  std::uint64_t size(std::uint64_t index) const { return sizes_[index]; }
  std::string bytes(std::uint64_t index) const { return std::string(bytes_.data() + starts_[index], sizes_[index]); }
  const std::byte* data(std::uint64_t index) const {
    return reinterpret_cast<const std::byte*>(bytes_.data()) + starts_[index];
  }

  // Under the lock; nothing allocates.
  void begin() { count_ = used_ = needed_count_ = needed_bytes_ = 0; }
  void need(std::uint64_t size) {
    ++needed_count_;
    needed_bytes_ += size;
  }
  Status ready() const {
    return needed_count_ <= sizes_.size() && needed_bytes_ <= bytes_.size() ? Status::kOk : Status::kRetry;
  }
  // REQUIRES: ready() said kOk to as many.
  void add(ItemKind kind, const std::byte* shared, std::uint64_t size) {
    if (count_ == sizes_.size() || size > bytes_.size() - used_) return;  // its header changed since need()
    read_words(bytes_.data() + used_, shared, size);
    kinds_[count_] = kind;
    sizes_[count_] = size;
    starts_[count_++] = used_;
    used_ += size;
  }

  void clear() { begin(); }
  // Outside of the lock, before the first attempt and after kRetry; how many of `most` the next attempt asks for.
  std::uint64_t make_room(std::uint64_t most) {
    bytes_.resize(std::max<std::uint64_t>({needed_bytes_, bytes_.size(), 4096}));
    const auto count = std::max<std::uint64_t>({needed_count_, sizes_.size(), 64});
    sizes_.resize(count);
    starts_.resize(count);
    kinds_.resize(count);
    numbers.resize(count);
    return most;
  }

  // By what the items are known again: in a ring the first number says how many were taken before them; else each item
  // has its own. As many as there is room for.
  std::vector<Word> numbers;

 private:
  std::string bytes_;
  std::vector<std::uint64_t> sizes_, starts_;
  std::vector<ItemKind> kinds_;
  std::uint64_t count_ = 0, used_ = 0, needed_count_ = 0, needed_bytes_ = 0;
};

// Each item as a string of its own, which is what the caller is given.
class TakenTexts {
 public:
  // `expected`: how many there may be. A wrong guess costs an attempt.
  explicit TakenTexts(std::uint64_t expected)
      : needed_(std::min(std::max<std::uint64_t>(expected, 16), kMostExpected)) {}

  std::uint64_t count() const { return count_; }

  // Under the lock; nothing allocates.
  void begin() {
    count_ = needed_ = 0;
    fits_ = true;
  }
  void need(std::uint64_t size) {
    if (needed_ < sizes_.size()) sizes_[needed_] = size;
    fits_ = fits_ && needed_ < texts_.size() && size <= texts_[needed_].capacity();
    ++needed_;
  }
  Status ready() const { return fits_ ? Status::kOk : Status::kRetry; }
  // REQUIRES: ready() said kOk to as many.
  void add(ItemKind, const std::byte* shared, std::uint64_t size) {
    if (count_ == texts_.size() || size > texts_[count_].capacity()) return;  // its header changed since need()
    texts_[count_].resize(size);
    read_words(texts_[count_++].data(), shared, size);
  }

  // As CopiedItems'. While others change the queue between the attempts the sizes are of other items each time: then it
  // asks for fewer.
  std::uint64_t make_room(std::uint64_t most) {
    constexpr int kTries = 4;
    const std::uint64_t known = std::min<std::uint64_t>(needed_, sizes_.size());
    if (!fits_ && ++tries_ > kTries) most = std::max<std::uint64_t>(std::min(most, needed_) / 2, 1);
    const std::uint64_t room = std::max<std::uint64_t>(std::min(most, needed_), texts_.size());
    for (std::uint64_t i = 0; i < std::min(most, known); ++i) texts_[i].reserve(sizes_[i]);
    texts_.resize(room);
    sizes_.resize(room);
    return most;
  }

  // The items of the take; allocates nothing.
  std::vector<std::string> release() {
    texts_.resize(count_);
    return std::move(texts_);
  }

 private:
  static constexpr std::uint64_t kMostExpected = 1 << 16;
  std::vector<std::string> texts_;
  std::vector<std::uint64_t> sizes_;  // of the items that the last attempt met, as many as there is room for
  std::uint64_t count_ = 0, needed_;
  bool fits_ = true;
  int tries_ = 0;
};

}  // namespace commonhold::shm
