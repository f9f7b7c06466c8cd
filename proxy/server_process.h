// Starting a server as a process of its own (rpc/spawn.h): the `commonhold` command where it is found, else this
// program's own image, in which the library takes over before main(). A small program with one thread forks the server
// off as it is: that takes 1 ms where executing takes 4.
//
// Thread safety: any thread, in programs that run threads; there the child is made by posix_spawn.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "shm/kept_file.h"

namespace commonhold::detail {

// A descriptor that is closed with its owner.
class OwnedFd {
 public:
  explicit OwnedFd(int fd = -1) : fd_(fd), identity_(shm::FileIdentity::of(fd)) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(other.release()), identity_(other.identity_) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept;
  ~OwnedFd();
  int get() const { return fd_; }
  int release();
  void close();  // not what the number stands for by now, if the program closed it

 private:
  int fd_;
  shm::FileIdentity identity_;
};

struct ServerPlan {
  std::uint64_t memory_limit = 0;
  std::optional<std::string> authkey;
  std::string folder;  // serve this one again; empty: a new one
};

struct StartedServer {
  std::string folder;
  OwnedFd lifeline;  // the server ends when every copy of it is closed; forked children inherit it
};

// Throws what errors.h has for the server's refusal, ServerGone when it said nothing, SystemError.
StartedServer start_anonymous_server(const ServerPlan& plan);

// Starts a server that goes on without this program; returns when clients can connect. Throws as above.
void start_named_server(const std::string& name, const ServerPlan& plan);

}  // namespace commonhold::detail
