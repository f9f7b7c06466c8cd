// Threads that a child's function started and did not join.
#pragma once

namespace commonhold::detail {

// Waits until they have ended, as the reference does at the end of a process. Those of the library's own do not count, nor
// do those that only wait: a thread that has not run for a second, and does not sleep for a time, belongs to a pool that
// some library keeps, and would never end. Called by another thread than the process's first one it does nothing: that one
// still runs.
void await_unjoined_threads() noexcept;

}  // namespace commonhold::detail
