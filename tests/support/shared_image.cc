#include "support/shared_image.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace commonhold::test {
namespace {

constexpr std::size_t kPage = 4096;

std::size_t total_length(const std::vector<MemoryRange>& ranges) {
  std::size_t total = 0;
  for (const MemoryRange& range : ranges) total += range.length;
  return total;
}

// Calls each(live, saved, length) page by page until it returns false.
template <typename Each>
void for_each_page(const std::vector<MemoryRange>& ranges, const SharedBuffer& saved, Each each) {
  char* copy = static_cast<char*>(saved.data());
  for (const MemoryRange& range : ranges) {
    char* live = static_cast<char*>(range.address);
    for (std::size_t at = 0; at < range.length; at += kPage) {
      if (!each(live + at, copy + at, std::min(kPage, range.length - at))) return;
    }
    copy += range.length;
  }
}

}  // namespace

SharedBuffer::SharedBuffer(std::size_t length) : length_(length) {
  if (length == 0) return;
  void* mapped = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    throw std::system_error(errno, std::generic_category(), "mmap of " + std::to_string(length) + " bytes");
  }
  data_ = mapped;
}

SharedBuffer::~SharedBuffer() {
  if (data_ != nullptr) ::munmap(data_, length_);
}

SharedImage::SharedImage(std::vector<MemoryRange> ranges) : ranges_(std::move(ranges)), saved_(total_length(ranges_)) {
  save();
}

void SharedImage::save() {
  for_each_page(ranges_, saved_, [](char* live, char* copy, std::size_t length) {
    std::memcpy(copy, live, length);
    return true;
  });
}

std::size_t SharedImage::restore() const {
  std::size_t pages = 0;
  for_each_page(ranges_, saved_, [&](char* live, char* copy, std::size_t length) {
    if (std::memcmp(live, copy, length) != 0) {
      std::memcpy(live, copy, length);
      ++pages;
    }
    return true;
  });
  return pages;
}

bool SharedImage::differs() const {
  bool different = false;
  for_each_page(ranges_, saved_, [&](char* live, char* copy, std::size_t length) {
    different = std::memcmp(live, copy, length) != 0;
    return !different;
  });
  return different;
}

}  // namespace commonhold::test
