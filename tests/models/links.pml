// A session stores a link to an object in a container that is kept, then drops its reference; another takes the link
// out: it notes a reference of its own first, and may put the link back. The server sweeps twice: sessions first,
// then the links of containers, under their locks, and those only if the object was ever stored anywhere. What a
// session or the container leads to is never destroyed. Here the order is what matters; no fence can be left out that
// is not in references.pml.
//
// source: shm/links.cc set_mark(AtomicWord& mark)
//   mark.load(std::memory_order_relaxed) == 0
//   mark.store(1, std::memory_order_seq_cst)
// source: shm/sweep.cc std::vector<bool> roots()
//   mark_referred(segment_, marks)
//   std::atomic_thread_fence(std::memory_order_seq_cst)
// source: shm/sweep.cc bool remark()
//   roots()
//   record(index).stored.load(std::memory_order_seq_cst) != 0
//   each_link(index, visit)
// source: shm/sweep.cc bool mark()
//   marks_ = roots()
//   links_matter(marks_)
//   follow_pending(visit)
//
// must fail: MARKED_LATE LINKS_READ_FIRST TAKEN_FIRST
#define PROCESSORS 3
#define ADDRESSES 7
#define STORES 3
#define STATE 0
#define SWEEP 1
#define CELLS 2
#define STORED 4
#define LINK 5
#define CONTAINER 6  // its lock
#define NO_FENCE_SWEEP 100  // of another model
#define NO_SECOND_LOOK 100
#include "tso.inc"

byte refers = 0;
bool marked;

inline look_at_cells(cpu) {
  load(cpu, CELLS, one);
  load(cpu, CELLS + 1, two);
  marked = marked || (one || two);
  one = 0; two = 0
}
inline look_at_container(cpu) {
  load(cpu, STORED, one);
  if
  :: one && !marked ->
     take_lock(cpu, CONTAINER);
     load(cpu, LINK, two);
     free_lock(cpu, CONTAINER);
     marked = two
  :: else
  fi;
  one = 0; two = 0
}
inline look_at_sessions(cpu) {
  if
  :: WITHOUT(LINKS_READ_FIRST) -> look_at_container(cpu)
  :: else -> look_at_cells(cpu)
  fi
}
inline look_at_links(cpu) {
  if
  :: WITHOUT(LINKS_READ_FIRST) -> look_at_cells(cpu)
  :: else -> look_at_container(cpu)
  fi
}
inline check_at_end() {
  assert(refers == 0 && memory[LINK] == 0)
}
#include "sweep.inc"

// Refers to the object from the beginning.
proctype giver(byte me) {
  if
  :: WITHOUT(MARKED_LATE) -> skip
  :: else -> exchange(me, STORED, 1, unseen)
  fi;
  take_lock(me, CONTAINER);
  store(me, LINK, 1);
  free_lock(me, CONTAINER);
  refers--;
  exchange(me, CELLS, 0, unseen);
  if
  :: WITHOUT(MARKED_LATE) -> exchange(me, STORED, 1, unseen)
  :: else -> skip
  fi
}

proctype taker(byte me) {
  byte state, word, again, link, left = 2;
  bool counts, won;
  do
  :: left == 0 -> break
  :: else ->
     load(me, LINK, link);
     if
     :: link && WITHOUT(TAKEN_FIRST) ->
        take_lock(me, CONTAINER);
        store(me, LINK, 0);
        free_lock(me, CONTAINER);
        exchange(me, CELLS + 1, 1, unseen);
        confirm_reference(me, counts);
        assert(counts);
        break
     :: link && !WITHOUT(TAKEN_FIRST) ->
        load(me, STATE, state);
        counts = false;
        if
        :: IS_LIVE(state) ->
           exchange(me, CELLS + 1, 1, unseen);
           confirm_reference(me, counts)
        :: else
        fi;
        assert(counts);  // nobody else takes it out of the container
        refers++;
        take_lock(me, CONTAINER);
        store(me, LINK, 0);
        free_lock(me, CONTAINER);
        assert(!destroyed);
        if
        :: skip
        :: take_lock(me, CONTAINER); store(me, LINK, 1); free_lock(me, CONTAINER)  // and puts it back
        fi;
        refers--;
        exchange(me, CELLS + 1, 0, unseen);
        break
     :: else -> left--
     fi
  od
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
    memory[CELLS] = 1;
    refers = 1;
    run giver(0);
    run taker(1);
    run server(2)
  }
}
