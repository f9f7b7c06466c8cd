// Three threads take one lock, one of them with a deadline, and let it go again. The word says who holds it and
// whether somebody may sleep (W). Never do two hold it, and nobody is left asleep beside a free lock.
//
// A waiter spins before it sleeps; here it may skip that. One with a deadline may find at any time that it has
// passed.
//
// source: shm/lock_word.cc wait_for_lock(ThreadContext& me
//   state.load(std::memory_order_relaxed) == 0 && take(state, me.owner())
//   state.load(std::memory_order_relaxed)
//   (seen & ~kLockWaiters) == 0
//   state.compare_exchange_strong(seen, me.owner() | kLockWaiters
//   (seen & kLockWaiters) == 0 && !state.compare_exchange_weak(seen, seen | kLockWaiters)
//   if (deadline.passed()) return Status::kTimedOut
//   futex_wait(state, seen | kLockWaiters
// source: shm/lock_word.cc Status unlock(ThreadContext& me
//   word.state.exchange(0, std::memory_order_release)
//   (before & kLockWaiters) != 0
//   futex_wake(word.state, 1)
// source: shm/lock_fast.h bool take_free_lock(ThreadContext& me
//   word.state.compare_exchange_strong(free, me.owner()
// source: shm/lock_fast.h bool free_own_lock(ThreadContext& me
//   word.state.exchange(0, std::memory_order_release)
//   (before & kLockWaiters) != 0
//   wake_waiter(me, word)
// source: shm/lock_fast.h ~TakenLock()
//   word_.state.exchange(0, std::memory_order_release)
//   (before & kLockWaiters) != 0
//   wake_waiter(me_, word_)
// source: shm/lock_word.cc void wake_waiter(ThreadContext& me
//   futex_wake(word.state, 1)
// source: shm/lock_word.cc void unlock_announced(LockWord& word)
//   word.state.exchange(0, std::memory_order_release)
//   futex_wake(word.state, 1)
//
// must fail: TAKEN_WITHOUT_W DEADLINE_FIRST
#define PROCESSORS 3
#define ADDRESSES 1
#define STORES 1
#define WORD 0
#define W 128
#include "tso.inc"

byte holders = 0;

// Whether the deadline is found to have passed.
inline time_passes() {
  if
  :: has_deadline -> late = true
  :: skip
  fi
}

proctype thread(byte me; bool has_deadline; byte times) {
  byte seen, woken;
  bool got, late;
  do
  :: times > 0 ->
     compare_exchange(me, WORD, 0, me + 1, got);
     do
     :: got -> break
     :: else ->
        load(me, WORD, seen);
        if
        :: (seen & 127) == 0 ->
           if
           :: WITHOUT(TAKEN_WITHOUT_W) -> compare_exchange(me, WORD, seen, me + 1, got)
           :: else -> compare_exchange(me, WORD, seen, (me + 1) | W, got)
           fi;
           goto again
        :: else
        fi;
        if
        :: WITHOUT(DEADLINE_FIRST) -> time_passes()
        :: else -> skip
        fi;
        if
        :: late && WITHOUT(DEADLINE_FIRST) -> break
        :: else
        fi;
        if
        :: (seen & W) == 0 ->
           compare_exchange(me, WORD, seen, seen | W, got);
           if
           :: got -> got = false
           :: else -> goto again
           fi
        :: else
        fi;
        time_passes();
        if
        :: late -> break
        :: else
        fi;
        fall_asleep(me, WORD, seen | W);
        if
        :: AWAKE(me)
        :: d_step { has_deadline && !AWAKE(me) -> sleeps_on[me] = 0 }  // its time is over, without a wake-up
        fi;
again:
        seen = 0
     od;
     seen = 0; late = false;
     if
     :: got ->
        got = false;
        holders++;
        assert(holders == 1);
        holders--;
        exchange(me, WORD, 0, seen);
        if
        :: seen & W -> futex_wake(me, WORD, woken)
        :: else
        fi;
        seen = 0; woken = 0
     :: else
     fi;
     times--
  :: else -> break
  od
}

init {
  atomic { run thread(0, false, 2); run thread(1, false, 1); run thread(2, true, 1) }
}
