// The segments that this process has mapped: one Segment object per folder, for fcntl locks belong to the process and
// closing any descriptor of the lock file would drop them all. Keeps forks and thread ends in order.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace commonhold::shm {

class Segment;
class ThreadContext;

class SegmentRegistry {
 public:
  static SegmentRegistry& instance();  // made at first use, never destroyed

  // The live Segment of the memory file with this identity, or nullptr. Waits while one is being closed: its lock
  // file's closing would drop the locks of a new one. REQUIRES: `opening` is held until add().
  std::shared_ptr<Segment> find(std::uint64_t device, std::uint64_t inode);
  void add(std::uint64_t device, std::uint64_t inode, const std::shared_ptr<Segment>& segment);
  void remove(Segment* segment);
  // Whether a Segment of this process has it mapped, be it one that is being closed.
  bool has(std::uint64_t device, std::uint64_t inode);
  // True when this process has no segment mapped.
  bool empty();

  // 1 in the first process; a forked child has one more than its parent.
  unsigned generation() const { return generation_; }

  // Before a fork, and before anybody takes mutexes for it: what may have to wait for another process.
  void get_ready_for_fork();

  // Held from the look for a mapping to the noting of a new one: two threads do not map one file twice. Also while the
  // lock file of a folder that this process has not mapped is open (rpc/folder_removal.cc).
  std::mutex opening;

  // Guards every Segment's list of contexts, and this list. Held across fork.
  std::mutex mutex;

 private:
  SegmentRegistry();
  static void before_fork();
  static void after_fork_in_parent();
  static void after_fork_in_child();

  struct Entry {
    std::uint64_t device, inode;
    Segment* segment;
    std::weak_ptr<Segment> owner;
  };
  std::vector<Entry> entries_;
  unsigned generation_ = 1;
};

}  // namespace commonhold::shm
