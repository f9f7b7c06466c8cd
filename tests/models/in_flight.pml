// A process receives a reference, sends it on to another and drops its own; a third took the same cell for something else
// before, was stopped until that had expired, and goes on. The server sweeps twice, and looks at sessions and flights in either
// order: whoever stored a reference looks whether it counts, the sender's in flight and the receiver's own, so that no
// order of the looks is needed. The object is there as long as somebody was told so, and the receiver is not refused
// unless the flight expired.
//
// source: shm/in_flight.cc Status begin_flight(Segment& segment
//   cell.expires.compare_exchange_strong(free, expires)
//   cell.id.compare_exchange_strong(none, id.word())
//   confirm_reference(segment, id)
//   end_flight(segment, id, begun)
// source: shm/in_flight.cc void end_flight(Segment& segment
//   cell->expires.load(std::memory_order_acquire) != flight.expires
//   cell->id.compare_exchange_strong(word, 0)
//   cell->expires.compare_exchange_strong(expires, 0)
// source: shm/in_flight.cc void mark_in_flight(const Segment& segment
//   cell.id.load(std::memory_order_seq_cst)
// source: shm/in_flight.cc void free_expired_flights(const Segment& segment)
//   cell.expires.load(std::memory_order_acquire)
//   cell.id.load(std::memory_order_acquire)
//   cell.id.compare_exchange_strong(id, 0)
//   cell.expires.compare_exchange_strong(expires, 0)
// source: shm/references.cc void mark_referred(const Segment& segment
//   mark_in_flight(segment, referred)
//   visit_sessions(segment
// source: shm/references.cc void visit_references(const Segment& segment
//   cell.load(std::memory_order_seq_cst)
// source: shm/references.cc try_add_reference(Segment& segment
//   store_cell(segment
//   confirm_reference(segment, id)
// source: shm/sweep.cc int sweep_unreferred_objects(ThreadContext& me
//   free_expired_flights(me.segment())
//   Sweep(me, held).run(gave_up)
//
// must fail: FLIGHT_NOT_CONFIRMED ENDED_FIRST ID_STORED_BLINDLY
#define PROCESSORS 4
#define ADDRESSES 7
#define STORES 2
#define STATE 0
#define SWEEP 1
#define EXPIRES 2
#define ID 3
#define CELLS 4
#define ID_OF_FIRST 6  // the flight in which the object came to the sender
#define kObject 1
#define kAnother 2
#define NO_FENCE_SWEEP 100  // of another model
#define NO_SECOND_LOOK 100
#include "tso.inc"

byte refers = 0;
bool marked, sent = false, expired = false;

inline look_at_cells(cpu) {
  load(cpu, CELLS, one);
  load(cpu, CELLS + 1, two);
  marked = marked || (one || two);
  one = 0; two = 0
}
inline look_at_flights(cpu) {
  load(cpu, ID_OF_FIRST, one);
  load(cpu, ID, two);
  marked = marked || (one == kObject || two == kObject);
  one = 0; two = 0
}
inline look_at_sessions(cpu) {
  marked = false;
  if
  :: look_at_flights(cpu); look_at_cells(cpu)
  :: look_at_cells(cpu); look_at_flights(cpu)
  fi
}
inline look_at_links(cpu) {
  skip
}
inline check_at_end() {
  assert(refers == 0)
}
#include "sweep.inc"

// It finds the cell free when the other one's has expired.
proctype sender(byte me) {
  byte state, word, again;
  bool counts, won, stored;
  exchange(me, CELLS, 1, unseen);
  confirm_reference(me, counts);
  assert(counts);
  counts = false;
  refers++;
  exchange(me, ID_OF_FIRST, 0, unseen);
  compare_exchange(me, EXPIRES, 0, 2, stored);
  if
  :: stored ->
     compare_exchange(me, ID, 0, kObject, stored);
     if
     :: stored ->
        if
        :: WITHOUT(FLIGHT_NOT_CONFIRMED) -> counts = true
        :: else -> confirm_reference(me, counts)
        fi;
        assert(counts);  // for it refers to the object
        counts = false;
        refers--;
        sent = true;
        exchange(me, CELLS, 0, unseen)
     :: else  // it would take the next cell
     fi
  :: else
  fi
}

inline end_flight() {
  load(me, EXPIRES, word);
  if
  :: word == 2 ->
     compare_exchange(me, ID, kObject, 0, won);
     if
     :: won -> compare_exchange(me, EXPIRES, 2, 0, won)
     :: else
     fi
  :: else
  fi;
  word = 0; won = false
}

proctype receiver(byte me) {
  byte state, word, again;
  bool counts, won;
end:
  sent;
  if
  :: WITHOUT(ENDED_FIRST) -> end_flight()
  :: else -> skip
  fi;
  load(me, STATE, state);
  if
  :: IS_LIVE(state) ->
     exchange(me, CELLS + 1, 1, unseen);
     confirm_reference(me, counts)
  :: else
  fi;
  assert(counts || expired);
  if
  :: counts ->
     assert(!destroyed);
     refers++;
     if
     :: WITHOUT(ENDED_FIRST) -> skip
     :: else -> end_flight()
     fi;
     refers--
  :: else
  fi;
  exchange(me, CELLS + 1, 0, unseen)
}

proctype stopped(byte me) {
  bool stored;
  if
  :: WITHOUT(ID_STORED_BLINDLY) -> store(me, ID, kAnother)
  :: else -> compare_exchange(me, ID, 0, kAnother, stored)
  fi
}

proctype server(byte me) {
  byte one, two, word, epoch, sweeps = 2;
  bool won;
  do
  :: sweeps > 0 && !destroyed ->
     // free_expired_flights: the other one's has expired, the sender's may.
     load(me, EXPIRES, word);
     if
     :: word == 0
     :: word == 2
     :: word == 1 || (word == 2 && sweeps == 1) ->
        load(me, ID, one);
        expired = expired || word == 2;
        compare_exchange(me, ID, one, 0, won);
        if
        :: won -> compare_exchange(me, EXPIRES, word, 0, won)
        :: else
        fi
     fi;
     word = 0; one = 0; won = false;
     sweep(me);
     sweeps--
  :: else -> break
  od
}

init {
  atomic {
    memory[STATE] = kLive;
    memory[EXPIRES] = 1;
    memory[ID_OF_FIRST] = kObject;
    run sender(0);
    run receiver(1);
    run stopped(2);
    run server(3)
  }
}
