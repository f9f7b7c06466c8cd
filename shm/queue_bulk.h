// What a bulk take copies out of a queue, in private memory that is allocated outside of the queue's lock.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "shm/item.h"
#include "shm/status.h"
#include "shm/words.h"

namespace commonhold::shm {

// Items of any size, one behind the other. A take first says what it needs (need); kRetry: the caller gives its lock
// back, calls make_room() and tries again.
class CopiedItems {
 public:
  std::uint64_t count() const { return count_; }
  ItemKind kind(std::uint64_t index) const { return kinds_[index]; }
  std::uint64_t size(std::uint64_t index) const { return sizes_[index]; }
  std::string bytes(std::uint64_t index) const { return std::string(bytes_.data() + starts_[index], sizes_[index]); }
  const std::byte* data(std::uint64_t index) const {
    return reinterpret_cast<const std::byte*>(bytes_.data()) + starts_[index];
  }

  // For the take, under the lock: allocates nothing.
  Status need(std::uint64_t count, std::uint64_t bytes) {
    count_ = used_ = 0;
    needed_count_ = count;
    needed_bytes_ = bytes;
    return count <= sizes_.size() && bytes <= bytes_.size() ? Status::kOk : Status::kRetry;
  }
  // REQUIRES: need() said kOk to as many.
  void add(ItemKind kind, const std::byte* shared, std::uint64_t size) {
    if (count_ == sizes_.size() || size > bytes_.size() - used_) return;  // its header changed since need()
    read_words(bytes_.data() + used_, shared, size);
    kinds_[count_] = kind;
    sizes_[count_] = size;
    starts_[count_++] = used_;
    used_ += size;
  }

  void clear() { count_ = needed_count_ = needed_bytes_ = 0; }
  // Outside of the lock, before the first attempt and after kRetry.
  void make_room() {
    bytes_.resize(std::max<std::uint64_t>({needed_bytes_, bytes_.size(), 4096}));
    const auto count = std::max<std::uint64_t>({needed_count_, sizes_.size(), 64});
    sizes_.resize(count);
    starts_.resize(count);
    kinds_.resize(count);
    numbers.resize(count);
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

}  // namespace commonhold::shm
