// One of two waiters dies while it waits, perhaps after it was told; a third puts something and notifies one.
// Recovery hands the notification on to the one who waited longest when it was given. The other waiter is not left
// asleep beside what it waits for.
//
// source: shm/condition.cc Condition::forget(ThreadRecord& dead
//   dead.wait_state.load(std::memory_order_acquire)
//   waited(state) == Waited::kWaiting && !change_wait(dead, state, Waited::kNot)
//   waited(state) != Waited::kTold
//   control_->next_ticket.load(std::memory_order_acquire)
//   tell_oldest(below - kWindow, below, wait_note(state))
// source: shm/condition.cc Condition::tell_oldest(Word from
//   waited(state) != Waited::kWaiting || ticket - from >= oldest - from
//   oldest == below
//   tell(found, oldest, note)
// source: shm/condition.cc tell_waiter(ThreadRecord& record
//   change_wait(record, state, Waited::kTold, note)
//   state |= kAsleep
//   change_wait(record, state, Waited::kTold, note)
//   futex_wake(wait_futex(record), 1)
//
// must fail: NOT_HANDED_ON
#define PROCESSORS 4
#define ADDRESSES 12
#define STORES 6
#define LOCK 0
#define READY 1  // what the waiters wait for
#define NEXT_TICKET 2
#define SERVED 3
#define WAIT_STATE 4  // of the two waiters
#define TURN 6
#define RECENT 8  // of four tickets
#include "tso.inc"

// asleep | number | waited
#define kNot 0
#define kWaiting 1
#define kTold 2
#define kAsleep 128

bool died = false;
byte below;  // the note of the one notification: next_ticket when it was given

inline begin_wait(me) {
  load(me, NEXT_TICKET, ticket);
  load(me, WAIT_STATE + me, state);
  store(me, WAIT_STATE + me, state & 124);
  store(me, TURN + me, ticket);
  state = (state & 124) + 4 + kWaiting;
  store(me, WAIT_STATE + me, state);
  store(me, RECENT + ticket, me + 1);
  store(me, NEXT_TICKET, ticket + 1);
  ticket = 0
}

proctype waiter(byte me; bool dies) {
  byte ready, ticket, state, seen;
  bool done;
  take_lock(me, LOCK);
  do
  :: load(me, READY, ready);
     if
     :: ready > 0 -> store(me, READY, ready - 1); break
     :: else
     fi;
     begin_wait(me);
     free_lock(me, LOCK);
     do
     :: load(me, WAIT_STATE + me, seen);
        if
        :: seen != state -> break
        :: else
        fi;
        if
        :: dies -> goto dead
        :: skip
        fi;
        if
        :: state & kAsleep -> skip
        :: else ->
           compare_exchange(me, WAIT_STATE + me, state, state | kAsleep, done);
           if
           :: done -> state = state | kAsleep; done = false
           :: else -> break
           fi
        fi;
        atomic {
          EMPTY(me) ->
          if
          :: (memory[WAIT_STATE + me] & 127) == (state & 127) -> sleeps_on[me] = WAIT_STATE + me + 1
          :: else
          fi
        }
end_asleep:
        if
        :: AWAKE(me)
        :: dies -> sleeps_on[me] = 0; goto dead
        fi
     od;
     if
     :: dies -> goto dead  // it was told
     :: skip
     fi;
     take_lock(me, LOCK);
     load(me, WAIT_STATE + me, seen);
     store(me, WAIT_STATE + me, seen & 124);
     done = false; state = 0; seen = 0; ready = 0
  od;
  free_lock(me, LOCK);
  goto over;
dead:
  EMPTY(me);
  died = true;
over:
  skip
}

inline tell(me, told) {
  load(me, WAIT_STATE + thread, state);
  load(me, TURN + thread, turn);
  if
  :: turn != ticket -> told = false
  :: else ->
     if
     :: (state & 3) != kWaiting -> told = false
     :: else ->
        compare_exchange(me, WAIT_STATE + thread, state, (state & 124) + kTold, told);
        if
        :: !told && !(state & kAsleep) ->
           state = state | kAsleep;
           compare_exchange(me, WAIT_STATE + thread, state, (state & 124) + kTold, told)
        :: else
        fi;
        if
        :: told && (state & kAsleep) -> futex_wake_all(me, WAIT_STATE + thread)
        :: else
        fi
     fi
  fi;
  state = 0; turn = 0
}

proctype notifier(byte me) {
  byte ready, ticket, next, thread, state, turn;
  bool told;
  take_lock(me, LOCK);
  load(me, READY, ready);
  store(me, READY, ready + 1);
  load(me, NEXT_TICKET, next);
  below = next;
  load(me, SERVED, ticket);
  do
  :: told || ticket == next -> break
  :: else ->
     load(me, RECENT + ticket, thread);
     thread--;
     tell(me, told);
     thread = 0;
     ticket++
  od;
  store(me, SERVED, ticket);
  free_lock(me, LOCK)
}

// Of the first waiter. There is one other whom it may tell.
proctype recoverer(byte me) {
  byte ticket, thread, state, turn;
  bool told;
end_nobody_died:
  died;
  do
  :: load(me, WAIT_STATE, state);
     if
     :: (state & 3) == kWaiting ->
        compare_exchange(me, WAIT_STATE, state, state & 124, told);
        if
        :: told -> break
        :: else -> state = 0
        fi
     :: (state & 3) == kNot -> break
     :: else ->  // tell_oldest
        if
        :: WITHOUT(NOT_HANDED_ON) -> break
        :: else -> skip
        fi;
        thread = 1;
        do
        :: load(me, WAIT_STATE + 1, state);
           load(me, TURN + 1, ticket);
           if
           :: (state & 3) != kWaiting || ticket >= below -> break
           :: else ->
              tell(me, told);
              if
              :: told -> break
              :: else
              fi
           fi
        od;
        break
     fi
  od
}

init {
  atomic { run waiter(0, true); run waiter(1, false); run notifier(2); run recoverer(3) }
  timeout;
  assert(memory[READY] == 0 || sleeps_on[1] == 0)
}
