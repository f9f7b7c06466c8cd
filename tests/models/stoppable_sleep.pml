// A thread waits on a futex that nobody wakes, and another thread of its process stops it: the one says where it is about
// to sleep, then looks whether it shall stop; the other says that it shall, then looks where it sleeps, and wakes it until
// it sleeps no longer. A third process wakes the futex for a change that is not the thread's, so it may sleep twice.
//
// source: shm/wait_stop.cc WaitStop::request() noexcept
//   cancel_.set.store(true, std::memory_order_seq_cst)
//   sleeps_on_.load(std::memory_order_seq_cst)
//   futex_wake_all(*futex)
// source: shm/wait_stop.cc WaitStop::sleep(const std::atomic<std::uint32_t>& word
//   sleeps_on_.store(&word, std::memory_order_seq_cst)
//   requested()
//   sleep_on_futex(word, expected
//   sleeps_on_.store(nullptr, std::memory_order_release)
//
// must fail: NO_FENCE_SLEEPER NO_FENCE_STOPPER ONE_WAKE_UP
#define PROCESSORS 3
#define ADDRESSES 3
#define STORES 3
#define FUTEX 0
#define SLEEPS_ON 1
#define STOPPED 2
#include "tso.inc"

proctype sleeper(byte me) {
  byte seen, stopped;
  do
  :: load(me, FUTEX, seen);
     FENCED_STORE(me, SLEEPS_ON, 1, NO_FENCE_SLEEPER);
     load(me, STOPPED, stopped);
     if
     :: stopped == 0 -> futex_wait(me, FUTEX, seen)
     :: else  // a nap
     fi;
     store(me, SLEEPS_ON, 0);
     load(me, STOPPED, stopped);
     if
     :: stopped != 0 -> break
     :: else
     fi
  od
}

proctype stopper(byte me) {
  byte asleep;
  FENCED_STORE(me, STOPPED, 1, NO_FENCE_STOPPER);
  do
  :: load(me, SLEEPS_ON, asleep);
     if
     :: asleep == 0 -> break
     :: else
     fi;
     futex_wake_all(me, FUTEX);
     if
     :: WITHOUT(ONE_WAKE_UP) -> break
     :: else
     fi
  od
}

proctype other(byte me) {
  fetch_add(me, FUTEX, 1, unseen);
  futex_wake_all(me, FUTEX)
}

init { atomic { run sleeper(0); run stopper(1); run other(2) } }
