// A manager's folder and the files in it, each opened only as what it has to be: no symbolic link is followed, and a
// FIFO, socket or device in the place of a file is refused before it is opened.
//
// Thread safety: none; a value of whoever opens a segment.
#pragma once

#include <string>

#include "shm/segment_error.h"

namespace commonhold::shm {

// Closes its descriptor.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();
  int get() const { return fd_; }
  int release();

 private:
  int fd_;
};

class Folder {
 public:
  // Throws SegmentError, as all members do: kNotFound when there is none.
  explicit Folder(const std::string& path);

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }

  // A plain file of the folder, with O_RDWR and `flags` (O_CREAT: mode 0600). kNotFound when it is missing.
  FileDescriptor open_file(const char* name, int flags = 0) const;

  // Throws when there is something of that name which is no plain file. Opens nothing.
  void refuse_unless_plain(const char* name) const;

  // The bell. With `make` it is made where it is missing: a server may have died before it made it.
  FileDescriptor open_bell(bool make) const;
  void make_bell() const;

  // True when the folder's path and the name in it still lead to the file behind the descriptor.
  bool still_names(const char* name, int fd) const;

 private:
  [[noreturn]] void refuse(const char* name, unsigned mode, const char* expected) const;

  std::string path_;
  FileDescriptor fd_;
};

}  // namespace commonhold::shm
