// The thread that looks after a served segment: it notices deaths within milliseconds and has them recovered, commits
// memory ahead of need, gives memory that is free for long back to the system, and has objects destroyed that nobody
// refers to any more.
//
// It sleeps until something happens: the bell rings (a session joined, left, dropped a reference, or runs low on
// memory), a client process ends (its pidfd is readable), or the lifeline's last writer is gone. What the kernel cannot
// announce (a process of another pid namespace, a program that replaced its image) is looked at every few seconds.
//
// Thread safety: wake() and the counters from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "manager/registry.h"
#include "shm/kept_file.h"
#include "shm/segment.h"

namespace commonhold::manager {

class Housekeeper {
 public:
  using Log = std::function<void(const std::string&)>;
  struct Lifeline {
    int fd = -1;                  // read end; -1: the server does not depend on owners. Closed by the housekeeper
    std::function<void()> ended;  // called once, on its thread: all owners and all sessions are gone
  };

  // Throws std::system_error when the bell or the kernel's watches cannot be had. `first_look` does on its thread what
  // may take its time at the start. `serves_alone`: the process does nothing but serve, so it reads no objects itself.
  Housekeeper(std::shared_ptr<shm::Segment> segment, Registry& registry, Log log, Lifeline lifeline, bool serves_alone,
              std::function<void()> first_look = {});
  // Waits until the thread has finished what it is doing.
  ~Housekeeper();

  // Asks for a look at everything.
  void wake() const;

  std::uint64_t recovered_sessions() const { return recovered_.load(std::memory_order_relaxed); }
  std::uint64_t destroyed_objects() const { return destroyed_.load(std::memory_order_relaxed); }

 private:
  using Clock = std::chrono::steady_clock;
  struct Watched {
    std::uint32_t generation = 0;  // of the session; 0: nothing is watched here
    shm::Word pid = 0;             // as the record said
    int pidfd = -1;                // -1: the kernel announces nothing
    shm::FileIdentity identity;    // of the pidfd
  };

  bool listen_for_bell(int operation);
  void run();
  void keep_session();
  void look(Clock::time_point now);
  void look_at(std::uint32_t session);
  void watch(std::uint32_t session, std::uint32_t generation);
  void stop_listening(std::uint32_t session);
  void forget(std::uint32_t session);
  bool recover(std::uint32_t session);
  void sweep_when_due(Clock::time_point now);
  void commit_ahead();
  void release_idle(Clock::time_point now);
  bool others_live() const;
  void drain_bell() const;
  int milliseconds_to_sleep(Clock::time_point now) const;

  const bool serves_alone_;
  std::shared_ptr<shm::Segment> segment_;
  Registry& registry_;
  Log log_;
  Lifeline lifeline_;
  std::function<void()> first_look_;
  const std::uint64_t pid_space_;
  int bell_ = -1, epoll_ = -1, wake_ = -1;
  struct {
    shm::FileIdentity bell, epoll, wake, lifeline;
  } identities_;
  std::atomic<bool> ending_{false};
  std::atomic<std::uint64_t> recovered_{0}, destroyed_{0};

  // Used by the thread alone.
  std::vector<Watched> watched_;
  bool lifeline_broken_ = false, memory_was_short_ = false;
  bool commits_more_ = false;  // the last look did a part of what is to be committed ahead
  // What has been free since some moment, beyond what is kept: it goes back to the system.
  bool much_is_free_ = false, releases_more_ = false;
  std::uint64_t least_free_ = 0;  // extents, since then
  Clock::time_point release_at_{};
  bool death_is_unproven_ = false;  // a process ended, and its session could not be recovered yet: look again soon
  std::chrono::milliseconds retry_after_{1};
  bool unannounced_ = false;  // some session's end is not announced by the kernel
  bool sweep_asked_ = true;
  bool bell_rests_ = false;  // and is listened to again from then on:
  Clock::time_point bell_rests_until_{};
  Clock::time_point next_sweep_{}, next_full_look_{};

  std::thread thread_;
};

}  // namespace commonhold::manager
