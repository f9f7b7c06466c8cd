#include "shm/lock_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

namespace commonhold::shm {

namespace {

bool control(int fd, int command, short type, std::uint64_t byte, struct flock& request, std::uint64_t count = 1) {
  request = {};
  request.l_type = type;
  request.l_whence = SEEK_SET;
  request.l_start = static_cast<off_t>(byte);
  request.l_len = static_cast<off_t>(count);
  int result;
  do {
    result = fcntl(fd, command, &request);
  } while (result != 0 && errno == EINTR);
  return result == 0;
}

}  // namespace

bool try_lock_byte(int fd, std::uint64_t byte) {
  struct flock request;
  return control(fd, F_SETLK, F_WRLCK, byte, request);
}

void unlock_byte(int fd, std::uint64_t byte) {
  struct flock request;
  control(fd, F_SETLK, F_UNLCK, byte, request);
}

bool byte_is_locked(int fd, std::uint64_t byte, int* pid) {
  struct flock request;
  if (!control(fd, F_GETLK, F_WRLCK, byte, request)) return true;  // no proof of its being free
  if (request.l_type == F_UNLCK) return false;
  if (pid != nullptr) *pid = request.l_pid;
  return true;
}

bool any_byte_is_locked(int fd, std::uint64_t first, std::uint64_t count) {
  struct flock request;
  return !control(fd, F_GETLK, F_WRLCK, first, request, count) || request.l_type != F_UNLCK;
}

bool is_in_use_elsewhere(int fd) {
  // Who opens the file while the lease is held makes the kernel send a signal: one that is ignored by default.
  if (fcntl(fd, F_SETSIG, SIGURG) != 0) return false;
  if (fcntl(fd, F_SETLEASE, F_WRLCK) != 0) return errno == EAGAIN;
  (void)fcntl(fd, F_SETLEASE, F_UNLCK);
  return false;
}

bool byte_is_locked_by_anyone(int fd, std::uint64_t byte) {
  struct flock request;
  return !control(fd, F_OFD_GETLK, F_WRLCK, byte, request) || request.l_type != F_UNLCK;
}

bool try_lock_open_file(int fd, std::uint64_t byte) {
  struct flock request;
  return control(fd, F_OFD_SETLK, F_WRLCK, byte, request);
}

void unlock_open_file(int fd, std::uint64_t byte) {
  struct flock request;
  control(fd, F_OFD_SETLK, F_UNLCK, byte, request);
}

}  // namespace commonhold::shm
