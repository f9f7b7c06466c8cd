// A byte image of shared memory that a test puts back before each run.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace commonhold::test {

// Bytes [address, address + length) of this process's mapping.
struct MemoryRange {
  void* address = nullptr;
  std::size_t length = 0;
};

// Anonymous MAP_SHARED memory, zeroed, committed when touched. Unlike heap memory it costs a fork nothing
// (its page tables are not copied), and what a forked child writes there its parent sees.
class SharedBuffer {
 public:
  explicit SharedBuffer(std::size_t length);
  SharedBuffer(const SharedBuffer&) = delete;
  SharedBuffer& operator=(const SharedBuffer&) = delete;
  SharedBuffer(SharedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), length_(std::exchange(other.length_, 0)) {}
  ~SharedBuffer();

  [[nodiscard]] void* data() const { return data_; }
  [[nodiscard]] std::size_t length() const { return length_; }

 private:
  void* data_ = nullptr;
  std::size_t length_ = 0;
};

// Remembers the bytes of some ranges and puts them back. REQUIRES: the ranges are mapped, writable and
// committed (reading a hole of a tmpfs file allocates it). Nobody else writes there during save and restore.
// One thread at a time.
class SharedImage {
 public:
  // Saves at once.
  explicit SharedImage(std::vector<MemoryRange> ranges);

  // Takes the present bytes as the image.
  void save();
  // Puts the image back; writes only the pages that differ. Returns how many did.
  std::size_t restore() const;
  // Whether any byte differs from the image.
  [[nodiscard]] bool differs() const;

  [[nodiscard]] const std::vector<MemoryRange>& ranges() const { return ranges_; }

 private:
  std::vector<MemoryRange> ranges_;
  SharedBuffer saved_;
};

}  // namespace commonhold::test
