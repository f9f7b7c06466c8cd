// A process takes a reference to an object, copies it for a child that it is about to fork, and drops its own; the
// server sweeps meanwhile, and looks at the child's session first. The copy is confirmed only where a sweep is under
// way: a sweep that begins later sees it.
//
// source: shm/references.cc copy_references(Segment& segment
//   ->cells[used++].store(id.word(), std::memory_order_seq_cst)
//   std::atomic_thread_fence(std::memory_order_seq_cst)
//   sweep_phase(segment.header().sweep.load(std::memory_order_seq_cst)) == SweepPhase::kIdle
//   confirm_reference(segment, id)
// source: shm/references.cc drop_reference(Segment& segment
//   found->compare_exchange_strong(expected, 0)
// source: shm/sweep.cc void open()
//   word.store(sweep_word(epoch_, SweepPhase::kOpen), std::memory_order_seq_cst)
// source: shm/sweep.cc void condemn()
//   change_state(record(index), ObjectState::kCondemned)
//   std::atomic_thread_fence(std::memory_order_seq_cst)
//
// must fail: NO_FENCE_FORK UNCONFIRMED
#define PROCESSORS 3  // the third is idle
#define ADDRESSES 4
#define STORES 2
#define STATE 0
#define SWEEP 1
#define CELLS 2
#define NO_FENCE_SWEEP 100   // of another model
#define NO_SECOND_LOOK 100
#include "tso.inc"

bool marked;
bool refers = false;

inline look_at_sessions(cpu) {
  load(cpu, CELLS + 1, two);
  load(cpu, CELLS, one);
  marked = (one || two);
  one = 0; two = 0
}
inline look_at_links(cpu) {
  skip
}
inline check_at_end() {
  assert(!refers)
}
#include "sweep.inc"

proctype parent(byte me) {
  byte state, word, again;
  bool counts, won;
  load(me, STATE, state);
  if
  :: IS_LIVE(state) ->
     exchange(me, CELLS, 1, unseen);
     confirm_reference(me, counts);
     if
     :: counts ->
        FENCED_STORE(me, CELLS + 1, 1, NO_FENCE_FORK);
        load(me, SWEEP, word);
        if
        :: PHASE(word) != kIdle && !WITHOUT(UNCONFIRMED) -> confirm_reference(me, counts)
        :: else
        fi;
        refers = true;  // from here on the child, too
        exchange(me, CELLS, 0, unseen);
        assert(!destroyed);
        refers = false;
        exchange(me, CELLS + 1, 0, unseen)
     :: else -> exchange(me, CELLS, 0, unseen)
     fi
  :: else
  fi
}

proctype server(byte me) {
  byte one, two, word, epoch, sweeps = 2;
  bool won;
  do
  :: sweeps > 0 && !destroyed -> sweep(me); sweeps--
  :: else -> break
  od
}

init {
  atomic {
    memory[STATE] = kLive;
    run parent(0);
    run server(1)
  }
}
