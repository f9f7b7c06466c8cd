// A writer waits until a reader goes, who takes its announcement back and dies before it looks whether a writer waits, or
// before it wakes it. Recovery finds no announcement. It wakes all who say that they sleep; a writer that is about to
// sleep is reached by the word on which it sleeps, which is raised for every death of a process that referred to the lock.
//
// source: shm/rw_lock.cc RwLock::drain(ThreadContext& me
//   SleepNotice notice(me, control_->drained)
//   control_->draining.store(1, std::memory_order_seq_cst)
//   control_->drained.load(std::memory_order_seq_cst)
//   each_reader(
//   futex_wait(control_->drained, before
// source: shm/rw_lock.h static void user_died(const ObjectAddress& where)
//   reader_gone()
// source: shm/rw_lock.h void reader_gone() const
//   control_->draining.load(std::memory_order_seq_cst) != 0
//   wake_writer()
// source: shm/rw_lock.cc RwLock::wake_writer() const
//   control_->drained.fetch_add(1, std::memory_order_seq_cst)
//   futex_wake_all(control_->drained)
// source: shm/recovery.cc bool settle_session(Segment& segment
//   tell_of_death(segment, dead)
//   wake_sleepers(segment)
// source: shm/recovery.cc void tell_of_death(Segment& segment
//   type->user_died(
// source: shm/object_types.cc kTypes[] =
//   RwLock::user_died
//
// must fail: NOT_RAISED NO_FENCE_DRAINING
#define PROCESSORS 3
#define ADDRESSES 3
#define STORES 2
#define ANNOUNCED 0
#define DRAINED 1
#define DRAINING 2
#include "tso.inc"

bool died = false;

inline reader_gone() {
  load(me, DRAINING, draining);
  if
  :: draining -> fetch_add(me, DRAINED, 1, unseen); futex_wake_all(me, DRAINED)
  :: else
  fi
}

proctype writer(byte me) {
  byte before, announced;
  FENCED_STORE(me, DRAINING, 1, NO_FENCE_DRAINING);
  do
  :: load(me, DRAINED, before);
     load(me, ANNOUNCED, announced);
     if
     :: announced == 0 -> break
     :: else -> futex_wait(me, DRAINED, before)
     fi
  od
}

proctype reader(byte me) {
  byte draining;
  exchange(me, ANNOUNCED, 0, unseen);
  if
  :: died = true
  :: reader_gone()
  fi
}

proctype recoverer(byte me) {
  byte draining;
end:
  died;
  if
  :: WITHOUT(NOT_RAISED) -> skip
  :: else -> reader_gone()
  fi;
  futex_wake_all(me, DRAINED)  // wake_sleepers
}

init {
  atomic {
    memory[ANNOUNCED] = 1;
    run writer(0);
    run reader(1);
    run recoverer(2)
  }
}
