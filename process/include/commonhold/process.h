// Process: a function that runs in a process of its own.
//
//   commonhold::Process worker([&] { counts["count"] -= 1; });
//   worker.start();
//   worker.join();
//   assert(worker.exitcode() == 0);
//
// start() forks: the child sees everything as it was at that moment; shared objects and managers that it captured keep
// working in it. It runs the function and ends there, without the parent's exit handlers and destructors. Its standard
// streams are flushed, std::exit(n) in it or an Exit thrown ends it with n, and another exception that leaves the
// function is printed on standard error and ends it with 1. At its end it sends SIGTERM to its own daemonic children,
// waits for all its children, and then for the threads that its function started and did not join: as long as they run or
// sleep for a time. One that has waited for something else for a second, as threads of an idle thread pool do, ends with the
// process, and so do all with wait_for_threads = false.
//
// As always with fork, only the calling thread is in the child: what other threads of the parent held locked, mutexes
// of the program's own above all, stays locked there. This library's objects do not mind. Process::fresh (fresh.h)
// starts the program anew instead.
//
// A class derived from Process may override run(), which the child calls.
//
// A Process is a handle: a child goes on when its handle is destroyed or assigned over, so Process(f).start() in a loop
// starts one after the other. At its end a program sends SIGTERM to its daemonic children, and waits for all; and it waits
// for those that its children started, since each does the same. Programs that never end: active_children() are those
// that have not, and each start() lets go of what is left of the ended ones.
//
// A death: a daemonic child ends with its parent, however that ends, kill -9 included: it gets SIGTERM, and SIGKILL when
// it still runs two seconds later. Others live on.
//
// Thread safety: one thread at a time for each Process. A Process can be moved, not copied.
#pragma once

#include <commonhold/current_process.h>
#include <commonhold/detail/child_calls.h>
#include <commonhold/detail/fresh_entry.h>
#include <commonhold/detail/lock_calls.h>
#include <commonhold/errors.h>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace commonhold {

struct ProcessOptions {
  std::string name = {};            // "Process-3" when empty, after the class; "Process-3:1" in a child
  std::optional<bool> daemon = {};  // terminated when its parent ends; as this process when empty
  bool wait_for_threads = true;     // false: threads that its function did not join end with the process
};

class [[nodiscard]] Process {
 public:
  // Runs target(arguments...), of which the child gets copies; what has none, like a Connection, goes as std::ref(it), or
  // moved.
  template <typename Target, typename... Arguments>
  requires(
      !std::derived_from<std::remove_cvref_t<Target>, Process> &&
      std::invocable<std::decay_t<Target>&, std::decay_t<Arguments>&...>) explicit Process(Target&& target,
                                                                                           Arguments&&... arguments)
      : Process(ProcessOptions{}, std::forward<Target>(target), std::forward<Arguments>(arguments)...) {}
  template <typename Target, typename... Arguments>
  requires(std::invocable<std::decay_t<Target>&, std::decay_t<Arguments>&...>)
      Process(ProcessOptions options, Target&& target, Arguments&&... arguments)
      : Process(std::move(options),
                detail::make_function(std::forward<Target>(target), std::forward<Arguments>(arguments)...)) {}

  // A process with a fresh program image: see fresh.h.
  template <auto function, typename... Arguments>
  requires(!detail::kStartsWith<ProcessOptions, Arguments...>) static Process fresh(Arguments&&... arguments) {
    return fresh<function>(ProcessOptions{}, std::forward<Arguments>(arguments)...);
  }
  template <auto function, typename... Arguments>
  static Process fresh(ProcessOptions options, Arguments&&... arguments) {
    return Process(std::move(options), detail::FreshEntry<function>::call(std::forward<Arguments>(arguments)...));
  }

  Process(Process&&) noexcept;
  Process& operator=(Process&&) noexcept;
  virtual ~Process();

  // What the child does: calls the target. Called directly, it does so in the calling process.
  virtual void run();

  // Once. ProcessError afterwards, in another process than the one that made this object, and in a daemonic process.
  // SystemError when the system has no room for another process.
  void start();

  // Waits for the end. ProcessError before start, and in other processes than the starting one.
  void join() { wait(detail::kForever); }
  // False: it still runs.
  template <typename Rep, typename Period>
  bool join_for(const std::chrono::duration<Rep, Period>& timeout) {
    return wait(detail::to_wait(timeout));
  }

  bool is_alive();
  // Nothing while it has not started or runs; else its status, or the negative number of the signal that killed it.
  // Nothing for ever when something else than this library waited for it.
  std::optional<int> exitcode();
  // Nothing before start.
  std::optional<int> pid() const;

  const std::string& name() const;
  // For this object; a running child keeps the name that it was started with. An empty one is the default again.
  void set_name(std::string name);
  bool daemon() const;
  void set_daemon(bool daemon);  // ProcessError after start

  // SIGTERM, SIGKILL, to it alone and not to its children. No effect on one that ended; ProcessError before start.
  void terminate() { signal(kTerminate); }
  void kill() { signal(kKill); }

  // Frees what belongs to it; ProcessError while it runs. Afterwards name and daemon can be read, and everything else
  // is Closed.
  void close();

  // A descriptor that poll, epoll and wait() find readable once the process ended; it stays this object's. ProcessError
  // before start.
  int sentinel() const;

  // <Process name='Process-1' pid=71 parent=70 stopped exitcode=-SIGTERM daemon>
  std::string describe();

 protected:
  // For derived classes that override run().
  explicit Process(ProcessOptions options = {});
  // start(), for threads of the library's: of the streams, the standard ones alone are flushed, at the start and at the
  // child's end, since a thread of the program may be waiting in another one.
  void start_quietly();
  // SIGTERM to a child that runs, and the wait for its end. Nothing in other processes than the starting one.
  void end_child() noexcept;

 private:
  struct State;
  static constexpr int kTerminate = 15, kKill = 9;

  Process(ProcessOptions options, std::unique_ptr<detail::Function> function);
  Process(ProcessOptions options, detail::FreshCall call);
  State& usable(const char* call) const;
  State& started(const char* call) const;
  void start(bool quietly);
  void fork_child(State& state);
  bool wait(std::int64_t wait);
  void signal(int number);

  std::unique_ptr<State> state_;
};

std::ostream& operator<<(std::ostream& out, Process& process);

}  // namespace commonhold
