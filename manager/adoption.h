// How a server gets its segment: the one that is there, or a new one.
//
// One server serves a folder: it holds the server byte of the lock file, which the kernel gives up with the process. A
// segment whose server died is adopted: dead sessions are recovered, memory that belongs to no object goes back, and
// the clients that live go on as if nothing had happened.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "commonhold/server.h"
#include "rpc/address.h"
#include "shm/segment.h"

namespace commonhold::manager {

// Holds a folder as its only server. Thread safety: none; made and ended by the server's owner.
class Tenure {
 public:
  // Throws ServerError: kAlreadyRunning, kForeignLayout, kPermission, kOutOfMemory, kInvalid, kSystem; and leaves
  // nothing then that was not there before.
  Tenure(const rpc::ManagerAddress& address, std::uint64_t memory_limit,
         const std::function<void(const std::string&)>& log);
  // Gives up the server byte. The folder stays for a successor unless close() was called.
  ~Tenure();
  Tenure(const Tenure&) = delete;
  Tenure& operator=(const Tenure&) = delete;

  const std::shared_ptr<shm::Segment>& segment() const { return segment_; }
  bool adopted() const { return adopted_; }

  // Refuses new sessions and removes the folder's files: the end of this segment.
  void close();

 private:
  void take_segment(std::uint64_t memory_limit, const std::function<void(const std::string&)>& log);
  bool take_server_byte();
  void announce();
  void withdraw();

  rpc::ManagerAddress address_;
  std::shared_ptr<shm::Segment> segment_;
  bool adopted_ = false, closed_ = false;
};

// Removes the folders of anonymous managers that are proven to be dead (rpc/folder_removal.h), but for `own`; returns how
// many. A folder without a segment may be in the making: it is removed only when it is `at_least_old`.
// REQUIRES: this process has none of them open but `own`.
int remove_abandoned_folders(const rpc::ManagerAddress& own,
                             std::chrono::seconds at_least_old = std::chrono::seconds(60));

}  // namespace commonhold::manager
