// Process: a function that runs in a process of its own.
//
//   commonhold::Process worker([&] { counts["count"] -= 1; });
//   worker.start();
//   worker.join();
//   assert(worker.exitcode() == 0);
//
// start() forks: the child sees everything as it was at that moment; shared objects and managers that it captured keep
// working in it. It runs the function and ends there, without the parent's exit handlers and destructors. Its standard
// streams are flushed, std::exit(n) in it ends it with n, and an exception that leaves the function is printed on
// standard error and ends it with 1.
//
// As always with fork, only the calling thread is in the child: what other threads of the parent held locked, mutexes
// of the program's own above all, stays locked there. This library's objects do not mind.
//
// Thread safety: one thread at a time for each Process. A Process can be moved, not copied. When one that runs is
// destroyed it is joined, in the process that started it; a daemon is terminated first.
#pragma once

#include <chrono>
#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <commonhold/detail/lock_calls.h>
#include <commonhold/errors.h>

namespace commonhold {

// A process used in a way that it cannot be: started twice, joined before it was started, joined by another process
// than the one that started it.
class ProcessError : public UsageError {
 public:
  using UsageError::UsageError;
};

struct ProcessOptions {
  std::string name = {};  // "Process-3" when empty; "Process-3:1" in a child
  bool daemon = false;    // terminated, not joined, when its Process is destroyed
};

class Process {
 public:
  template <std::invocable Target>
  requires(!std::same_as<std::remove_cvref_t<Target>, Process>) explicit Process(Target&& target)
      : Process(ProcessOptions{}, std::forward<Target>(target)) {}
  template <std::invocable Target>
  Process(ProcessOptions options, Target&& target)
      : Process(std::move(options),
                std::unique_ptr<Function>(new FunctionOf<std::decay_t<Target>>(std::forward<Target>(target)))) {}
  Process(Process&&) noexcept;
  Process& operator=(Process&&) noexcept;
  ~Process();

  // Once; ProcessError afterwards. SystemError when the system has no room for another process.
  void start();

  // Waits for the end. ProcessError before start, and in other processes than the starting one.
  void join();
  // False: it still runs.
  template <typename Rep, typename Period>
  bool join_for(const std::chrono::duration<Rep, Period>& timeout) {
    return wait(detail::to_wait(timeout));
  }

  bool is_alive();
  // Nothing while it has not started or runs; else its status, or the negative number of the signal that killed it.
  std::optional<int> exitcode();
  // Nothing before start.
  std::optional<int> pid() const;

  const std::string& name() const;
  void set_name(std::string name);
  bool daemon() const;

  // SIGTERM, SIGKILL. No effect on one that ended; ProcessError before start.
  void terminate() { signal(kTerminate); }
  void kill() { signal(kKill); }

  // A descriptor that poll and epoll find readable once the process ended; it stays this object's. ProcessError
  // before start.
  int sentinel() const;

 private:
  struct Function {
    virtual ~Function() = default;
    virtual void run() = 0;
  };
  template <typename Target>
  struct FunctionOf final : Function {
    template <typename Given>
    explicit FunctionOf(Given&& given) : target(std::forward<Given>(given)) {}
    void run() override { static_cast<void>(std::invoke(target)); }
    Target target;
  };
  struct State;
  static constexpr int kTerminate = 15, kKill = 9;

  Process(ProcessOptions options, std::unique_ptr<Function> function);
  [[noreturn]] void run_child();
  State& started(const char* call) const;
  bool wait(std::int64_t wait);
  void signal(int number);
  void finish() noexcept;

  std::unique_ptr<State> state_;
};

// The name of this process: "MainProcess", or what its Process was called.
std::string current_process_name();

}  // namespace commonhold
