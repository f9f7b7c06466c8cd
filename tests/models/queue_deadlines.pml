// A consumer that gives up at some time, in the middle of a wait or before its turn at the lock, one that waits for
// ever, and a producer of one item, which wakes one of the two. A consumer that was woken and takes nothing wakes the
// other: whoever waits for ever gets the item if the other does not.
//
// source: shm/queue_turn.h Status take_turn(ThreadContext& me, LockWord& word, Deadline deadline, Gate& gate
//   take_turn(me, word, deadline)
//   if (status != Status::kOk) pass_on(gate, ready)
// source: shm/queue_turn.h pass_on(Gate& gate
//   if (ready()) open_gate(gate, 1)
// source: shm/queue_turn.h wait_at(ThreadContext& me
//   if (deadline.passed()) return false
//   spin_until(ready, look_every)
//   if (deadline.passed()) return false
//   sleep_at(gate, deadline
//   return true
// source: shm/queue_get.cc Queue::get_with(ThreadContext& me
//   !has_items() && !wait_for_items(me, deadline)
//   take_turn(me, control.getting, deadline, control.items
//   control.head.store(head + taken, std::memory_order_release)
//   end_turn(me, control.getting
//   if (deadline.passed()) return Status::kTimedOut
// source: shm/queue.cc put_with(ThreadContext& me
//   take_turn(me, control.putting, deadline, control.room
//   pass_on(control.room
//   wait_for_room(me, deadline)
// source: shm/ordered_queue.cc Status OrderedQueue::get_with(ThreadContext& me
//   take_turn(me, control.changing, deadline, control.items
//   end_turn(me, control.changing
//   if (ends_in_vain(status)) pass_on_items()
//   wait_at(me, control.items, deadline
// source: shm/ordered_queue.cc Status OrderedQueue::put(ThreadContext& me, const Item& item, Word priority, Deadline
//   take_turn(me, control.changing, deadline, control.room, room_for_one)
//   if (ends_in_vain(status)) pass_on(control.room, room_for_one)
//   wait_at(me, control.room, deadline, room_for_one)
// source: shm/ordered_queue_bulk.cc Status OrderedQueue::take_many(ThreadContext& me
//   take_turn(me, control.changing, deadline, control.items
//   if (ends_in_vain(status)) pass_on_items()
//   wait_at(me, control.items, deadline
// source: shm/ordered_queue_bulk.cc Status OrderedQueue::put_many(ThreadContext& me
//   take_turn(me, control.changing, deadline, control.room, room_for_one)
//   if (ends_in_vain(status)) pass_on(control.room, room_for_one)
//   wait_at(me, control.room, deadline, room_for_one)
//
// must fail: NOT_PASSED_ON
#define PROCESSORS 4
#define ADDRESSES 5
#define STORES 2
#define WANTED 0
#define EVENT 1
#define TAIL 2
#define HEAD 3
#define GETTING 4
#include "tso.inc"

inline look_for_items() {
  load(me, TAIL, tail);
  load(me, HEAD, head)
}

inline wake_one() {
  load(me, WANTED, there);
  if
  :: there != 0 ->
     load(me, WANTED, there);
     fetch_add(me, EVENT, 1, unseen);
     futex_wake(me, EVENT, woken);
     if
     :: woken < 1 -> compare_exchange(me, WANTED, there, 0, done)
     :: else
     fi
  :: else
  fi;
  there = 0; woken = 0; done = false
}

proctype consumer(byte me; bool has_deadline) {
  byte seen, now, tail, head, there, woken;
  bool done, late;
  do
  :: look_for_items();
     if
     :: tail == head ->
        if
        :: has_deadline -> break
        :: skip
        fi;
        load(me, EVENT, seen);
        load(me, WANTED, now);
        do
        :: compare_exchange(me, WANTED, now, now + 1, done);
           if
           :: done -> break
           :: else -> load(me, WANTED, now)
           fi
        od;
        now = 0; done = false;
        look_for_items();
        if
        :: tail == head ->
           fall_asleep(me, EVENT, seen);
end_asleep:
           if
           :: AWAKE(me)
           :: d_step { has_deadline && !AWAKE(me) -> sleeps_on[me] = 0; late = true }
           fi
        :: else
        fi
     :: else
     fi;
     seen = 0;
     if
     :: has_deadline -> late = true
     :: skip
     fi;
     if
     :: take_lock(me, GETTING)
     :: late ->  // the lock is another's
        look_for_items();
        if
        :: tail != head && !WITHOUT(NOT_PASSED_ON) -> wake_one()
        :: else
        fi;
        break
     fi;
     look_for_items();
     if
     :: tail != head ->
        store(me, HEAD, head + 1);
        free_lock(me, GETTING);
        break
     :: else -> free_lock(me, GETTING)
     fi;
     if
     :: late -> break
     :: else
     fi;
     tail = 0; head = 0
  od
}

proctype producer(byte me) {
  byte there, woken;
  bool done;
  store(me, TAIL, 1);
  EMPTY(me);  // the exchange that frees its lock
  wake_one()
}

// Somebody else who has the consumers' lock for a while.
proctype peeker(byte me) {
  take_lock(me, GETTING);
  free_lock(me, GETTING)
}

init {
  atomic { run consumer(0, true); run consumer(1, false); run producer(2); run peeker(3) }
  timeout;
  assert(memory[HEAD] == memory[TAIL])
}
