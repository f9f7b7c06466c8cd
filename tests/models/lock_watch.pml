// Two processes take a lock in turn, and two watch until it is free, of which one is given up at some time: before it
// looks again after a wake-up, too. A watcher sleeps among the waiters and may be woken in a waiter's place. Nobody is
// left asleep beside the free lock, and no wake-up goes from watcher to watcher for ever while the lock is held.
//
// source: shm/ready_watch.cc class LockWatch final
//   word_.state.load(std::memory_order_acquire)
//   (seen & ~kLockWaiters) != 0 && (seen & kLockWaiters) == 0
//   word_.state.compare_exchange_weak(seen, seen | kLockWaiters)
//   ready = (seen & ~kLockWaiters) == 0
//   expected_ = ready ? seen : seen | kLockWaiters
// source: shm/watch.cc wait_for_change(ThreadContext& me
//   watcher.look(me, changed
//   if (slept && (status != Status::kOk || changed)) watcher.hand_on()
//   if (deadline.passed()) return Status::kTimedOut
//   futex_wait(watcher.futex(), watcher.expected()
//   slept = true
// source: shm/watch.cc Watcher::hand_on(const std::atomic<std::uint32_t>& futex)
//   futex_wake(futex, 1)
// source: proxy/watch.cc watch_wait(WatchState& watch
//   watch.look()
//   if (slept) watch.watcher->hand_on()
//   if (deadline.passed())
//   futex_wait(watch.watcher->futex(), expected
//   slept = true
// source: proxy/watch_hub.cc void WatchHub::run()
//   if (stopped_ || one.watch.expired()) shm::Watcher::hand_on(*one.futex)
//   !watch->look(shm::Deadline::already())
//   shared.push_back({watch, futex})
//   watch->watcher->hand_on()
//   sleep_on(futexes
// source: shm/lock_word.cc wait_for_lock(ThreadContext& me
//   state.compare_exchange_strong(seen, me.owner() | kLockWaiters
//   (seen & kLockWaiters) == 0 && !state.compare_exchange_weak(seen, seen | kLockWaiters)
//   futex_wait(state, seen | kLockWaiters
// source: shm/lock_word.cc Status unlock(ThreadContext& me
//   word.state.exchange(0, std::memory_order_release)
//   futex_wake(word.state, 1)
//
// must fail: NOT_HANDED_ON GOES_WITH_WAKE_UP NO_MARK HANDED_ON_ALWAYS
#define PROCESSORS 4
#define ADDRESSES 1
#define STORES 1
#define WORD 0
#define W 128
#include "tso.inc"

byte handed_on = 0;

inline hand_on() {
  handed_on++;
  assert(handed_on <= 2);  // each watcher's last step
  futex_wake(me, WORD, woken);
  woken = 0
}

inline release() {
  exchange(me, WORD, 0, seen);
  if
  :: seen & W -> futex_wake(me, WORD, woken)
  :: else
  fi;
  seen = 0; woken = 0
}

proctype user(byte me; bool has_it) {
  byte seen, woken;
  bool got;
  if
  :: has_it -> release()
  :: else
  fi;
  compare_exchange(me, WORD, 0, me + 1, got);
  do
  :: got -> break
  :: else ->
     load(me, WORD, seen);
     if
     :: (seen & 127) == 0 -> compare_exchange(me, WORD, seen, (me + 1) | W, got); goto again
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
     futex_wait(me, WORD, seen | W);
again:
     seen = 0
  od;
  release()
}

proctype watcher(byte me; bool given_up) {
  byte seen, woken;
  bool slept, marked;
  do
  :: load(me, WORD, seen);
     do
     :: (seen & 127) != 0 && (seen & W) == 0 && !WITHOUT(NO_MARK) ->
        compare_exchange(me, WORD, seen, seen | W, marked);
        if
        :: marked -> marked = false; seen = seen | W
        :: else -> load(me, WORD, seen)
        fi
     :: else -> break
     od;
     if
     :: slept && (WITHOUT(HANDED_ON_ALWAYS) || (seen & 127) == 0 && !WITHOUT(NOT_HANDED_ON)) -> hand_on()
     :: else
     fi;
     if
     :: (seen & 127) == 0 -> break
     :: else
     fi;
     if
     :: given_up -> break  // it has looked
     :: skip
     fi;
     fall_asleep(me, WORD, seen);
     if
     :: AWAKE(me)
     :: d_step { given_up && !AWAKE(me) -> sleeps_on[me] = 0 }
     fi;
     slept = true; seen = 0;
     if
     :: given_up ->  // it will not look
        if
        :: !WITHOUT(GOES_WITH_WAKE_UP) -> hand_on()
        :: else
        fi;
        break
     :: skip
     fi
  od
}

init {
  atomic {
    memory[WORD] = 1;
    run user(0, true);
    run user(1, false);
    run watcher(2, false);
    run watcher(3, true)
  }
}
