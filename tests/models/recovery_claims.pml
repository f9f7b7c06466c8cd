// A session is dead, and two processes, one of which may die over it, recover whoever is dead; a third makes a new
// session of a record as soon as it is free. Whoever recovers a session has claimed it in its state, and who recovers
// a recoverer takes over what that one had claimed. Nobody recovers a session that lives, no two live processes
// recover one, and in the end all that died is recovered.
//
// source: shm/recovery.cc Status recover_session(Segment& segment
//   record_state.load(std::memory_order_acquire)
//   session_state(state) == SessionState::kFree
//   session_state(state) == SessionState::kRecovering
//   recoverer_is_dead(segment, state)
//   !session_is_dead(segment, dead) || !record_state.compare_exchange_strong(state, claimed_by(me, state))
//   inherit(segment, me, ours)
//   recover_claimed(segment, me, ours)
// source: shm/recovery.cc void inherit(Segment& segment
//   ours[index] || session_state(state) != SessionState::kRecovering
//   !ours[recoverer - 1]
//   other.compare_exchange_strong(state, claimed_by(me, state))
// source: shm/recovery.cc void end_claim(Segment& segment
//   state.store(
// source: shm/liveness.cc bool recoverer_is_dead(const Segment& segment
//   !is_recoverers_generation(state, now) || session_is_dead(segment, recoverer)
//
// must fail: NOT_INHERITED GENERATION_IGNORED UNPROVEN
#define PROCESSORS 3
#define ADDRESSES 3
#define STORES 2
#define VALUES short
#include "tso.inc"

// Sessions 0 (dead at first), 1 and 2. State: generation | generation of the recoverer | recoverer + 1 | state.
#define kFree 0
#define kLive 1
#define kRecovering 2
#define STATE(word) ((word) & 3)
#define RECOVERER(word) ((word) >> 2 & 3)
#define RECOVERERS_GENERATION(word) ((word) >> 4 & 7)
#define GENERATION(word) ((word) >> 7)
#define WORD(generation, state) ((generation) << 7 | (state))
#define CLAIMED(word) (GENERATION(word) << 7 | 1 << 4 | (me + 1) << 2 | kRecovering)

bool dead[3];
bool mortal_is_over = false;
byte recovers[3];  // how many live processes are at that session

// Of session s; the generation that was seen must be the one that is dead.
#define IS_DEAD(s, word) (STATE(word) != kFree && dead[s] && GENERATION(memory[s]) == GENERATION(word))

inline begin(s) {
  recovers[s]++;
  assert(recovers[s] == 1 && dead[s])
}
inline may_die() {
  if
  :: dies -> goto died
  :: skip
  fi
}

proctype process(byte me; bool dies) {
  short word, other;
  byte s, r, vain;
  bool done;
  bool ours[3];
  do
  :: s == 3 ->
     s = 0;
     if
     :: !dead[0] && !dead[1] && !dead[2] && (dies || mortal_is_over) -> break
     :: mortal_is_over && !dies && (dead[0] || dead[1]) -> vain++; assert(vain < 3)  // nobody else is left to do it
     :: else
     fi
  :: s == me -> s++
  :: s != 3 && s != me ->
     load(me, s, word);
     if
     :: STATE(word) == kFree -> goto next
     :: STATE(word) == kRecovering ->
        r = RECOVERER(word) - 1;
        load(me, r, other);
        if
        :: (GENERATION(other) & 7) == RECOVERERS_GENERATION(word) && !IS_DEAD(r, other) -> goto next
        :: else
        fi
     :: else
     fi;
     if
     :: !IS_DEAD(s, word) && !WITHOUT(UNPROVEN) -> goto next
     :: else
     fi;
     may_die();
     if
     :: WITHOUT(GENERATION_IGNORED) ->
        d_step {
          EMPTY(me) ->
          done = (STATE(memory[s]) != kFree);
          if
          :: done -> memory[s] = CLAIMED(word)
          :: else
          fi
        }
     :: else -> compare_exchange(me, s, word, CLAIMED(word), done)
     fi;
     if
     :: !done -> goto next
     :: else
     fi;
     done = false;
     ours[s] = true;
     begin(s);
     may_die();
     // inherit(): the other than the two
     r = 3 - s - me;
     load(me, r, other);
     if
     :: STATE(other) == kRecovering && RECOVERER(other) == s + 1 && !WITHOUT(NOT_INHERITED) ->
        compare_exchange(me, r, other, CLAIMED(other), done);
        if
        :: done -> ours[r] = true; begin(r); done = false
        :: else
        fi
     :: else
     fi;
     may_die();
     r = 0;
     do
     :: r == 3 -> break
     :: else ->
        if
        :: ours[r] ->
           may_die();
           load(me, r, word);
           atomic { recovers[r]--; dead[r] = false }
           store(me, r, WORD(GENERATION(word), kFree));
           ours[r] = false
        :: else
        fi;
        r++
     od;
next:
     word = 0; other = 0; r = 0; done = false;
     s++
  od;
  mortal_is_over = mortal_is_over || dies;
  goto over;
died:
  atomic {
    EMPTY(me) ->
    dead[me] = true;
    mortal_is_over = true;
    recovers[0] = recovers[0] - ours[0];
    recovers[1] = recovers[1] - ours[1];
    recovers[2] = recovers[2] - ours[2]
  }
over:
  skip
}

// Takes a record that is free, with the next generation, and lives.
proctype newcomer(byte me) {
end_none_is_free:
  do
  :: atomic {
       STATE(memory[0]) == kFree ->
       memory[0] = WORD(GENERATION(memory[0]) + 1, kLive);
       break
     }
  od
}

init {
  atomic {
    memory[0] = WORD(1, kLive);
    memory[1] = WORD(1, kLive);
    memory[2] = WORD(1, kLive);
    dead[0] = true;
    run process(1, true);
    run process(2, false);
    run newcomer(0)
  }
  timeout;
  assert(!dead[0] && !dead[1] && STATE(memory[0]) != kRecovering && STATE(memory[1]) != kRecovering)
}
