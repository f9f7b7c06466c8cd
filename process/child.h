// A process that this program started, and the ledger of all of them.
//
// Thread safety: any thread. A Child's mutex is held for moments, never while something is waited for; it is taken
// after the ledger's.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <commonhold/detail/kept_descriptor.h>

namespace commonhold::detail {

// One child process from its making on. Its numbers are of use in the process that made it alone.
struct Child {
  Child();
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  bool is_mine() const;
  // REQUIRES, of the rest: is_mine(), and it was started.
  // Waits until it has ended, `wait` nanoseconds at most (lock_calls.h). Learns how it ended unless somebody else did.
  bool wait(std::int64_t wait);
  bool has_ended() { return wait(0); }
  std::optional<int> exitcode();
  void signal(int number);
  void close_sentinel();

  const pid_t made_by;
  const std::string numbers;  // "3:1": the first child of the third child
  std::string name;
  bool daemon = false;
  bool waits_for_threads = true;  // at its end, for those that it did not join
  bool quiet = false;             // of the streams, it flushes the standard ones alone
  std::atomic<pid_t> pid{0};
  std::atomic<int> sentinel{-1};  // a pidfd; -1 where the system has none to give
  KeptIdentity sentinel_identity;
  bool closed = false;

 private:
  void reap();
  std::mutex mutex_;
  bool ended_ = false;
  std::optional<int> exitcode_;  // stays empty when somebody else waited for the process
};

// What this process must do before it ends, and the children that it started and has not seen end. A forked child
// starts with an empty one.
class OwnProcesses {
 public:
  static OwnProcesses& instance();

  // REQUIRES: the child's pid and sentinel are set.
  void add(std::shared_ptr<Child> child);
  void remove(const Child& child);
  std::vector<std::shared_ptr<Child>> alive();

  // `run` is called once, when this process ends in good order, the highest priority first, among equal ones the
  // newest.
  std::uint64_t add_finalizer(int priority, std::function<void()> run);
  void remove_finalizer(std::uint64_t id);

  // The end of this process: the finalizers, SIGTERM to daemonic children, the wait for all children.
  void end() noexcept;

 private:
  struct Finalizer {
    std::uint64_t id;
    int priority;
    std::function<void()> run;
  };
  OwnProcesses();
  bool run_one_finalizer();

  std::mutex mutex_;
  std::vector<std::shared_ptr<Child>> children_;
  std::vector<Finalizer> finalizers_;
  std::uint64_t last_id_ = 0;
};

// A descriptor of a process that poll finds readable once it has ended; -1 when there is none to be had.
int open_pidfd(pid_t pid);

}  // namespace commonhold::detail
