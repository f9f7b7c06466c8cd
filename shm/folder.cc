#include "shm/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

namespace commonhold::shm {

namespace {

using Code = SegmentError::Code;

const char* kind_of_file(unsigned mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "a plain file";
    case S_IFDIR:
      return "a folder";
    case S_IFLNK:
      return "a symbolic link";
    case S_IFIFO:
      return "a FIFO";
    case S_IFSOCK:
      return "a socket";
    default:
      return "a device";
  }
}

}  // namespace

SegmentError segment_system_error(const std::string& what, const std::string& path, int error) {
  Code code = error == ENOENT                                         ? Code::kNotFound
              : error == EACCES || error == EPERM                     ? Code::kPermission
              : error == ENOSPC || error == EDQUOT || error == ENOMEM ? Code::kOutOfMemory
              : error == EEXIST                                       ? Code::kExists
                                                                      : Code::kSystem;
  return SegmentError(code, fmt::format("cannot {} {}: {}", what, path, strerror(error)));
}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this == &other) return *this;
  if (fd_ >= 0) close(fd_);
  fd_ = other.release();
  return *this;
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

int FileDescriptor::release() {
  return std::exchange(fd_, -1);
}

Folder::Folder(const std::string& path)
    : path_(path), fd_(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) {
  if (fd_.get() < 0) throw segment_system_error("open the folder", path, errno);
}

void Folder::refuse(const char* name, unsigned mode, const char* expected) const {
  throw SegmentError(Code::kSystem, fmt::format("{}/{} is {}, not {}; no program of Commonhold made it: remove it",
                                                path_, name, kind_of_file(mode), expected));
}

void Folder::refuse_unless_plain(const char* name) const {
  struct stat found {};
  if (fstatat(fd(), name, &found, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(found.st_mode)) {
    refuse(name, found.st_mode, "a plain file");
  }
}

FileDescriptor Folder::open_file(const char* name, int flags) const {
  refuse_unless_plain(name);  // opening a device can have an effect of its own
  struct stat found {};
  FileDescriptor file(openat(fd(), name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags, 0600));
  if (file.get() < 0 || fstat(file.get(), &found) != 0) {
    throw segment_system_error("open", fmt::format("{}/{}", path_, name), errno);
  }
  if (!S_ISREG(found.st_mode)) refuse(name, found.st_mode, "a plain file");
  return file;
}

void Folder::make_bell() const {
  if (mkfifoat(fd(), "bell", 0600) == 0 || errno == EEXIST) return;
  throw segment_system_error("make the bell", path_ + "/bell", errno);
}

FileDescriptor Folder::open_bell(bool make) const {
  if (make) make_bell();
  struct stat found {};
  if (fstatat(fd(), "bell", &found, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISFIFO(found.st_mode)) {
    refuse("bell", found.st_mode, "a FIFO");
  }
  // Read and write: opening never waits for a peer, and writing never meets a closed end.
  FileDescriptor bell(openat(fd(), "bell", O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (bell.get() < 0 || fstat(bell.get(), &found) != 0) throw segment_system_error("open", path_ + "/bell", errno);
  if (!S_ISFIFO(found.st_mode)) refuse("bell", found.st_mode, "a FIFO");
  return bell;
}

bool Folder::still_names(const char* name, int fd) const {
  struct stat by_path {
  }, by_fd{};
  return stat(fmt::format("{}/{}", path_, name).c_str(), &by_path) == 0 && fstat(fd, &by_fd) == 0 &&
         by_path.st_dev == by_fd.st_dev && by_path.st_ino == by_fd.st_ino;
}

}  // namespace commonhold::shm
