// Two threads come to a barrier of two parties, one of them twice, and a third breaks it, having reset it before or
// not. The barrier has no lock: who comes last, or breaks it, says so by a compare-and-swap of the state, and then
// tells all that are inside, along the chain of their slots; so does everybody who meets the state in between. Of
// each generation all are told the same, it is passed by all parties or by none, and nobody is left asleep. (Here the
// wake-up is always made; barrier_sleepers is about when it is spared.)
//
// source: shm/barrier.cc Barrier::settle(const State& state) const
//   each_inside(state
//   change_wait(record, wait, outcome)
//   control_->state.compare_exchange_strong(expected, next.word(), std::memory_order_acq_rel)
// source: shm/barrier.cc Barrier::each_inside(const State& state
//   record.wait_state.load(std::memory_order_acquire)
//   record.wait_turn.load(std::memory_order_acquire)
//   static_cast<std::uint32_t>(turn) != state.generation
//   visit(at - 1, record, wait)
//   at = static_cast<std::uint32_t>(turn >> 32)
// source: shm/barrier.cc Barrier::change(ThreadContext& me
//   control_->state.compare_exchange_strong(expected, to.word(), std::memory_order_acq_rel)
//   settle(to)
//   anybody_slept_in(from.generation)
//   futex_wake_all(low_half(control_->state))
// source: shm/barrier.cc Barrier::wait(ThreadContext& me
//   change(me, now, now.as(Phase::kPassing))
//   now.phase == Phase::kBroken
//   settle(now)
//   begin_wait(me, where_.control, turn_of(now.generation, now.last))
//   control_->state.compare_exchange_strong(expected, with_me.word(), std::memory_order_acq_rel)
//   wait_inside(me, deadline, now.generation)
//   end_wait(me.record())
// source: shm/barrier.cc Barrier::wait_inside(ThreadContext& me
//   now.generation != generation
//   settle(now)
//   sleep(me, now, deadline, check)
//   record.wait_state.load(std::memory_order_acquire)
// source: shm/waiting.h Word begin_wait(ThreadContext& me
//   record.wait_state.store(with_waited(before, Waited::kNot), std::memory_order_release)
//   record.wait_turn.store(turn, std::memory_order_release)
//   with_waited(before + 4, Waited::kWaiting)
//   record.wait_state.store(state, std::memory_order_release)
// source: shm/barrier.cc Barrier::reset(ThreadContext& me
//   now.phase == Phase::kFilling && now.count == 0
//   now.phase == Phase::kPassing || now.phase == Phase::kResetting
//   stop(me, now, true
// source: shm/barrier.cc Barrier::abort(ThreadContext& me
//   now.phase == Phase::kBroken
//   settle(now)
//   stop(me, now, false
//
// must fail: ENDED_BEFORE_TOLD NO_NUMBERS NOT_WOKEN
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

byte passed[4], broken[4];  // of each generation, how many were told so

inline settle(me, word) {
  if
  :: WITHOUT(ENDED_BEFORE_TOLD) -> end_generation(me, word)
  :: else -> skip
  fi;
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
  if
  :: WITHOUT(ENDED_BEFORE_TOLD) -> skip
  :: else -> end_generation(me, word)
  fi;
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
     if
     :: WITHOUT(NOT_WOKEN) -> skip
     :: else -> futex_wake_all(me, STATE)
     fi;
     done = true
  :: else
  fi
}

// The futex is the low half of the state.
inline futex_wait_on_low_half(me) {
  d_step {
    EMPTY(me) ->
    if
    :: LOW_HALF(memory[STATE]) == LOW_HALF(now) -> sleeps_on[me] = STATE + 1
    :: else
    fi
  }
  AWAKE(me)
}

proctype thread(byte me; byte rounds) {
  byte now, to, before, generation, link, steps, waits, turn;
  bool done;
  do
  :: rounds == 0 -> break
  :: else ->
     load(me, STATE, now);
     if
     :: PHASE(now) == kFilling && COUNT(now) + 1 >= PARTIES ->
        to = AS(now, kPassing);
        change(me);
        if
        :: done -> passed[GENERATION(now)]++; rounds--; done = false
        :: else
        fi
     :: PHASE(now) == kFilling && COUNT(now) + 1 < PARTIES ->
        load(me, WAIT_STATE + me, before);
        store(me, WAIT_STATE + me, before & 252);
        store(me, TURN + me, LAST(now) << 2 | GENERATION(now));
        if
        :: WITHOUT(NO_NUMBERS) -> store(me, WAIT_STATE + me, kWaiting)
        :: else -> store(me, WAIT_STATE + me, (before & 252) + 4 + kWaiting)
        fi;
        compare_exchange(me, STATE, now, (me + 1) << 6 | (COUNT(now) + 1) << 5 | LOW_HALF(now), done);
        if
        :: done ->
           done = false;
           generation = GENERATION(now);
           do
           :: load(me, STATE, now);
              if
              :: GENERATION(now) != generation -> break
              :: GENERATION(now) == generation && UNSETTLED(now) -> settle(me, now)
              :: else ->
                 futex_wait_on_low_half(me)
              fi
           od;
           load(me, WAIT_STATE + me, before);
           if
           :: (before & 3) == kTold -> passed[generation]++
           :: else -> broken[generation]++
           fi;
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

proctype breaker(byte me) {
  byte now, to, link, steps, waits, turn;
  bool done;
  if
  :: skip
  :: do
     :: load(me, STATE, now);
        if
        :: PHASE(now) == kFilling && COUNT(now) == 0 -> break
        :: PHASE(now) == kPassing || PHASE(now) == kResetting -> settle(me, now); break
        :: else -> to = AS(now, kResetting); change(me);
           if
           :: done -> done = false; break
           :: else
           fi
        fi
     od
  fi;
  now = 0; to = 0;
  do
  :: load(me, STATE, now);
     if
     :: UNSETTLED(now) -> settle(me, now)
     :: else ->
        if
        :: COUNT(now) == 0 -> to = NEXT(now, kBroken)
        :: else -> to = AS(now, kBreaking)
        fi;
        change(me);
        if
        :: done -> break
        :: else
        fi
     fi;
     now = 0; to = 0
  od
}

init {
  byte g;
  atomic { run thread(0, 2); run thread(1, 1); run breaker(2) }
  timeout;
  d_step {
    do
    :: g < 4 ->
       assert(passed[g] == 0 || (passed[g] == PARTIES && broken[g] == 0));
       g++
    :: else -> break
    od
  }
}
