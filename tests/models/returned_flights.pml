// Two consumers died with an item each of a queue that delivers such items again, and two processes recover one each,
// while a third consumer takes what has come back. `returned` spares consumers the look through the flights: a
// consumer clears it, then looks; recovery returns the flight, then sets it. No item that has come back stays there.
//
// source: shm/ordered_queue.cc OrderedQueue::take_returned(ThreadContext& me
//   control_->returned.exchange(0, std::memory_order_acq_rel) == 0
//   flight.owner.load(std::memory_order_acquire) != kReturned
//   found > 1
//   control_->returned.store(1, std::memory_order_release)
//   first->owner.store(me.owner(), std::memory_order_release)
// source: shm/ordered_queue_bulk.cc Status OrderedQueue::pick_locked(ThreadContext& me
//   control_->returned.exchange(0, std::memory_order_acq_rel) != 0
//   flight.owner.load(std::memory_order_acquire) != kReturned
//   if (!bulk.picks().empty()) control_->returned.store(1, std::memory_order_release)
// source: shm/ordered_queue_repair.cc OrderedQueue::owner_ended(const ObjectAddress& where
//   flight.owner.compare_exchange_strong(expected, kReturned, std::memory_order_seq_cst)
//   control.returned.store(1, std::memory_order_seq_cst)
//   wake_all(control.items)
// source: shm/gate.cc void wake_all(Gate& gate)
//   gate.event.fetch_add(1, std::memory_order_seq_cst)
//   futex_wake_all(gate.event)
//
// must fail: NO_FENCE_CONSUMER RETURNED_LATE FORGETS_OTHERS
#define PROCESSORS 3
#define ADDRESSES 5
#define STORES 4
#define FLIGHT0 0
#define FLIGHT1 1
#define RETURNED 2
#define EVENT 3
#define CHANGING 4
#define kDead 1
#define kReturned 2
#define kMine 3
#include "tso.inc"

proctype recoverer(byte me; byte flight) {
  bool done;
  if
  :: WITHOUT(RETURNED_LATE) ->
     exchange(me, RETURNED, 1, unseen);
     compare_exchange(me, flight, kDead, kReturned, done)
  :: else ->
     compare_exchange(me, flight, kDead, kReturned, done);
     exchange(me, RETURNED, 1, unseen)
  fi;
  fetch_add(me, EVENT, 1, unseen);
  futex_wake_all(me, EVENT)
}

proctype consumer(byte me) {
  byte seen, returned, one, two, taken;
  do
  :: taken == 2 -> break
  :: else ->
     load(me, EVENT, seen);
     load(me, RETURNED, returned);
     if
     :: returned == 0 -> futex_wait(me, EVENT, seen)
     :: else
     fi;
     take_lock(me, CHANGING);
     if
     :: WITHOUT(NO_FENCE_CONSUMER) -> load(me, RETURNED, returned); store(me, RETURNED, 0)
     :: else -> exchange(me, RETURNED, 0, returned)
     fi;
     if
     :: returned ->
        load(me, FLIGHT0, one);
        load(me, FLIGHT1, two);
        if
        :: one == kReturned && two == kReturned && !WITHOUT(FORGETS_OTHERS) -> store(me, RETURNED, 1)
        :: else
        fi;
        if
        :: one == kReturned -> store(me, FLIGHT0, kMine); taken++
        :: one != kReturned && two == kReturned -> store(me, FLIGHT1, kMine); taken++
        :: else
        fi
     :: else
     fi;
     free_lock(me, CHANGING);
     seen = 0; returned = 0; one = 0; two = 0
  od
}

init {
  atomic {
    memory[FLIGHT0] = kDead;
    memory[FLIGHT1] = kDead;
    run recoverer(0, FLIGHT0);
    run recoverer(1, FLIGHT1);
    run consumer(2)
  }
}
