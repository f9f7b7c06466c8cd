// One puts a second item and then says twice that a task is done, another says it once, a third waits until as many
// tasks are done as items were put. Without a fence who says that the last task is done may not see that somebody
// waits, or who waits may not see that all are done.
//
// source: shm/queue.cc Queue::task_done(ThreadContext& me) const
//   control.done.load(std::memory_order_relaxed)
//   control.tail.load(std::memory_order_acquire)
//   control.done.compare_exchange_weak(done, done + 1, std::memory_order_seq_cst)
//   done + 1 == control.tail.load(std::memory_order_seq_cst)
//   open_gate(control.all_done
// source: shm/queue.cc Queue::unfinished() const
//   control.done.load(std::memory_order_seq_cst)
//   control.tail.load(std::memory_order_seq_cst)
// source: shm/queue.cc Queue::join(ThreadContext& me
//   wait_at(me, control.all_done, deadline, finished)
// source: shm/gate.h sleep_at(Gate& gate
//   gate.event.load(std::memory_order_seq_cst)
//   raise_wanted(gate)
//   if (ready()) return
//   futex_wait(gate.event, seen
//
// must fail: NO_FENCE_SLEEPER NO_FENCE_WAKER
#define PROCESSORS 3
#define ADDRESSES 4
#define STORES 2
#define WANTED 0
#define EVENT 1
#define TAIL 2
#define DONE 3
#include "tso.inc"

proctype consumer(byte me; bool puts) {
  byte done, tail, there, tasks = 1;
  bool told;
  if
  :: puts ->
     load(me, TAIL, tail);
     store(me, TAIL, tail + 1);
     EMPTY(me);  // the exchange that frees the producers' lock
     tail = 0;
     tasks = 2
  :: else
  fi;
  do
  :: tasks > 0 ->
     load(me, DONE, done);
     do
     :: load(me, TAIL, tail);
        assert(done < tail);
        if
        :: WITHOUT(NO_FENCE_WAKER) -> atomic { memory[DONE] == done -> store(me, DONE, done + 1); break }
        :: else ->
           compare_exchange(me, DONE, done, done + 1, told);
           if
           :: told -> break
           :: else -> load(me, DONE, done)
           fi
        fi
     od;
     load(me, TAIL, tail);
     if
     :: done + 1 == tail ->
        load(me, WANTED, there);
        if
        :: there != 0 ->  // wake_some
           load(me, WANTED, there);
           fetch_add(me, EVENT, 1, unseen);
           futex_wake_all(me, EVENT);
           compare_exchange(me, WANTED, there, 0, told)  // fewer woke than were asked for
        :: else
        fi
     :: else
     fi;
     done = 0; tail = 0; there = 0; told = false;
     tasks--
  :: else -> break
  od
}

proctype joiner(byte me) {
  byte seen, now, done, tail;
  bool raised;
  do
  :: load(me, DONE, done);
     load(me, TAIL, tail);
     if
     :: done == tail -> break
     :: else
     fi;
     load(me, EVENT, seen);
     load(me, WANTED, now);
     if
     :: WITHOUT(NO_FENCE_SLEEPER) -> store(me, WANTED, now + 1)
     :: else ->
        do
        :: compare_exchange(me, WANTED, now, now + 1, raised);
           if
           :: raised -> break
           :: else -> load(me, WANTED, now)
           fi
        od
     fi;
     now = 0; raised = false;
     load(me, DONE, done);
     load(me, TAIL, tail);
     if
     :: done == tail -> break
     :: else -> futex_wait(me, EVENT, seen)
     fi;
     seen = 0
  od
}

init {
  atomic {
    memory[TAIL] = 2;
    run consumer(0, true);
    run consumer(1, false);
    run joiner(2)
  }
}
