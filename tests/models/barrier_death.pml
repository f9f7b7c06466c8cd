// Two threads come to a barrier of two parties, and one of them dies: outside, inside, or while it says that all may
// pass. Recovery finishes what it said, or breaks the barrier that it is inside of: after that nobody passes together
// with the dead one. The other is left waiting only if it waits for somebody who never came.
//
// source: shm/barrier.cc Barrier::forget(ThreadContext& me
//   dead.wait_turn.load(std::memory_order_acquire)
//   now.generation != static_cast<std::uint32_t>(turn)
//   settle(now)
//   each_inside(now
//   load().word() != now.word()
//   stop(me, now, false
// source: shm/waiting.cc finish_wake(Segment& segment
//   finish_change()
//   futex_wake_all(
// source: shm/barrier.cc Barrier::finish_change() const
//   settle(now)
//   tell_watchers()
// source: shm/barrier.cc Barrier::change(ThreadContext& me
//   me.announce_wake(&control_->state)
//   control_->state.compare_exchange_strong(expected, to.word(), std::memory_order_acq_rel)
//   settle(to)
//   futex_wake_all(low_half(control_->state))
//   me.retract_wake(&control_->state)
//
// must fail: NOT_FORGOTTEN WAKE_NOT_FINISHED
#define PROCESSORS 3
#define ADDRESSES 5
#define STORES 4
#define STATE 0
#define WAIT_STATE 1  // of the two threads
#define TURN 3
#include "tso.inc"

#define PARTIES 2

#define kFilling 0
#define kPassing 2
#define kBreaking 3
#define kBroken 4
#define kResetting 5
// last | count | generation | phase
#define PHASE(word) ((word) & 7)
#define GENERATION(word) ((word) >> 3 & 3)
#define COUNT(word) ((word) >> 5 & 1)
#define LAST(word) ((word) >> 6)
#define LOW_HALF(word) ((word) & 31)
#define AS(word, phase) ((word) - PHASE(word) + (phase))
#define NEXT(word, phase) (((GENERATION(word) + 1) & 3) << 3 | (phase))
#define UNSETTLED(word) (PHASE(word) == kPassing || PHASE(word) == kBreaking || PHASE(word) == kResetting)

// number | waited
#define kNot 0
#define kWaiting 1
#define kTold 2
#define kRefused 3

bool died = false, announced = false, recovered = false;
byte inside_of;  // the generation that the other thread is inside of

inline settle(me, word) {
  link = LAST(word); steps = COUNT(word);
  do
  :: link == 0 || steps == 0 -> break
  :: else ->
     load(me, WAIT_STATE + link - 1, waits);
     load(me, TURN + link - 1, turn);
     if
     :: (turn & 3) != GENERATION(word) -> break
     :: else
     fi;
     if
     :: (waits & 3) == kWaiting ->
        compare_exchange(me, WAIT_STATE + link - 1, waits,
                         waits - kWaiting + (PHASE(word) == kPassing -> kTold : kRefused), done)
     :: else
     fi;
     link = turn >> 2;
     steps--
  od;
  end_generation(me, word);
  link = 0; steps = 0; waits = 0; turn = 0; done = false
}
inline end_generation(me, word) {
  compare_exchange(me, STATE, word, NEXT(word, (PHASE(word) == kBreaking -> kBroken : kFilling)), done)
}

// `done` afterwards: the state was `now`, and is `to`.
inline change(me) {
  compare_exchange(me, STATE, now, to, done);
  if
  :: done ->
     if
     :: UNSETTLED(to) -> settle(me, to)
     :: else
     fi;
     futex_wake_all(me, STATE);
     done = true
  :: else
  fi
}

// The futex is the low half of the state.
inline fall_asleep_on_low_half(me) {
  d_step {
    EMPTY(me) ->
    if
    :: LOW_HALF(memory[STATE]) == LOW_HALF(now) -> sleeps_on[me] = STATE + 1
    :: else
    fi
  }
}

// Comes once, and may die at any step.
proctype mortal(byte me) {
  byte now, to, link, steps, waits, turn;
  bool done;
  do
  :: if
     :: goto dead
     :: skip
     fi;
     load(me, STATE, now);
     if
     :: PHASE(now) == kFilling && COUNT(now) + 1 >= PARTIES ->
        to = AS(now, kPassing);
        announced = true;
        compare_exchange(me, STATE, now, to, done);
        if
        :: goto dead
        :: skip
        fi;
        if
        :: done ->
           settle(me, to);
           if
           :: goto dead
           :: skip
           fi;
           futex_wake_all(me, STATE);
           announced = false;
           goto over
        :: else  // nobody else can have come
        fi
     :: PHASE(now) == kFilling && COUNT(now) + 1 < PARTIES ->
        store(me, TURN + me, LAST(now) << 2 | GENERATION(now));
        store(me, WAIT_STATE + me, 4 + kWaiting);
        compare_exchange(me, STATE, now, (me + 1) << 6 | (COUNT(now) + 1) << 5 | LOW_HALF(now), done);
        if
        :: done -> goto dead  // inside, sooner or later
        :: else -> store(me, WAIT_STATE + me, 4)
        fi
     :: PHASE(now) == kBroken -> goto over
     :: else  // who changes it would need this one
     fi;
     now = 0; to = 0
  od;
dead:
  EMPTY(me);
  died = true;
over:
  skip
}

proctype recoverer(byte me) {
  byte now, to, link, steps, waits, turn, own;
  bool done, inside;
end_nobody_died:
  died;
  if
  :: announced && !WITHOUT(WAKE_NOT_FINISHED) ->
     load(me, STATE, now);
     if
     :: UNSETTLED(now) -> settle(me, now)
     :: else
     fi;
     futex_wake_all(me, STATE);
     now = 0
  :: else
  fi;
  load(me, WAIT_STATE, waits);
  if
  :: (waits & 3) == kNot || WITHOUT(NOT_FORGOTTEN) -> goto over  // it waited in nothing
  :: else
  fi;
  load(me, TURN, own);
  do
  :: load(me, STATE, now);
     if
     :: GENERATION(now) != (own & 3) -> break
     :: GENERATION(now) == (own & 3) && UNSETTLED(now) -> settle(me, now)
     :: else ->
        inside = (COUNT(now) == 1 && LAST(now) == 1);  // the chain has one link at most
        load(me, STATE, to);
        if
        :: to != now -> skip
        :: to == now && !inside -> break
        :: else ->
           to = AS(now, kBreaking);
           change(me);
           if
           :: done -> break
           :: else
           fi
        fi
     fi;
     now = 0; to = 0
  od;
over:
  recovered = true
}

proctype survivor(byte me; byte rounds) {
  byte now, to, before, generation, link, steps, waits, turn;
  bool done, was_recovered;
  do
  :: rounds == 0 -> break
  :: else ->
     load(me, STATE, now);
     if
     :: PHASE(now) == kFilling && COUNT(now) + 1 >= PARTIES ->
        to = AS(now, kPassing);
        was_recovered = recovered;
        change(me);
        assert(!(done && was_recovered && LAST(now) == 1));
        if
        :: done -> rounds--; done = false
        :: else
        fi
     :: PHASE(now) == kFilling && COUNT(now) + 1 < PARTIES ->
        load(me, WAIT_STATE + me, before);
        store(me, WAIT_STATE + me, before & 252);
        store(me, TURN + me, LAST(now) << 2 | GENERATION(now));
        store(me, WAIT_STATE + me, (before & 252) + 4 + kWaiting);
        compare_exchange(me, STATE, now, (me + 1) << 6 | (COUNT(now) + 1) << 5 | LOW_HALF(now), done);
        if
        :: done ->
           done = false;
           generation = GENERATION(now);
           inside_of = generation;
           do
           :: load(me, STATE, now);
              if
              :: GENERATION(now) != generation -> break
              :: GENERATION(now) == generation && UNSETTLED(now) -> settle(me, now)
              :: else ->
                 fall_asleep_on_low_half(me);
end_waits:
                 AWAKE(me)
              fi
           od;
           generation = 0;
           rounds--
        :: else
        fi;
        load(me, WAIT_STATE + me, before);
        store(me, WAIT_STATE + me, before & 252);
        before = 0
     :: PHASE(now) == kBroken -> break
     :: else -> settle(me, now)
     fi;
     now = 0; to = 0
  od
}

init {
  atomic { run mortal(0); run survivor(1, 2); run recoverer(2) }
  timeout;
  assert(sleeps_on[1] == 0 || (LOW_HALF(memory[STATE]) == (inside_of << 3 | kFilling) && LAST(memory[STATE]) == 2))
}
