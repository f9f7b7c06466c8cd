// The memory file of a manager that no process uses, put back before each run of a test and damaged word by word while
// the run lasts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "support/shared_image.h"

namespace commonhold::test {

using Random = std::mt19937_64;

class SegmentDamage {
 public:
  // Takes the file's present bytes as the image. REQUIRES: no process uses it.
  explicit SegmentDamage(const std::string& segment_file);
  ~SegmentDamage();
  SegmentDamage(const SegmentDamage&) = delete;
  SegmentDamage& operator=(const SegmentDamage&) = delete;

  // Puts the image back and gives back what was committed since. REQUIRES: no process uses the file.
  void restore();

  // Overwrites one word with garbage of some kind; what it did in words.
  std::string spoil(Random& random);

  // Bytes of memory behind the file, now and in the image.
  std::uint64_t backed_bytes() const;
  std::uint64_t backed_in_image() const { return backed_in_image_; }

 private:
  struct Area {
    std::string name;
    std::uint64_t at, bytes;
  };
  // Memory files have holes between these.
  std::vector<MemoryRange> backed() const;
  std::vector<Area> areas() const;
  std::uint64_t word_in(const Area& area, Random& random) const;

  int fd_ = -1;
  std::size_t bytes_ = 0;
  std::byte* base_ = nullptr;
  std::vector<Area> areas_;
  SharedImage image_;
  std::uint64_t data_at_ = 0, data_end_ = 0, backed_in_image_ = 0;
};

}  // namespace commonhold::test
