// Two sessions drop the last references to an object, and the server sweeps when its bell rings, which it does only
// where it did not for what the sweep has not seen yet. Once all is quiet the object is destroyed.
//
// source: shm/references.cc drop_reference(Segment& segment
//   found->compare_exchange_strong(expected, 0)
//   std::atomic_thread_fence(std::memory_order_seq_cst)
//   segment.note_garbage()
// source: shm/segment.h void note_garbage() const
//   header().garbage_noted.fetch_add(1, std::memory_order_seq_cst)
//   noted - header().garbage_swept.load(std::memory_order_seq_cst)
//   ring_bell()
// source: shm/sweep.cc sweep_unreferred_objects(ThreadContext& me
//   header.garbage_noted.load(std::memory_order_acquire)
//   .run(gave_up)
//   header.garbage_noted.fetch_add(own, std::memory_order_relaxed)
//   header.garbage_swept.store(noted, std::memory_order_seq_cst)
//   header.garbage_noted.load(std::memory_order_seq_cst) != noted + own
// source: manager/housekeeper.cc Housekeeper::sweep_when_due(Clock::time_point now)
//   registry_.sweep(&unfinished)
//   sweep_asked_ = true
//
// must fail: NO_FENCE_SWEEPER NO_FENCE_DROPPER NO_LAST_LOOK
#define PROCESSORS 3
#define ADDRESSES 4
#define STORES 2
#define CELL0 0
#define CELL1 1
#define NOTED 2
#define SWEPT 3
#include "tso.inc"

bool bell = false;
bool destroyed = false;

proctype session(byte me; byte cell) {
  byte noted, swept;
  exchange(me, cell, 0, unseen);
  if
  :: WITHOUT(NO_FENCE_DROPPER) -> load(me, NOTED, noted); store(me, NOTED, noted + 1)
  :: else -> fetch_add(me, NOTED, 1, noted)
  fi;
  load(me, SWEPT, swept);
  if
  :: noted == swept -> EMPTY(me); bell = true
  :: else
  fi
}

proctype server(byte me) {
  byte noted, again, one, two;
  bool asked;
  do
  :: asked ->
     asked = false;
     load(me, NOTED, noted);
     load(me, CELL0, one);
     load(me, CELL1, two);
     if
     :: one == 0 && two == 0 && !destroyed ->
        destroyed = true;
        fetch_add(me, NOTED, 1, unseen);
        asked = true  // what it kept may go now
     :: else
     fi;
     FENCED_STORE(me, SWEPT, noted, NO_FENCE_SWEEPER);
     if
     :: WITHOUT(NO_LAST_LOOK) -> skip
     :: else ->
        load(me, NOTED, again);
        if
        :: again != noted + asked -> bell = true
        :: else
        fi
     fi;
     noted = 0; again = 0; one = 0; two = 0
  :: else ->
end_idle:
     bell;
     atomic { EMPTY(me) -> bell = false; asked = true }
  od
}

init {
  atomic {
    memory[CELL0] = 1;
    memory[CELL1] = 1;
    run session(0, CELL0);
    run session(1, CELL1);
    run server(2)
  }
  timeout;
  assert(destroyed)
}
