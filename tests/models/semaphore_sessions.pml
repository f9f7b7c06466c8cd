// Two processes acquire a permit of two and give it back, one of them twice; the other may die anywhere, and is
// recovered. The state has the permits, the session that came last and what it holds; what another holds is in its
// cell, which a switch of the session writes before its compare-and-swap. In the end all permits are there, whoever
// died when.
//
// source: shm/semaphore.cc Semaphore::acquire(ThreadContext& me
//   session_of(seen) == session && (seen & kValue) != 0
//   control_->state.compare_exchange_weak(seen, seen + change
//   try_acquire(me, 0, deadline, left)
// source: shm/semaphore.cc Semaphore::try_acquire(ThreadContext& me
//   lock(me, control_->switching, patience)
//   control_->state.load(std::memory_order_relaxed)
//   switched(seen, session) - 1
//   control_->state.compare_exchange_weak(seen, next | waiters
//   unlock(me, control_->switching)
// source: shm/semaphore.cc Word Semaphore::switched(Word seen
//   session_of(seen) == session
//   before->store(static_cast<std::uint32_t>(held_of(seen)), std::memory_order_release)
//   own->load(std::memory_order_acquire)
// source: shm/semaphore.cc Semaphore::release(ThreadContext& me
//   session_of(seen) == session
//   control_->state.compare_exchange_weak(seen, next
//   HeldLock held(me, control_->switching)
//   released(switched(seen, session), permits, limit_, next)
//   control_->state.compare_exchange_weak(seen, next
// source: shm/semaphore.cc Semaphore::settle(ThreadContext&
//   session_of(seen) != session
//   own->load(std::memory_order_relaxed) == 0
//   state.compare_exchange_weak(seen, switched(seen, session))
//   own->store(0, std::memory_order_release)
//   state.compare_exchange_weak(seen, next
//
// must fail: CELL_WRITTEN_LATE CELL_LEFT
#define PROCESSORS 3
#define ADDRESSES 4
#define STORES 2
#define VALUES short
#define STATE 0
#define SWITCHING 1
#define CELL 2  // of session 1, and of session 2 behind it
#include "tso.inc"

// held | session | value
#define VALUE(word) ((word) & 3)
#define SESSION(word) ((word) >> 2 & 3)
#define HELD(word) ((word) >> 4)
#define WORD(value, session, held) ((held) << 4 | (session) << 2 | (value))

bool died = false, died_switching = false;

// `to` gets `seen` with `own` in the place of its session.
inline switched(me, own) {
  if
  :: SESSION(seen) == own -> to = seen
  :: else ->
     if
     :: SESSION(seen) != 0 && !WITHOUT(CELL_WRITTEN_LATE) -> store(me, CELL + SESSION(seen) - 1, HELD(seen))
     :: else
     fi;
     load(me, CELL + own - 1, held);
     to = WORD(VALUE(seen), own, held);
     held = 0
  fi
}
inline written_late(me, own) {
  if
  :: WITHOUT(CELL_WRITTEN_LATE) && done && SESSION(seen) != 0 && SESSION(seen) != own ->
     store(me, CELL + SESSION(seen) - 1, HELD(seen))
  :: else
  fi
}
inline may_die() {
  if
  :: mortal -> goto dead
  :: skip
  fi
}

// One permit more or less held by session `own`: `step` is what that makes of the state.
inline change(me, own, acquires) {
  do
  :: load(me, STATE, seen);
     if
     :: acquires && VALUE(seen) == 0 -> seen = 0  // it would sleep: there are as many permits as processes
     :: (!acquires || VALUE(seen) != 0) && SESSION(seen) == own ->
        assert(acquires || HELD(seen) > 0);
        to = seen + step;
        may_die();
        compare_exchange(me, STATE, seen, to, done);
        if
        :: done -> break
        :: else
        fi
     :: else ->
        take_lock(me, SWITCHING);
        switching = true;
        do
        :: load(me, STATE, seen);
           if
           :: acquires && VALUE(seen) == 0 -> break
           :: else
           fi;
           switched(me, own);
           assert(acquires || HELD(to) > 0 || memory[STATE] != seen);  // it holds what it gives back
           may_die();
           compare_exchange(me, STATE, seen, to + step, done);
           may_die();
           written_late(me, own);
           if
           :: done -> break
           :: else
           fi
        od;
        may_die();
        free_lock(me, SWITCHING);
        switching = false;
        if
        :: done -> break
        :: else
        fi
     fi
  od;
  seen = 0; to = 0; done = false
}

proctype process(byte me; byte own; bool mortal; byte times) {
  short seen, to, held, step;
  bool done, switching;
  do
  :: times == 0 -> break
  :: else ->
     step = 16 - 1;
     change(me, own, true);
     may_die();
     step = 1 - 16;
     change(me, own, false);
     times--
  od;
  goto over;
dead:
  EMPTY(me);
  died_switching = switching;
  died = true;
over:
  skip
}

proctype recoverer(byte me) {
  short seen, to, held;
  bool done;
end_nobody_died:
  died;
  if
  :: died_switching -> free_lock(me, SWITCHING)  // taken over from the dead one, and freed
  :: else
  fi;
  take_lock(me, SWITCHING);
  do
  :: load(me, STATE, seen);
     if
     :: SESSION(seen) == 2 -> break
     :: else
     fi;
     load(me, CELL + 1, held);
     if
     :: held == 0 -> goto settled
     :: else
     fi;
     held = 0;
     switched(me, 2);
     compare_exchange(me, STATE, seen, to, done);
     written_late(me, 2)
  od;
  if
  :: WITHOUT(CELL_LEFT) -> skip
  :: else -> store(me, CELL + 1, 0)
  fi;
  do
  :: load(me, STATE, seen);
     compare_exchange(me, STATE, seen, WORD(VALUE(seen) + HELD(seen), 0, 0), done);
     if
     :: done -> break
     :: else
     fi
  od;
settled:
  seen = 0; to = 0; held = 0; done = false;
  free_lock(me, SWITCHING)
}

init {
  atomic {
    memory[STATE] = WORD(2, 0, 0);
    run process(0, 1, false, 2);
    run process(1, 2, true, 1);
    run recoverer(2)
  }
  timeout;
  assert(VALUE(memory[STATE]) == 2);
  assert(!died || (memory[CELL + 1] == 0 && SESSION(memory[STATE]) != 2))  // nothing for the next of that number
}
