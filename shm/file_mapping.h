// A file mapped as a whole for reading and writing, at one address for as long as this lives.
//
// The segment's file is sparse, and most of what is mapped must never be touched: a page that is, is memory. In a
// program that has called mlockall(MCL_FUTURE) a mapping would be filled with pages at once; this one is locked page by
// page, as it is used. mlockall(MCL_CURRENT) without MCL_ONFAULT, called later, fills it all the same: nothing in
// a process can be kept from that.
//
// Thread safety: none while it is made or ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace commonhold::shm {

class FileMapping {
 public:
  // Throws SegmentError, which says what the limits of this process are where they are in the way. `path` is for people.
  FileMapping(int fd, const std::string& path);
  ~FileMapping();
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;

  std::byte* base() const { return base_; }

 private:
  void map_page_by_page(int fd);

  struct Region;  // Boost.Interprocess stays in file_mapping.cc
  std::unique_ptr<Region> region_;
  std::byte* base_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace commonhold::shm
