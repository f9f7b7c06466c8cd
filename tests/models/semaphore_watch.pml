// Two permits are released one by one. One process waits for a permit, one takes a permit if there is one and gives it
// back, and one watches until there is a permit. The watcher sleeps among the waiters and may be woken in the waiter's
// place. Nobody is left asleep beside a permit.
//
// source: shm/ready_watch.cc class SemaphoreWatch final
//   ready = !semaphore_.announce_waiter(expected_)
// source: shm/semaphore.cc Semaphore::announce_waiter(std::uint32_t& expected) const
//   state.load(std::memory_order_seq_cst)
//   (seen & (kValue | kWaiters)) == 0
//   state.compare_exchange_weak(seen, seen | kWaiters)
//   (seen & kValue) == 0 ? seen | kWaiters : seen
//   return (seen & kValue) == 0
// source: shm/semaphore.cc Semaphore::wait_and_acquire(ThreadContext& me
//   try_acquire(me, slept ? kWaiters : 0, deadline, left)
//   futex_wait(futex_of(state), static_cast<std::uint32_t>(seen | kWaiters)
// source: shm/semaphore.cc Semaphore::release(ThreadContext& me
//   (seen & kWaiters) != 0
//   futex_wake(futex_of(control_->state)
// source: shm/watch.cc wait_for_change(ThreadContext& me
//   watcher.look(me, changed
//   if (slept && (status != Status::kOk || changed)) watcher.hand_on()
//   futex_wait(watcher.futex(), watcher.expected()
//
// must fail: NOT_HANDED_ON NO_MARK
#define PROCESSORS 4
#define ADDRESSES 1
#define STORES 1
#define STATE 0
#define W 128
#define VALUE(state) ((state) & 127)
#include "tso.inc"

inline release() {
  load(me, STATE, seen);
  do
  :: compare_exchange(me, STATE, seen, VALUE(seen) + 1, done);
     if
     :: done -> break
     :: else -> load(me, STATE, seen)
     fi
  od;
  done = false;
  if
  :: seen & W -> futex_wake(me, STATE, woken)
  :: else
  fi;
  seen = 0; woken = 0
}

inline try_acquire(mark) {
  do
  :: load(me, STATE, seen);
     if
     :: VALUE(seen) == 0 -> break
     :: else
     fi;
     compare_exchange(me, STATE, seen, (seen - 1) | mark, got);
     if
     :: got -> break
     :: else
     fi
  od
}

// The waiters' mark, where there is no permit.
inline set_mark() {
  do
  :: (seen & W) == 0 && VALUE(seen) == 0 ->
     compare_exchange(me, STATE, seen, seen | W, done);
     if
     :: done -> done = false; seen = seen | W
     :: else -> load(me, STATE, seen)
     fi
  :: else -> break
  od
}

proctype releaser(byte me) {
  byte seen, woken;
  bool done;
  release();
  release()
}

proctype taker(byte me) {
  byte seen, woken;
  bool done, got;
  try_acquire(0);
  seen = 0;
  if
  :: got -> got = false; release()
  :: else
  fi
}

proctype waiter(byte me) {
  byte seen, woken, mark;
  bool got, done;
  do
  :: try_acquire(mark);
     if
     :: got ->
        if
        :: mark != 0 && VALUE(seen - 1) != 0 -> futex_wake(me, STATE, woken)
        :: else
        fi;
        break
     :: else
     fi;
     load(me, STATE, seen);
     set_mark();
     if
     :: VALUE(seen) == 0 -> futex_wait(me, STATE, seen); mark = W  // from now on: it slept
     :: else
     fi;
     seen = 0
  od
}

proctype watcher(byte me) {
  byte seen, woken;
  bool slept, done;
  do
  :: load(me, STATE, seen);
     if
     :: WITHOUT(NO_MARK) && slept -> skip
     :: else -> set_mark()
     fi;
     if
     :: VALUE(seen) != 0 ->
        if
        :: slept && !WITHOUT(NOT_HANDED_ON) -> futex_wake(me, STATE, woken)
        :: else
        fi;
        break
     :: else -> futex_wait(me, STATE, seen); slept = true
     fi;
     seen = 0
  od
}

init {
  atomic { run releaser(0); run waiter(1); run taker(2); run watcher(3) }
}
