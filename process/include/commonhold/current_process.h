// Who this process is, who started it, and whom it started.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <commonhold/detail/lock_calls.h>
#include <commonhold/errors.h>

namespace commonhold {

namespace detail {
struct Child;
}

// A process used in a way that it cannot be: started twice, joined before it was started, joined by another process
// than the one that started it.
class ProcessError : public UsageError {
 public:
  using UsageError::UsageError;
};

// Thrown by a child's function to end the process: the stack is unwound, as std::exit does not.
class Exit {
 public:
  explicit Exit(int status = 0) : status_(status & 0xff) {}
  // Ends it with 1, and the text on standard error.
  explicit Exit(std::string text) : status_(1), text_(std::move(text)) {}
  int status() const noexcept { return status_; }
  const std::string& text() const noexcept { return text_; }

 private:
  int status_;
  std::string text_;
};

// This process. Thread safety: reading, any thread; setting, none beside it.
class CurrentProcess {
 public:
  std::string name() const;  // "MainProcess", or what its Process was called
  void set_name(std::string name);
  int pid() const;
  bool daemon() const;
  // The key that this process's Listeners and Clients may use: 32 random bytes, the same in all processes that a
  // program starts. ValueError for an empty one.
  std::string authkey() const;
  void set_authkey(std::string key);
};
inline CurrentProcess current_process() {
  return {};
}
std::string current_process_name();

// The process that started this one with Process.
class ParentProcess {
 public:
  const std::string& name() const { return name_; }
  int pid() const { return pid_; }
  bool is_alive() const { return !wait(0); }
  void join() const { wait(detail::kForever); }
  // False: it still runs.
  template <typename Rep, typename Period>
  bool join_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return wait(detail::to_wait(timeout));
  }

 private:
  friend std::optional<ParentProcess> parent_process();
  ParentProcess(std::string name, int pid) : name_(std::move(name)), pid_(pid) {}
  bool wait(std::int64_t wait) const;
  std::string name_;
  int pid_;
};
// Nothing in the first process.
std::optional<ParentProcess> parent_process();

// A child of this process, beside the Process that started it. Thread safety: any thread. Calls in another process than
// the parent throw ProcessError.
class ProcessHandle {
 public:
  explicit ProcessHandle(std::shared_ptr<detail::Child> child) : child_(std::move(child)) {}
  std::string name() const;
  int pid() const;
  bool daemon() const;
  bool is_alive() const;
  std::optional<int> exitcode() const;
  void join() const { wait(detail::kForever); }
  template <typename Rep, typename Period>
  bool join_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return wait(detail::to_wait(timeout));
  }
  void terminate() const;
  void kill() const;

 private:
  detail::Child& child() const;
  bool wait(std::int64_t wait) const;
  std::shared_ptr<detail::Child> child_;
};
// The children that Process started and that have not ended.
std::vector<ProcessHandle> active_children();

// Processors of this machine, at least 1.
int cpu_count();
// Those of them that this process may use.
int usable_cpu_count();

}  // namespace commonhold
