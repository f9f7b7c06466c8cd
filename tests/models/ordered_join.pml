// As queue_join, of a queue under one lock: one puts a third item and says twice that a task is done, another says it
// once, a third waits until all are done. Whoever says so looks, when it has freed the lock, whether all are done. The
// number of items put is read before and after the number of those that are done, for both may have risen meanwhile.
// (With redelivery what is read is other: ordered_counts.)
//
// source: shm/ordered_queue.cc Status OrderedQueue::task_done(ThreadContext& me
//   take_turn(me, control.changing, Deadline::never())
//   own(control.done) >= own(control.puts)
//   control.done.store(own(control.done) + 1, std::memory_order_release)
//   end_turn(me, control.changing
//   all_done()) open_gate(control.all_done
// source: shm/ordered_queue.cc OrderedQueue::puts_not_done() const
//   control_->puts.load(std::memory_order_seq_cst)
//   control_->done.load(std::memory_order_seq_cst)
//   control_->puts.load(std::memory_order_seq_cst) == puts
// source: shm/ordered_queue.cc Status OrderedQueue::join(ThreadContext& me
//   wait_at(me, control_->all_done, deadline, finished)
// source: shm/ordered_queue.cc Status OrderedQueue::put_locked(ThreadContext& me
//   control_->puts.store(sequence + 1, std::memory_order_release)
// source: shm/queue_turn.h void end_turn(ThreadContext& me
//   unlock_announced(word)
//   barrier_after_exchange()
//   wake()
//
// must fail: NO_FENCE_SLEEPER NO_FENCE_WAKER PUTS_READ_ONCE
#define PROCESSORS 3
#define ADDRESSES 5
#define STORES 2
#define WANTED 0
#define EVENT 1
#define PUTS 2
#define DONE 3
#define CHANGING 4
#include "tso.inc"

byte tasks_done = 0;

// `finished`: all that were put are done.
inline look_whether_done() {
  do
  :: load(me, PUTS, puts);
     load(me, DONE, done);
     if
     :: WITHOUT(PUTS_READ_ONCE) -> again = puts
     :: else -> load(me, PUTS, again)
     fi;
     if
     :: again == puts -> break
     :: else
     fi
  od;
  finished = (puts == done);
  puts = 0; done = 0; again = 0
}

proctype consumer(byte me; bool puts_one; byte tasks) {
  byte puts, done, again, there;
  bool finished, reset;
  if
  :: puts_one ->
     take_lock(me, CHANGING);
     load(me, PUTS, puts);
     store(me, PUTS, puts + 1);
     puts = 0;
     free_lock(me, CHANGING)
  :: else
  fi;
  do
  :: tasks > 0 ->
     take_lock(me, CHANGING);
     load(me, DONE, done);
     tasks_done++;
     store(me, DONE, done + 1);
     FENCED_STORE(me, CHANGING, 0, NO_FENCE_WAKER);
     look_whether_done();
     if
     :: finished ->
        load(me, WANTED, there);
        if
        :: there != 0 ->
           load(me, WANTED, there);
           fetch_add(me, EVENT, 1, unseen);
           futex_wake_all(me, EVENT);
           compare_exchange(me, WANTED, there, 0, reset)
        :: else
        fi
     :: else
     fi;
     there = 0; finished = false; reset = false;
     tasks--
  :: else -> break
  od
}

proctype joiner(byte me) {
  byte puts, done, again, seen, now;
  bool finished, raised;
  do
  :: look_whether_done();
     if
     :: finished -> break
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
     look_whether_done();
     if
     :: finished -> break
     :: else -> futex_wait(me, EVENT, seen)
     fi;
     seen = 0
  od;
  assert(tasks_done == 3)
}

init {
  atomic {
    memory[PUTS] = 2;
    run consumer(0, true, 2);
    run consumer(1, false, 1);
    run joiner(2)
  }
}
