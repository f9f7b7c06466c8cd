// The fence that one thread makes for all: a writer stores and then looks at a flag, without a fence between; a
// watcher sets the flag, makes the fence, and looks at what was stored. One of the two sees the other. A process that
// may not take part makes a fence of its own, because the watcher's passes it by.
//
// source: shm/barrier_everywhere.cc barrier_everywhere()
//   membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) || membarrier(MEMBARRIER_CMD_GLOBAL)
// source: shm/array.cc Array::Array(const ObjectAddress& where)
//   take_part_in_barriers() ?
//   : &kAlwaysSet
// source: shm/array.cc Array::store(ThreadContext& me
//   put_element(at, in, element_bytes_)
//   std::atomic_signal_fence(std::memory_order_seq_cst)
//   marks_->redo.load(std::memory_order_relaxed) | marks_->watched.load(std::memory_order_relaxed)
// source: shm/array.cc Array::changed() const
//   std::atomic_thread_fence(std::memory_order_seq_cst)
//   control_->watched.load(std::memory_order_seq_cst) == 0
//
// must fail: NO_FENCE_FOR_ALL NO_FENCE_OUTSIDE
#define PROCESSORS 3
#define ADDRESSES 3
#define STORES 2
#define FLAG 2
#include "tso.inc"

byte flag_seen[2];
byte looks = 0;

#define TAKING_PART 5  // processors 0 and 2

proctype writer(byte me; byte mine) {
  byte seen;
  store(me, mine, 1);
  if
  :: me == 1 -> FENCE(me, NO_FENCE_OUTSIDE)
  :: else
  fi;
  load(me, FLAG, seen);
  flag_seen[me] = seen;
  looks++
}

proctype watcher(byte me) {
  byte owed, stored0, stored1;
  store(me, FLAG, 1);
  if
  :: WITHOUT(NO_FENCE_FOR_ALL) -> EMPTY(me)  // its own processor alone
  :: else -> MEMBARRIER(me, TAKING_PART, owed)
  fi;
  load(me, 0, stored0);
  load(me, 1, stored1);
  looks == 2;
  assert(flag_seen[0] || stored0);
  assert(flag_seen[1] || stored1)
}

init {
  atomic { run writer(0, 0); run writer(1, 1); run watcher(2) }
}
