// Who this process is among those that Process started.
//
// Thread safety: changed in a child before its function runs, and by the setters of CurrentProcess; the counter of
// children is for any thread.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <string>

namespace commonhold::detail {

struct Child;

struct Identity {
  std::string name = "MainProcess";
  std::string numbers;  // "3:1"; empty in the first process
  bool daemon = false;
  bool quiet = false, waits_for_threads = true;  // as Child
  std::string authkey;
  pid_t parent = 0;  // 0: no Process started this one
  std::string parent_name;
  std::atomic<int> children{0};

  std::string next_child_numbers();
  // Makes this process the child that was started.
  void become(const Child& child);
};

Identity& identity();

// The last steps of a child process: its own children's end, the wait for its threads, its streams flushed, its sessions
// left; nothing of the parent's is run.
[[noreturn]] void end_child(int status) noexcept;

// In the order of the reference: what was written so far must come out once.
void flush_streams() noexcept;
void flush_standard_streams() noexcept;

// From now on std::exit ends this process as a child ends.
void end_as_child();

// SIGTERM for this process when its parent ends, in whatever way, and SIGKILL when it still runs two seconds later. A
// thread of the parent that ends does nothing.
void end_with_parent(pid_t parent) noexcept;

// Calls `run` and ends the process as the reference does: 0, what an Exit says, or 1 with the exception's text on
// standard error.
[[noreturn]] void run_child(void (*run)(void*), void* argument) noexcept;

}  // namespace commonhold::detail
