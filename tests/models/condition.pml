// Two threads wait under a lock until there is something to take, one of them no longer than a deadline; a third puts
// something twice and notifies one each time. The waiters are told, in the order of their tickets, by a compare-and-
// swap of their own word, which also says whether they need a wake-up. Each notification that meets a waiter reaches
// one, and the one who waits for ever is not left asleep beside what it waits for.
//
// source: shm/condition.cc Condition::wait(ThreadContext& me
//   begin_wait(me, where_.control, ticket)
//   control_->recent[ticket % kRecentTickets].store(me.index() + 1, std::memory_order_release)
//   control_->next_ticket.store(ticket + 1, std::memory_order_release)
//   lock.release(me)
//   change_wait(record, state, Waited::kNot)
//   fall_asleep(record, state)
//   futex_wait(wait_futex(record)
//   lock.reacquire(me, died)
//   end_wait(record)
// source: shm/waiting.h bool fall_asleep(ThreadRecord& record
//   if ((state & kAsleep) != 0) return record.wait_state.load(std::memory_order_acquire) == state
//   record.wait_state.compare_exchange_strong(seen, state | kAsleep, std::memory_order_acq_rel)
// source: shm/condition.cc Condition::tell_longest(std::uint64_t most) const
//   control_->next_ticket.load(std::memory_order_relaxed)
//   control_->served.load(std::memory_order_relaxed)
//   control_->recent[ticket % kRecentTickets].load(std::memory_order_acquire) - 1
//   tell(thread, ticket, note_of(next))
//   control_->served.store(ticket, std::memory_order_relaxed)
// source: shm/condition.cc Condition::tell(std::uint32_t thread
//   record.wait_state.load(std::memory_order_acquire)
//   record.wait_turn.load(std::memory_order_acquire) != ticket
//   tell_waiter(record, state, note)
// source: shm/condition.cc tell_waiter(ThreadRecord& record
//   waited(state) != Waited::kWaiting
//   change_wait(record, state, Waited::kTold, note)
//   (state & kAsleep) != 0
//   state |= kAsleep
//   change_wait(record, state, Waited::kTold, note)
//   (state & kAsleep) != 0
//   futex_wake(wait_futex(record), 1)
//
// must fail: NO_SECOND_TRY ASLEEP_UNSAID
#define PROCESSORS 3
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

byte notified = 0, received = 0;

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

proctype waiter(byte me; bool has_deadline) {
  byte ready, ticket, state, seen;
  bool done, late;
  take_lock(me, LOCK);
  do
  :: load(me, READY, ready);
     if
     :: ready > 0 -> store(me, READY, ready - 1); break
     :: ready == 0 && late -> break
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
        :: has_deadline ->
           compare_exchange(me, WAIT_STATE + me, state, state & 124, done);
           late = true;
           break
        :: skip
        fi;
        if
        :: state & kAsleep -> skip
        :: WITHOUT(ASLEEP_UNSAID) -> skip
        :: else ->
           compare_exchange(me, WAIT_STATE + me, state, state | kAsleep, done);
           if
           :: done -> state = state | kAsleep; done = false
           :: else -> break
           fi
        fi;
        d_step {  // the futex is the low half
          EMPTY(me) ->
          if
          :: (memory[WAIT_STATE + me] & 127) == (state & 127) -> sleeps_on[me] = WAIT_STATE + me + 1
          :: else
          fi
        }
        if
        :: AWAKE(me)
        :: d_step { has_deadline && !AWAKE(me) -> sleeps_on[me] = 0 }
        fi
     od;
     take_lock(me, LOCK);
     load(me, WAIT_STATE + me, seen);
     if
     :: (seen & 3) == kTold -> received++
     :: else
     fi;
     store(me, WAIT_STATE + me, seen & 124);
     done = false; state = 0; seen = 0; ready = 0
  od;
  free_lock(me, LOCK)
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
        :: !told && !(state & kAsleep) && !WITHOUT(NO_SECOND_TRY) ->
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
  byte ready, ticket, next, thread, state, turn, times = 2;
  bool told;
  do
  :: times == 0 -> break
  :: else ->
     take_lock(me, LOCK);
     load(me, READY, ready);
     store(me, READY, ready + 1);
     load(me, NEXT_TICKET, next);
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
     notified = notified + told;
     free_lock(me, LOCK);
     ready = 0; ticket = 0; next = 0; told = false;
     times--
  od
}

init {
  atomic { run waiter(0, true); run waiter(1, false); run notifier(2) }
  timeout;
  assert(notified == received)
}
