// What people and the `commonhold` command see of a segment: its objects with what they cost, and who holds which lock.
//
// Thread safety: reads while others work, so each answer is a moment's; joins no session and takes no lock.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shm/object_table.h"
#include "shm/printable.h"
#include "shm/segment.h"

namespace commonhold::manager {

struct ObjectSummary {
  shm::ObjectInfo info;
  std::uint64_t bytes = 0;     // of memory that the object owns
  std::uint32_t sessions = 0;  // that refer to it
};

// Live objects with an index above `after`, at most `limit` of them; `next` is the `after` of the next call, 0 at the
// end.
std::vector<ObjectSummary> summarize_objects(const shm::Segment& segment, std::uint32_t after, std::size_t limit,
                                             std::uint32_t& next);

struct ThreadIdentity {
  std::uint32_t pid = 0;
  std::uint32_t kernel_id = 0;  // of the thread
  std::string program;
};

struct LockHolder {
  enum class Use : std::uint8_t { kHolds, kWrites, kReads, kPermits };
  ThreadIdentity who;  // pid 0: unknown. Permits are a process's: its thread is not told
  Use use = Use::kHolds;
  std::uint64_t times = 1;  // a reader holds it, or how many permits a process holds
};

// A lock that somebody holds, or a semaphore that somebody holds or waits for.
struct LockSummary {
  shm::ObjectInfo object;    // kNone: the lock of the segment's own memory tables
  std::uint32_t number = 0;  // among the object's locks
  std::vector<LockHolder> holders;
  std::uint64_t permits_left = 0;  // of a semaphore
  std::vector<ThreadIdentity> waiters;
};
std::vector<LockSummary> summarize_locks(shm::Segment& segment);

struct SessionSummary {
  std::uint32_t index = 0, pid = 0;
  std::string program;
  bool is_server = false;
};
std::vector<SessionSummary> summarize_sessions(const shm::Segment& segment);

}  // namespace commonhold::manager
