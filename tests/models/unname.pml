// An object has a name and one reference. A session drops the reference and, if there is no name any more, says that
// something may be destroyed; the server takes the name away and sweeps. One of the two sees what the other did, so
// the object is destroyed in the end.
//
// source: shm/references.cc drop_reference(Segment& segment
//   found->compare_exchange_strong(expected, 0)
//   std::atomic_thread_fence(std::memory_order_seq_cst)
//   load_word(record.name)
//   segment.note_garbage()
// source: shm/object_table.cc Status unname_object(ThreadContext& me, ObjectId id)
//   store(0, std::memory_order_seq_cst)
//
// must fail: NO_FENCE_DROPPER NO_FENCE_UNNAME
#define PROCESSORS 2
#define ADDRESSES 2
#define STORES 2
#define CELL 0
#define NAME 1
#include "tso.inc"

bool noted = false;
bool destroyed = false;

proctype session(byte me) {
  byte name;
  FENCED_STORE(me, CELL, 0, NO_FENCE_DROPPER);
  load(me, NAME, name);
  if
  :: name == 0 -> EMPTY(me); noted = true  // garbage.pml
  :: else
  fi
}

proctype server(byte me) {
  byte cell;
  bool asked = true;
  FENCED_STORE(me, NAME, 0, NO_FENCE_UNNAME);
  do
  :: asked ->
     asked = false;
     load(me, CELL, cell);
     if
     :: cell == 0 -> destroyed = true
     :: else
     fi;
     cell = 0
  :: else ->
end_idle:
     atomic { noted -> noted = false; asked = true }
  od
}

init {
  atomic {
    memory[CELL] = 1;
    memory[NAME] = 1;
    run session(0);
    run server(1)
  }
  timeout;
  assert(destroyed)
}
