#include "shm/kept_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace commonhold::shm {

namespace {

FileIdentity identity_in(const struct stat& status) {
  return {static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino)};
}

bool same(const FileIdentity& a, const FileIdentity& b) {
  return a.device == b.device && a.inode == b.inode && b.inode != 0;
}

}  // namespace

FileIdentity FileIdentity::of(int fd) {
  struct stat status {};
  return fd >= 0 && fstat(fd, &status) == 0 ? identity_in(status) : FileIdentity{};
}

bool FileIdentity::is(int fd) const {
  return same(*this, of(fd));
}

void close_kept(int fd, const FileIdentity& identity) {
  if (identity.is(fd)) close(fd);
}

void KeptFile::keep(int fd, std::string path, int flags) {
  path_ = std::move(path);
  flags_ = flags;
  identity_ = FileIdentity::of(fd);
  fd_.store(fd, std::memory_order_release);
}

int KeptFile::get(bool* renewed) const {
  const int fd = fd_.load(std::memory_order_acquire);
  return identity_.is(fd) ? fd : renew(fd, renewed);
}

// Never closes a descriptor: of a lock file that would give up every lock that this process has on it. So one that
// another thread opens at the same time, which is rare, stays open.
int KeptFile::renew(int closed, bool* renewed) const {
  struct stat status {};
  if (lstat(path_.c_str(), &status) != 0 || !same(identity_, identity_in(status))) return -1;
  const int fd = open(path_.c_str(), flags_ | O_CLOEXEC | O_NOFOLLOW);
  if (!identity_.is(fd)) return -1;
  if (!fd_.compare_exchange_strong(closed, fd)) return closed;
  if (renewed != nullptr) *renewed = true;
  return fd;
}

}  // namespace commonhold::shm
