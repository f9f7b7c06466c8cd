// Two sessions take a reference to an object and drop it again while the server sweeps twice. Who takes one stores
// its cell and then reads the object's state, the sweep condemns the object and then reads the cells. What somebody
// refers to is never destroyed, and nobody is refused what was not destroyed.
//
// source: shm/references.cc try_add_reference(Segment& segment
//   is_there(segment, id)
//   store_cell(segment
//   std::atomic_thread_fence(std::memory_order_seq_cst)
//   confirm_reference(segment, id)
//   segment.at<AtomicWord>(at)->store(0)
// source: shm/references.cc take_cell(ReferencePage& page
//   cell.compare_exchange_strong(free, id)
// source: shm/references.cc confirm_reference(const Segment& segment
//   is_there(segment, id)
//   state_word.load(std::memory_order_seq_cst)
//   object_state(state) != ObjectState::kCondemned
//   sweep.load(std::memory_order_seq_cst)
//   sweep.compare_exchange_strong(seen, sweep_word(sweep_epoch(seen), SweepPhase::kRescued, id.index))
//   return is_there(segment, id)
//   state_word.load(std::memory_order_seq_cst) != state || sweep.load(std::memory_order_seq_cst) != seen
//   return is_there(segment, id)
// source: shm/sweep.cc int run(bool& unfinished)
//   mark()
//   open()
//   condemn()
//   remark_until_committed()
//   destroy_condemned()
//   end_epoch(segment_)
// source: shm/sweep.cc void condemn()
//   change_state(record(index), ObjectState::kCondemned)
//   std::atomic_thread_fence(std::memory_order_seq_cst)
// source: shm/sweep.cc bool remark_until_committed()
//   remark()
//   word.compare_exchange_strong(seen, sweep_word(epoch_, SweepPhase::kCommitted))
//   revive(sweep_rescued(seen))
//   open()
// source: shm/sweep.cc void change_state(ObjectRecord& record
//   record.state.store(
//   std::memory_order_seq_cst
//
// must fail: NO_FENCE_TAKER NO_FENCE_SWEEP NO_SECOND_LOOK
#define PROCESSORS 3
#define ADDRESSES 4
#define STORES 2
#define STATE 0
#define SWEEP 1
#define CELLS 2
#include "tso.inc"

byte refers = 0;  // who was told that its reference counts, and has not begun to drop it
bool refused = false;
bool marked;

inline look_at_sessions(cpu) {
  load(cpu, CELLS, one);
  load(cpu, CELLS + 1, two);
  marked = (one || two);
  one = 0; two = 0
}
inline look_at_links(cpu) {
  skip
}
inline check_at_end() {
  assert(refers == 0)
}
#include "sweep.inc"

proctype session(byte me; byte cell) {
  byte state, word, again;
  bool counts, won;
  load(me, STATE, state);
  if
  :: IS_LIVE(state) ->
     FENCED_STORE(me, cell, 1, NO_FENCE_TAKER);
     confirm_reference(me, counts);
     if
     :: counts ->
        refers++;
        assert(!destroyed);
        refers--
     :: else -> refused = true
     fi;
     exchange(me, cell, 0, unseen)
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
    run session(0, CELLS);
    run session(1, CELLS + 1);
    run server(2)
  }
  timeout;
  assert(!refused || destroyed)
}
