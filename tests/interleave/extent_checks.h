// What the extents that are no memory, and those that are, look like to the kernel: for tests of memory that goes back
// to the system.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "shm/extents.h"

namespace commonhold::test {

// Calls visit(file offset, word) for each extent that is no memory, or for each that is.
template <typename Visit>
void each_extent(const shm::Segment& segment, bool unbacked, Visit&& visit) {
  for (std::uint64_t e = 0; e < segment.committed_extents(); ++e) {
    const shm::Word word = shm::extent_entry(segment, e).load();
    if ((shm::extent_kind(word) == shm::ExtentKind::kUnbacked) != unbacked) continue;
    visit(static_cast<off_t>(shm::extent_offset(segment, e)), word);
  }
}

// Whoever looks into an extent that is no memory makes a page of it. The first page of a large block stays, and has the
// block's header in it.
inline std::string looked_into_holes(const shm::Segment& segment) {
  std::string wrong;
  each_extent(segment, true, [&](off_t extent, shm::Word word) {
    const bool keeps_first = (word & shm::kUnannouncedFirstPage) != 0;
    const off_t end = extent + static_cast<off_t>(shm::kExtent), second = extent + static_cast<off_t>(shm::kPage);
    off_t found = lseek(segment.memory_fd(), extent, SEEK_DATA);
    if (keeps_first && found == extent) {
      const auto* words = segment.at<shm::AtomicWord>(static_cast<shm::Offset>(extent));
      const auto* words_end = words + shm::kPage / sizeof(shm::Word);
      if (std::any_of(words, words_end, [](const shm::AtomicWord& one) { return one.load() != 0; })) {
        found = lseek(segment.memory_fd(), second, SEEK_DATA);
      }
    }
    if (found < 0 || found >= end) return;
    wrong = fmt::format("at {} is no memory, and there is a page at its byte {}", extent, found - extent);
  });
  return wrong;
}

// All other extents are memory: who touches one of their pages needs none for it.
inline std::string holes_in_memory(const shm::Segment& segment) {
  const auto blocks = [&] {
    struct stat file = {};
    return fstat(segment.memory_fd(), &file) == 0 ? file.st_blocks : 0;
  };
  std::string wrong;
  each_extent(segment, false, [&](off_t extent, shm::Word) {
    const blkcnt_t before = blocks();
    for (shm::Offset page = 0; page < shm::kExtent; page += shm::kPage) {
      (void)segment.at<shm::AtomicWord>(static_cast<shm::Offset>(extent) + page)->load();
    }
    if (blocks() != before) wrong = fmt::format("at {} are holes, and it is said to be memory", extent);
  });
  return wrong;
}

// A server that died has not come so far with all of them.
inline void punch_unbacked(const shm::Segment& segment) {
  each_extent(segment, true, [&](off_t extent, shm::Word) {
    (void)fallocate(segment.memory_fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, extent,
                    static_cast<off_t>(shm::kExtent));
  });
}

}  // namespace commonhold::test
