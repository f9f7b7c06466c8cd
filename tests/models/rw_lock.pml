// Two readers and a writer, who takes the lock twice. A reader announces itself and then looks whether somebody
// writes, a writer takes the word and then looks for announcements: one sees the other. `readers_seen` spares the
// writer that look, and `draining` spares a reader that goes the wake-up. Readers and the writer are never inside
// together, a reader sees all that a writer wrote, and nobody is left asleep.
//
// source: shm/rw_lock.h bool share_free(ThreadContext& me) const
//   me.announce_shared(where_.control)
//   control_->word.state.load(std::memory_order_seq_cst) == 0
//   control_->readers_seen.load(std::memory_order_seq_cst) != 0
//   me.retract_last_shared(where_.control)
//   reader_gone()
// source: shm/rw_lock.h void reader_gone() const
//   control_->draining.load(std::memory_order_seq_cst) != 0
//   wake_writer()
// source: shm/rw_lock.cc RwLock::readable() const
//   control_->word.state.load(std::memory_order_seq_cst) == 0
//   control_->readers_seen.load(std::memory_order_seq_cst) != 0
//   control_->readers_seen.store(1, std::memory_order_seq_cst)
// source: shm/rw_lock.cc RwLock::acquire_shared(ThreadContext& me
//   share_free(me)
//   me.announce_shared(where_.control)
//   readable()
//   me.retract_shared(where_.control)
//   reader_gone()
//   lock(me, control_->word, deadline)
//   me.announce_shared(where_.control)
//   control_->readers_seen.store(1, std::memory_order_seq_cst)
//   unlock(me, control_->word)
// source: shm/rw_lock.cc RwLock::acquire(ThreadContext& me
//   lock(me, control_->word, deadline)
//   control_->readers_seen.load(std::memory_order_seq_cst) != 0
//   drain(me, deadline)
// source: shm/rw_lock.cc RwLock::drain(ThreadContext& me
//   control_->draining.store(1, std::memory_order_seq_cst)
//   control_->drained.load(std::memory_order_seq_cst)
//   each_reader(
//   control_->readers_seen.store(0, std::memory_order_seq_cst)
//   futex_wait(control_->drained, before
//   control_->draining.store(0, std::memory_order_release)
// source: shm/rw_lock.cc RwLock::wake_writer() const
//   control_->drained.fetch_add(1, std::memory_order_seq_cst)
//   futex_wake_all(control_->drained)
// source: shm/thread_context.h bool announce_shared(Offset control)
//   record_->announced[depth_++].exchange(mark, std::memory_order_seq_cst)
// source: shm/thread_context.h bool retract_last_shared(Offset control)
//   record_->announced[--depth_].exchange(0, std::memory_order_seq_cst)
//
// must fail: NO_FENCE_ANNOUNCE NO_FENCE_RETRACT NO_FENCE_SEEN NO_FENCE_DRAINING WORD_READ_ONCE
#define PROCESSORS 3
#define ADDRESSES 7
#define STORES 2
#define ANNOUNCED0 0
#define ANNOUNCED1 1
#define WORD 2
#define SEEN 3
#define DRAINED 4
#define DRAINING 5
#define DATA 6
#include "tso.inc"

byte inside = 0;
byte written = 0;  // complete
bool writing = false;

inline reader_gone(me) {
  load(me, DRAINING, draining);
  if
  :: draining -> fetch_add(me, DRAINED, 1, unseen); futex_wake_all(me, DRAINED)
  :: else
  fi;
  draining = 0
}

proctype reader(byte me) {
  byte word, seen, draining, data, known;
  bool fast = true;
  known = written;
again:
  FENCED_STORE(me, me, 1, NO_FENCE_ANNOUNCE);
  do
  :: load(me, WORD, word);
     if
     :: word != 0 -> break
     :: else
     fi;
     load(me, SEEN, seen);
     if
     :: seen ->
        if
        :: WITHOUT(WORD_READ_ONCE) -> goto shared
        :: else -> load(me, WORD, word)
        fi;
        if
        :: word == 0 -> goto shared
        :: else -> break
        fi
     :: fast && !seen -> break
     :: else -> FENCED_STORE(me, SEEN, 1, NO_FENCE_SEEN)
     fi
  od;
  FENCED_STORE(me, me, 0, NO_FENCE_RETRACT);
  reader_gone(me);
  word = 0; seen = 0;
  if
  :: fast -> fast = false; goto again
  :: else
  fi;
  take_lock(me, WORD);
  exchange(me, me, 1, unseen);
  exchange(me, SEEN, 1, unseen);
  free_lock(me, WORD);
shared:
  inside++;
  assert(!writing);
  load(me, DATA, data);
  assert(data >= known);
  inside--;
  FENCED_STORE(me, me, 0, NO_FENCE_RETRACT);
  reader_gone(me)
}

proctype writer(byte me) {
  byte seen, before, one, two, times = 2;
  do
  :: times > 0 ->
     take_lock(me, WORD);
     load(me, SEEN, seen);
     if
     :: seen ->
        FENCED_STORE(me, DRAINING, 1, NO_FENCE_DRAINING);
        do
        :: load(me, DRAINED, before);
           load(me, ANNOUNCED0, one);
           load(me, ANNOUNCED1, two);
           if
           :: one == 0 && two == 0 -> exchange(me, SEEN, 0, unseen); break
           :: else -> futex_wait(me, DRAINED, before)
           fi
        od;
        store(me, DRAINING, 0)
     :: else
     fi;
     seen = 0; before = 0; one = 0; two = 0;
     writing = true;
     assert(inside == 0);
     store(me, DATA, 3 - times);
     writing = false;
     free_lock(me, WORD);
     written++;
     times--
  :: else -> break
  od
}

init {
  atomic { run reader(0); run reader(1); run writer(2) }
}
