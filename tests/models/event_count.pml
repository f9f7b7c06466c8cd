// Two producers put an item each, two consumers take one each and sleep in between.
//
// Without the consumer's fence it may look for items before others see that it is about to sleep; without the
// producer's, which is the exchange that frees its lock, the producer may look for sleepers before others see the
// item. Either way nobody wakes a consumer that sleeps beside an item.
//
// source: shm/gate.h sleep_at(Gate& gate
//   gate.event.load(std::memory_order_seq_cst)
//   raise_wanted(gate)
//   if (ready()) return
//   futex_wait(gate.event, seen
// source: shm/gate.h raise_wanted(Gate& gate
//   gate.wanted.load(std::memory_order_relaxed)
//   gate.wanted.compare_exchange_weak(now, raised(now), std::memory_order_seq_cst)
// source: shm/gate.h open_gate(Gate& gate
//   gate.wanted.load(std::memory_order_seq_cst) != 0
//   wake_some(gate, count, watchers)
// source: shm/gate.cc wake_some(Gate& gate
//   gate.wanted.load(std::memory_order_seq_cst)
//   gate.event.fetch_add(1, std::memory_order_seq_cst)
//   futex_wake(gate.event, count) < count
//   gate.wanted.compare_exchange_strong(there, there & kWatches, std::memory_order_seq_cst)
// source: shm/queue_turn.h end_turn(ThreadContext& me
//   unlock_announced(word)
//   barrier_after_exchange()
//   wake()
// source: shm/lock_word.cc unlock_announced(LockWord& word
//   word.state.exchange(0, std::memory_order_release)
// source: shm/queue.cc put_with(ThreadContext& me
//   take_turn(me, control.putting
//   control.tail.store(tail + now, std::memory_order_release)
//   end_turn(me, control.putting
//   open_gate(control.items
// source: shm/queue_get.cc get_with(ThreadContext& me
//   !has_items() && !wait_for_items(me, deadline)
//   take_turn(me, control.getting
//   control.tail.load(std::memory_order_acquire)
//   control.head.store(head + taken, std::memory_order_release)
//   end_turn(me, control.getting
//
// must fail: NO_FENCE_SLEEPER NO_FENCE_WAKER EVENT_READ_LATE RESET_BLINDLY
#define PROCESSORS 4
#define ADDRESSES 6
#define STORES 2
#define WANTED 0
#define EVENT 1
#define TAIL 2
#define HEAD 3
#define PUTTING 4
#define GETTING 5
#include "tso.inc"

inline look_for_items() {
  load(me, TAIL, tail);
  load(me, HEAD, head)
}

inline raise_wanted() {
  load(me, WANTED, now);
  if
  :: WITHOUT(NO_FENCE_SLEEPER) -> store(me, WANTED, now + 1)
  :: else ->
     do
     :: compare_exchange(me, WANTED, now, now + 1, done);
        if
        :: done -> break
        :: else -> load(me, WANTED, now)
        fi
     od
  fi;
  now = 0;
  done = 0
}

proctype consumer(byte me) {
  byte seen, tail, head, now;
  bool done;
  do
  :: look_for_items();
     if
     :: tail == head ->  // wait_at
        if
        :: WITHOUT(EVENT_READ_LATE) -> skip
        :: else -> load(me, EVENT, seen)
        fi;
        raise_wanted();
        look_for_items();
        if
        :: tail == head ->
           if
           :: WITHOUT(EVENT_READ_LATE) -> load(me, EVENT, seen)
           :: else -> skip
           fi;
           futex_wait(me, EVENT, seen)
        :: else
        fi
     :: else
     fi;
     take_lock(me, GETTING);
     look_for_items();
     if
     :: tail != head ->
        store(me, HEAD, head + 1);
        free_lock(me, GETTING);
        break
     :: else -> free_lock(me, GETTING)
     fi;
     seen = 0; tail = 0; head = 0
  od
}

proctype producer(byte me) {
  byte tail, there, woken;
  bool done;
  take_lock(me, PUTTING);
  load(me, TAIL, tail);
  store(me, TAIL, tail + 1);
  FENCED_STORE(me, PUTTING, 0, NO_FENCE_WAKER);
  load(me, WANTED, there);
  if
  :: there != 0 ->  // wake_some
     load(me, WANTED, there);
     fetch_add(me, EVENT, 1, unseen);
     futex_wake(me, EVENT, woken);
     if
     :: woken < 1 ->
        if
        :: WITHOUT(RESET_BLINDLY) -> store(me, WANTED, 0)
        :: else -> compare_exchange(me, WANTED, there, 0, done)
        fi
     :: else
     fi
  :: else
  fi
}

init {
  atomic { run consumer(0); run consumer(1); run producer(2); run producer(3) }
}
