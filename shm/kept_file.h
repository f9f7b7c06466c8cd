// Descriptors that are kept for long. A program may close all descriptors that it does not know, as daemons do, and open
// files of its own that get the same numbers: so a kept number is compared with the file that it stood for (device and
// inode) before it is used or closed.
//
// What this cannot see is a close between the comparison and the use, and one object without a name (an eventfd, a
// pidfd) in the place of another.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

namespace commonhold::shm {

// Which file a descriptor stands for.
struct FileIdentity {
  std::uint64_t device = 0, inode = 0;

  static FileIdentity of(int fd);  // zeros for what is not open
  bool is(int fd) const;
};

// Closes it unless it stands for another file by now.
void close_kept(int fd, const FileIdentity& identity);

// A file of a folder, opened again when its descriptor was closed behind our back.
//
// Thread safety: get() from any thread, and in a forked child.
class KeptFile {
 public:
  KeptFile() = default;
  ~KeptFile() { close(); }
  KeptFile(const KeptFile&) = delete;
  KeptFile& operator=(const KeptFile&) = delete;

  // Keeps an open descriptor of the file at `path`, which is opened with `flags` if need be. Called once.
  void keep(int fd, std::string path, int flags);
  // A descriptor of the file, or -1: it was closed, and cannot be opened again. `renewed`, if given, becomes true when
  // it was opened anew: what was tied to the former descriptor (locks) is lost.
  int get(bool* renewed = nullptr) const;
  const FileIdentity& identity() const { return identity_; }
  // REQUIRES: nobody uses it any more.
  void close() { close_kept(fd_.exchange(-1, std::memory_order_relaxed), identity_); }

 private:
  int renew(int closed, bool* renewed) const;

  std::string path_;
  int flags_ = 0;
  FileIdentity identity_;
  mutable std::atomic<int> fd_{-1};
};

}  // namespace commonhold::shm
