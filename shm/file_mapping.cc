#include "shm/file_mapping.h"

#include <errno.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <boost/interprocess/mapped_region.hpp>
#include <fstream>

#include "shm/layout.h"
#include "shm/lost_file.h"
#include "shm/printable.h"
#include "shm/segment_error.h"

namespace commonhold::shm {

namespace {

// The open file as Boost maps it: by its descriptor, so that nothing else can have its name by now.
struct OpenFile {
  int fd;
  boost::interprocess::mapping_handle_t get_mapping_handle() const {
    return boost::interprocess::ipcdetail::mapping_handle_from_file_handle(fd);
  }
};

std::string in_mib(std::uint64_t bytes) {
  return fmt::format("{} MiB", bytes >> 20);
}

SegmentError cannot_map(const std::string& path, std::uint64_t bytes, int error) {
  const SegmentError failure = segment_system_error("map", path, error);
  struct rlimit limit {};
  if (error == ENOMEM && getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    return SegmentError(
        failure.code(),
        fmt::format("{}: it takes {} of address space, and this process may have {} in all (ulimit -v); "
                    "raise that, or start the manager with a smaller memory_limit (64 MiB take some 580)",
                    failure.what(), in_mib(bytes), in_mib(limit.rlim_cur)));
  }
  if (error == EAGAIN && getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    return SegmentError(
        failure.code(),
        fmt::format("{}: this process locks its memory (mlockall), may lock {} (ulimit -l), and the "
                    "mapping counts as {}; raise that, or start the manager with a smaller memory_limit",
                    failure.what(), in_mib(limit.rlim_cur), in_mib(bytes)));
  }
  return failure;
}

std::uint64_t locked_kib() {
  std::ifstream status("/proc/self/status");
  std::string word;
  for (std::uint64_t kib = 0; status >> word;) {
    if (word == "VmLck:" && status >> kib) return kib;
  }
  return 0;
}

// Whether mlockall(MCL_FUTURE) is in force: then a mapping that nothing can touch counts as locked too.
bool locks_future_memory() {
  void* probe = mmap(nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (probe == MAP_FAILED) return false;
  const bool locked = locked_kib() != 0;
  munmap(probe, kPage);
  return locked;
}

}  // namespace

struct FileMapping::Region {
  boost::interprocess::mapped_region region;
};

FileMapping::FileMapping(int fd, const std::string& path) {
  struct stat status {};
  if (fstat(fd, &status) != 0) throw segment_system_error("look at", path, errno);
  bytes_ = static_cast<std::size_t>(status.st_size);
  try {
    if (locks_future_memory()) {
      map_page_by_page(fd);
    } else {
      region_ = std::make_unique<Region>(
          Region{boost::interprocess::mapped_region(OpenFile{fd}, boost::interprocess::read_write, 0, bytes_)});
      base_ = static_cast<std::byte*>(region_->region.get_address());
    }
  } catch (const boost::interprocess::interprocess_exception& failure) {
    throw cannot_map(path, bytes_, failure.get_native_error());
  }
  madvise(base_, bytes_, MADV_DONTDUMP);
  watch_mapping(base_, bytes_, printable(path));
}

// Without access at first, so that the kernel has nothing to fill; and unlocked before there is access.
void FileMapping::map_page_by_page(int fd) {
  void* at = mmap(nullptr, bytes_, PROT_NONE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) throw boost::interprocess::interprocess_exception(boost::interprocess::system_error_code());
  if (munlock(at, bytes_) != 0 || mprotect(at, bytes_, PROT_READ | PROT_WRITE) != 0) {
    const int error = errno;
    munmap(at, bytes_);
    errno = error;
    throw boost::interprocess::interprocess_exception(boost::interprocess::system_error_code());
  }
  (void)mlock2(at, bytes_, MLOCK_ONFAULT);  // where the limit does not allow it, pages are not locked
  base_ = static_cast<std::byte*>(at);
}

FileMapping::~FileMapping() {
  unwatch_mapping(base_);
  if (region_ == nullptr && base_ != nullptr) munmap(base_, bytes_);
}

}  // namespace commonhold::shm
