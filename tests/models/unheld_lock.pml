// A waiter frees a lock that names a live thread which does not announce it, as only garbage in the word can say. The
// thread announces a lock before it takes it, by a plain store, and takes its announcement back after it has freed
// the lock. What the waiter goes by is that the thread did not run meanwhile: the kernel counts how often it took the
// thread off its processor, and makes a fence there. The waiter never frees the lock while the thread holds it.
//
// source: shm/recovery.cc free_unheld_lock(ThreadContext& me
//   word.state.load(std::memory_order_acquire)
//   may_hold(segment, record, word, own)
//   rests_of_thread(segment, thread)
//   word.state.load(std::memory_order_acquire)
//   may_hold(segment, record, word, own)
//   word.state.load(std::memory_order_acquire)
//   rests_of_thread(segment, thread) != before
//   recover_word(me, word, owner)
// source: shm/thread_context.h void push(Word announcement)
//   record_->announced[depth_++].store(announcement, std::memory_order_relaxed)
//   std::atomic_signal_fence(std::memory_order_seq_cst)
// source: shm/thread_context.h void pop(Word announcement)
//   std::atomic_signal_fence(std::memory_order_seq_cst)
//   record_->announced[--depth_].store(0, std::memory_order_relaxed)
// source: shm/lock_word.cc Status unlock(ThreadContext& me
//   word.state.exchange(0, std::memory_order_release)
//   me.retract(word)
// source: shm/liveness.cc rests_of_thread(const Segment& segment
//   *state == 'R'
//
// must fail: NO_SECOND_REST NO_SECOND_ANNOUNCEMENT ANNOUNCED_LATE
#define PROCESSORS 2
#define ADDRESSES 2
#define STORES 3
#define WORD 0  // 1: the thread has it; 2: the waiter
#define ANNOUNCED 1
#include "tso.inc"

bool off = false;  // the thread is on no processor
byte rests = 0;
bool holds = false;

// The kernel: takes the thread off its processor, twice at most.
active proctype kernel() {
  do
  :: rests < 2 ->
     atomic { EMPTY(0) -> rests++; off = true }
     off = false
  :: break
  od
}

proctype thread(byte me) provided(!off) {
  byte times = 3;
  bool done;
  do
  :: times > 0 ->
     if
     :: WITHOUT(ANNOUNCED_LATE) -> skip
     :: else -> store(me, ANNOUNCED, 1)
     fi;
     d_step {
       EMPTY(me) ->
       done = (memory[WORD] == 0);
       if
       :: done -> memory[WORD] = 1; holds = true
       :: else
       fi
     }
     if
     :: WITHOUT(ANNOUNCED_LATE) -> store(me, ANNOUNCED, 1)
     :: else -> skip
     fi;
     if
     :: done ->
        d_step { EMPTY(me) -> memory[WORD] = 0; holds = false }
     :: else  // the waiter has it: it would wait
     fi;
     store(me, ANNOUNCED, 0);
     done = false;
     times--
  :: else -> break
  od
}

inline look_at_rests(result) {
  d_step {
    if
    :: off -> result = rests
    :: else -> result = 255
    fi
  }
}

proctype waiter(byte me) {
  byte word, announced, resting, again, left = 2;
  do
  :: left == 0 -> break
  :: else ->
     left--;
     load(me, WORD, word);
     if
     :: word != 1 -> goto no
     :: else
     fi;
     load(me, ANNOUNCED, announced);
     if
     :: announced -> goto no
     :: else
     fi;
     look_at_rests(resting);
     if
     :: resting == 255 -> goto no
     :: else
     fi;
     load(me, WORD, word);
     if
     :: word != 1 -> goto no
     :: else
     fi;
     if
     :: WITHOUT(NO_SECOND_ANNOUNCEMENT) -> skip
     :: else ->
        load(me, ANNOUNCED, announced);
        if
        :: announced -> goto no
        :: else
        fi
     fi;
     load(me, WORD, word);
     if
     :: word != 1 -> goto no
     :: else
     fi;
     if
     :: WITHOUT(NO_SECOND_REST) -> skip
     :: else ->
        look_at_rests(again);
        if
        :: again != resting -> goto no
        :: else
        fi
     fi;
     d_step {
       EMPTY(me) ->
       if
       :: memory[WORD] == 1 -> assert(!holds); memory[WORD] = 2
       :: else
       fi
     }
     break;
no:
     word = 0; announced = 0; resting = 0; again = 0
  od
}

init {
  atomic { run thread(0); run waiter(1) }
}
