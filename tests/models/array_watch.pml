// Elements of an array are stored without a fence, and a watcher of the array sleeps until one has changed. One
// writer takes part in barriers and stores twice, the other may not and stores once. No store stays unseen by the
// watcher.
//
// `watched` and `changes` are the halves of one word: what changes both is one compare-and-swap.
//
// source: shm/watch.cc class ArrayWatch final
//   both_.load(std::memory_order_seq_cst)
//   both_.compare_exchange_weak(both, both | 1, std::memory_order_seq_cst)
//   changed = now != expected_
//   !made_barrier_ || !was_set || changed
//   barrier_everywhere()
//   expected_ = now
// source: shm/watch.cc wait_for_change(ThreadContext& me
//   watcher.look(me, changed
//   status != Status::kOk || changed
//   futex_wait(watcher.futex(), watcher.expected()
// source: shm/watch.cc tell_watching(AtomicWord& both
//   both.load(std::memory_order_seq_cst)
//   (seen & 1) == 0
//   both.compare_exchange_weak(seen, (seen & ~Word{1}) + (Word{1} << 32), std::memory_order_seq_cst)
//   futex_wake_all(changes)
// source: shm/array.cc Array::changed() const
//   std::atomic_thread_fence(std::memory_order_seq_cst)
//   control_->watched.load(std::memory_order_seq_cst) == 0
//   tell_watching(
// source: proxy/include/commonhold/array.h void look_after_store(std::uint64_t at) const
//   std::atomic_signal_fence(std::memory_order_seq_cst)
//   marks.redo.load(std::memory_order_relaxed) | marks.watched.load(std::memory_order_relaxed)
//   detail::array_stored(
//
// must fail: NO_FENCE_FOR_ALL NO_FENCE_OUTSIDE BARRIER_ONCE
#define PROCESSORS 3
#define ADDRESSES 4
#define STORES 2
#define WATCHED 2
#define CHANGES 3
#include "tso.inc"

#define TAKING_PART 5  // processors 0 and 2

// Of Array::changed(), behind its fence.
inline tell_watching(me) {
  load(me, WATCHED, seen);
  if
  :: seen != 0 ->
     d_step {
       EMPTY(me) ->
       told = (memory[WATCHED] != 0);
       if
       :: told -> memory[WATCHED] = 0; memory[CHANGES] = memory[CHANGES] + 1
       :: else
       fi
     }
     if
     :: told -> futex_wake_all(me, CHANGES)
     :: else
     fi
  :: else
  fi;
  seen = 0; told = 0
}

proctype writer_that_takes_part(byte me) {
  byte seen, value = 1;
  bool told;
  do
  :: value <= 2 ->
     store(me, 0, value);
     load(me, WATCHED, seen);
     if
     :: seen != 0 -> EMPTY(me); tell_watching(me)
     :: else
     fi;
     value++
  :: else -> break
  od
}

proctype writer_outside(byte me) {
  byte seen;
  bool told;
  store(me, 1, 1);
  FENCE(me, NO_FENCE_OUTSIDE);
  tell_watching(me)
}

inline look() {
  d_step { EMPTY(me) -> was_set = memory[WATCHED]; now = memory[CHANGES] }
  do
  :: was_set -> break
  :: else ->
     d_step {
       EMPTY(me) ->
       done = (memory[WATCHED] == 0 && memory[CHANGES] == now);
       if
       :: done -> memory[WATCHED] = 1
       :: else -> was_set = memory[WATCHED]; now = memory[CHANGES]
       fi
     }
     if
     :: done -> break
     :: else
     fi
  od;
  changed = (now != expected);
  if
  :: WITHOUT(NO_FENCE_FOR_ALL) -> EMPTY(me)
  :: WITHOUT(BARRIER_ONCE) && made_barrier -> skip
  :: else ->
     if
     :: !made_barrier || !was_set || changed -> MEMBARRIER(me, TAKING_PART, owed); made_barrier = true
     :: else
     fi
  fi;
  expected = now;
  now = 0; was_set = 0; done = 0
}

proctype watcher(byte me) {
  byte now, expected, owed, stored0, stored1;
  bool was_set, done, changed, made_barrier;
  look();
  do
  :: load(me, 0, stored0);
     load(me, 1, stored1);
     if
     :: stored0 == 2 && stored1 == 1 -> break
     :: else
     fi;
     stored0 = 0; stored1 = 0;
     do
     :: look();
        if
        :: changed -> changed = false; break
        :: else -> futex_wait(me, CHANGES, expected)
        fi
     od
  od
}

init {
  atomic { run writer_that_takes_part(0); run writer_outside(1); run watcher(2) }
}
