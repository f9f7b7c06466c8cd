// What a Watch is in this process, and the thread that makes descriptors of watches readable.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "proxy/object.h"
#include "shm/kept_file.h"
#include "shm/watch.h"

namespace commonhold::detail {

// One watch, shared by its copies and the hub.
struct WatchState {
  ~WatchState();

  std::shared_ptr<Object> object;

  std::mutex mutex;  // guards the rest; taken after the hub's. Made anew in a forked child
  std::unique_ptr<shm::Watcher> watcher;
  bool pending = false;  // a change that no wait() has given
  int fd = -1;           // an eventfd once it was asked for
  shm::FileIdentity identity;
  bool signalled = false;  // it is readable
  // The process that it is of. SYNC POINT: watch renewed.
  std::atomic<unsigned> generation{0};

  bool settled = true;  // false: the last look could not tell, for who holds the object's lock keeps it

  // REQUIRES: mutex. Looks, unless a change is pending already; true when one is.
  bool look(shm::Deadline deadline = shm::Deadline::after(shm::kLookTimeout));
  // REQUIRES: mutex. The descriptor, -1 where the program closed it.
  int descriptor() const;
  // Before the mutex is used: in a forked child, what the parent's threads were doing to it is forgotten.
  void begin();
};

// One thread for all descriptors of the process. It runs while there are any.
class WatchHub {
 public:
  static WatchHub& instance();  // of this process: a forked child has its own

  void add(const std::shared_ptr<WatchState>& watch);
  void kick();  // something may have to be watched that was not, or no more
  void stop();  // nothing is looked at from now on: the process ends its sessions

 private:
  void run();

  std::mutex mutex_;  // held while the thread looks
  std::vector<std::weak_ptr<WatchState>> watches_;
  bool running_ = false, stopped_ = false;
  std::atomic<std::uint32_t> kicks_{0};
};

}  // namespace commonhold::detail
