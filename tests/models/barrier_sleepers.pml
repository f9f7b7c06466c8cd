// A barrier of two parties, which they pass twice. Who comes last passes it, and makes a system call only if somebody
// may sleep: `slept` says up to which generation somebody did, and is raised before a sleeper looks at the state for
// the last time, in the kernel, behind a fence of the kernel's. A third party looks on: it sleeps until the first
// generation is over, perhaps so late that the second is under way.
//
// source: shm/barrier.cc Barrier::sleep(ThreadContext& me
//   note_sleeper(state.generation)
//   futex_wait(low_half(control_->state), state.futex()
// source: shm/barrier.cc Barrier::note_sleeper(std::uint32_t generation) const
//   control_->slept.load(std::memory_order_seq_cst)
//   !anybody_slept_in(generation)
//   control_->slept.compare_exchange_weak(seen, (generation + 1) & kGenerationMask, std::memory_order_seq_cst)
// source: shm/barrier.cc Barrier::change(ThreadContext& me
//   control_->state.compare_exchange_strong(expected, to.word(), std::memory_order_acq_rel)
//   anybody_slept_in(from.generation)
//   futex_wake_all(low_half(control_->state))
//
// must fail: NO_FENCE_CHANGER SLEPT_OVERWRITTEN
#define PROCESSORS 3
#define ADDRESSES 2
#define STORES 2
#define STATE 0  // the generation * 2 + how many are inside
#define SLEPT 1  // the last generation in which somebody slept + 1
#include "tso.inc"

inline sleep(me) {
  load(me, SLEPT, slept);
  if
  :: WITHOUT(SLEPT_OVERWRITTEN) -> exchange(me, SLEPT, (now / 2) + 1, unseen)
  :: else ->
     do
     :: slept >= (now / 2) + 1 -> break
     :: else ->
        compare_exchange(me, SLEPT, slept, (now / 2) + 1, done);
        if
        :: done -> break
        :: else -> load(me, SLEPT, slept)
        fi
     od
  fi;
  slept = 0; done = false;
  futex_wait(me, STATE, now)
}

proctype party(byte me; byte rounds) {
  byte now, generation, slept;
  bool done;
  do
  :: rounds > 0 ->
     load(me, STATE, now);
     generation = now / 2;
     if
     :: now % 2 == 0 ->  // the first: goes inside
        compare_exchange(me, STATE, now, now + 1, done);
        if
        :: done ->
           done = false;
           do
           :: load(me, STATE, now);
              if
              :: now / 2 != generation -> break
              :: else -> sleep(me)
              fi
           od;
           rounds--
        :: else
        fi
     :: else ->  // the last
        if
        :: WITHOUT(NO_FENCE_CHANGER) -> store(me, STATE, now + 1); done = true
        :: else -> compare_exchange(me, STATE, now, now + 1, done)
        fi;
        if
        :: done ->
           done = false;
           load(me, SLEPT, slept);
           if
           :: slept >= generation + 1 -> futex_wake_all(me, STATE)
           :: else
           fi;
           slept = 0;
           rounds--
        :: else
        fi
     fi;
     now = 0; generation = 0
  :: else -> break
  od
}

// As who waits for the action of a generation to end, without being one of the parties.
proctype onlooker(byte me) {
  byte now, slept;
  bool done;
  do
  :: load(me, STATE, now);
     if
     :: now / 2 != 0 -> break
     :: else -> sleep(me)
     fi
  od
}

init {
  atomic { run party(0, 2); run party(1, 2); run onlooker(2) }
}
