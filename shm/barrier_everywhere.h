// A full memory barrier that one thread makes for all threads of all processes that take part (membarrier): so that
// those who store often need none.
//
//   writer:  store; (the compiler keeps the order) look at a flag
//   watcher: set the flag; barrier_everywhere(); look at what was stored
//
// Either the writer's look finds the flag, or the watcher's look finds what was stored: who looked before the barrier
// stored before it too, and that is in memory after it.
#pragma once

namespace commonhold::shm {

// This process takes part from now on, and so do its forked children. False: the kernel, or what confines this process,
// does not let it; then its writers make their own barriers.
bool take_part_in_barriers();
// After a fork, in the child: the kernel copies the mark, and once more does no harm.
void take_part_in_forked_child();

// By anybody, whether it takes part or not. False: it is not allowed.
[[nodiscard]] bool barrier_everywhere();

}  // namespace commonhold::shm
