// A manager as this process knows it: where it is, its segment, the line to its server, and for the one that started an
// anonymous server the pipe that keeps it running. Shared by Manager handles and by the objects that came from it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/server_link.h"
#include "proxy/server_process.h"
#include "rpc/address.h"
#include "shm/segment.h"

namespace commonhold::detail {

struct ManagerState {
  rpc::ManagerAddress address;
  std::shared_ptr<shm::Segment> segment;
  ServerPlan plan;  // to start the server again
  // Whether this process, or one that it was forked from, started the server and keeps it running; then with this pipe.
  bool anonymous = false;
  OwnedFd lifeline;                   // replaced by who is reviving; guarded by the fork guard's mutex
  std::atomic<unsigned> reviving{0};  // the process generation in which a thread starts the server again; 0: none
  std::atomic<bool> ended{false};     // by shutdown(), which this process has called
  std::unique_ptr<ServerLink> link;
  // For calls that may take long: each uses one of these alone. Guarded by the fork guard's mutex.
  std::vector<std::unique_ptr<ServerLink>> idle_links;
};

// A line to the manager's server for one call that may take long; the others go on meanwhile.
class BorrowedLink {
 public:
  explicit BorrowedLink(ManagerState& manager);
  ~BorrowedLink();
  BorrowedLink(const BorrowedLink&) = delete;
  BorrowedLink& operator=(const BorrowedLink&) = delete;
  ServerLink* operator->() const { return link_.get(); }

 private:
  ManagerState& manager_;
  std::unique_ptr<ServerLink> link_;
};

}  // namespace commonhold::detail
