// Two permits are released one by one, and three threads acquire one: two wait for ever, one of which gives its
// permit back at once, and one gives up at some time. The state has the permits and whether somebody may sleep (W).
// Nobody is left asleep beside a permit.
//
// The session that came last is in the state as well, which changes who may take the fast way, and nothing of this:
// here all are of one session, and each step is one compare-and-swap.
//
// source: shm/semaphore.cc Semaphore::acquire(ThreadContext& me
//   (seen & kValue) != 0
//   control_->state.compare_exchange_weak(seen, seen + change
//   try_acquire(me, 0, deadline, left)
//   wait_and_acquire(me, deadline)
// source: shm/semaphore.cc bool released(Word seen
//   (seen & ~kWaiters) + permits
// source: shm/semaphore.cc Semaphore::release(ThreadContext& me
//   control_->state.compare_exchange_weak(seen, next
//   (seen & kWaiters) != 0
//   futex_wake(futex_of(control_->state)
// source: shm/semaphore.cc Semaphore::wait_and_acquire(ThreadContext& me
//   try_acquire(me, slept ? kWaiters : 0, deadline, left)
//   slept && (left != 0 || status != Status::kOk)
//   deadline.passed()
//   state.load(std::memory_order_seq_cst)
//   if ((seen & kValue) != 0 && !late) continue
//   state.compare_exchange_weak(seen, seen | kWaiters)
//   slept && (seen & kValue) != 0
//   if ((seen & kValue) != 0) continue
//   futex_wait(futex_of(state), static_cast<std::uint32_t>(seen | kWaiters)
//   slept = true
//
// must fail: TAKEN_WITHOUT_W NO_WAKE_ON NO_WAKE_WHEN_LATE
#define PROCESSORS 4
#define ADDRESSES 1
#define STORES 1
#define STATE 0
#define W 128
#define VALUE(state) ((state) & 127)
#include "tso.inc"

inline release(me) {
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

// Of try_acquire(), and of the fast way: one attempt for as long as there is a permit.
inline try_acquire(me, waiters) {
  do
  :: load(me, STATE, seen);
     if
     :: VALUE(seen) == 0 -> break
     :: else
     fi;
     compare_exchange(me, STATE, seen, (seen - 1) | waiters, got);
     if
     :: got -> break
     :: else
     fi
  od
}

proctype waiter(byte me; bool has_deadline; bool gives_back) {
  byte seen, woken, mark;
  bool got, done, late, slept;
  do
  :: if
     :: slept && !WITHOUT(TAKEN_WITHOUT_W) -> mark = W
     :: else -> mark = 0
     fi;
     try_acquire(me, mark);
     if
     :: got ->
        if
        :: slept && VALUE(seen - 1) != 0 && !WITHOUT(NO_WAKE_ON) -> futex_wake(me, STATE, woken)
        :: else
        fi;
        break
     :: else
     fi;
     if
     :: has_deadline -> late = true
     :: skip
     fi;
     load(me, STATE, seen);
     if
     :: VALUE(seen) != 0 && !late -> goto again
     :: else
     fi;
     do
     :: (seen & W) != 0 -> break
     :: else ->
        compare_exchange(me, STATE, seen, seen | W, done);
        if
        :: done -> done = false; break
        :: else -> load(me, STATE, seen)
        fi
     od;
     if
     :: late ->
        if
        :: slept && VALUE(seen) != 0 && !WITHOUT(NO_WAKE_WHEN_LATE) -> futex_wake(me, STATE, woken)
        :: else
        fi;
        break
     :: else
     fi;
     if
     :: VALUE(seen) != 0 -> goto again
     :: else
     fi;
     fall_asleep(me, STATE, seen | W);
     if
     :: AWAKE(me)
     :: d_step { has_deadline && !AWAKE(me) -> sleeps_on[me] = 0 }
     fi;
     slept = true;
again:
     seen = 0
  od;
  seen = 0; woken = 0; mark = 0; slept = false; late = false;
  if
  :: got && (gives_back || has_deadline) -> got = false; release(me)
  :: else
  fi
}

proctype releaser(byte me) {
  byte seen, woken;
  bool done;
  release(me);
  release(me)
}

init {
  atomic { run waiter(0, false, true); run waiter(1, false, false); run waiter(2, true, false); run releaser(3) }
}
