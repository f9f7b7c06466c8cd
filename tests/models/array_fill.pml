// One element of an array, 0 at first: somebody stores 5 into it, somebody adds 1 to it, somebody fills it with 10.
// The first two take no lock and make no fence; who fills makes one for all processes in the middle. Whatever the
// order, each is told what one order of the three explains, and the one who stored and reads twice afterwards sees no
// older value. Who fills may die after the commit: then the change is applied once more.
//
// Each of the first two may also be of a process that does not take part in barriers. What the redo record says is
// 10, so its other fields, and `version`, which tells one change from the next, are left out.
//
// source: shm/array.cc Array::commit(ThreadContext& me
//   control_->redo.store(kRedoClosed, std::memory_order_seq_cst)
//   wait_for_element_changes(me
//   control_->redo.store(redo, std::memory_order_seq_cst)
//   change.apply(data_)
//   end_change_of_many(*control_)
// source: shm/array.cc end_change_of_many(ArrayControl& control
//   control.redo.store(0, std::memory_order_release)
// source: shm/array_redo.cc wait_for_element_changes(ThreadContext& me
//   barrier_everywhere()
//   record.storing.load(std::memory_order_seq_cst)
// source: shm/array.cc Array::store(ThreadContext& me
//   marks_->redo.load(std::memory_order_acquire) == 0
//   put_element(at, in, element_bytes_)
//   marks_->redo.load(std::memory_order_relaxed)
//   settle_store(me, index)
//   may_store(where_.segment->offset_of(at))
//   put_element(at, in, element_bytes_)
//   settle_store(me, index)
//   HeldLock held(me, control_->writing)
//   put_element(at, in, element_bytes_)
// source: shm/array.cc Array::settle_store(ThreadContext& me
//   std::atomic_thread_fence(std::memory_order_seq_cst)
//   !may_store(
//   HeldLock held(me, control_->writing)
// source: shm/array.cc Array::may_store(Offset at) const
//   redo == 0
//   control_->redo.load(std::memory_order_seq_cst) != redo
// source: shm/array.cc Array::begin_change(ThreadContext& me
//   storing.exchange(at, std::memory_order_seq_cst)
//   may_store(at)
//   storing.store(0, std::memory_order_release)
//   lock(me, control_->writing)
// source: proxy/include/commonhold/detail/array_calls.h ElementChange(Object& array, const ArrayMemory& memory
//   storing_->store(memory.data_offset + at, std::memory_order_relaxed)
//   std::atomic_signal_fence(std::memory_order_seq_cst)
//   memory.marks->redo.load(std::memory_order_acquire) == 0
//   begin_slow(array, index)
// source: proxy/include/commonhold/array.h inline T Array<T>::load(std::uint64_t at) const
//   memory_.marks->redo.load(std::memory_order_acquire) == 0
//   element(at).load()
//   memory_.marks->redo.load(std::memory_order_acquire) == 0
//   load_slow(at)
// source: shm/array.cc Array::read_once(std::uint64_t at
//   control_->redo.load(std::memory_order_acquire)
//   get_bytes(out, data_ + at, bytes)
//   redo.put_over(
//   control_->redo.load(std::memory_order_acquire) != word
//
// must fail: NO_FENCE_FOR_ALL NO_FENCE_OUTSIDE NO_FENCE_ADDER_OUTSIDE STORE_UNSETTLED
#define PROCESSORS 3
#define ADDRESSES 4
#define STORES 3
#define ELEMENT 0
#define REDO 1
#define STORING 2  // of the one who adds
#define WRITING 3
#define CLOSED 3
#define FILL 2
#include "tso.inc"

bool storer_takes_part, adder_takes_part;
byte done = 0;
byte added_to, read1, read2;

inline may_store(me, may) {
  do
  :: load(me, REDO, redo);
     if
     :: redo == 0 -> may = true; break
     :: else
     fi;
     load(me, REDO, again);
     if
     :: again == redo -> may = false; break
     :: else
     fi
  od;
  redo = 0; again = 0
}

inline settle_store(me) {
  FENCE(me, NO_FENCE_OUTSIDE);
  may_store(me, may);
  if
  :: !may && !WITHOUT(STORE_UNSETTLED) -> take_lock(me, WRITING); free_lock(me, WRITING)
  :: else
  fi
}

inline load_element(me, value) {
  do
  :: load(me, REDO, redo);
     load(me, ELEMENT, value);
     if
     :: redo == FILL -> value = 10
     :: else
     fi;
     load(me, REDO, again);
     if
     :: again == redo -> break
     :: else
     fi
  od;
  redo = 0; again = 0
}

proctype storer(byte me) {
  byte redo, again;
  bool may;
  if
  :: storer_takes_part -> load(me, REDO, redo)
  :: else -> redo = 1  // kAlwaysSet
  fi;
  if
  :: redo == 0 ->
     store(me, ELEMENT, 5);
     load(me, REDO, redo);
     if
     :: redo != 0 -> settle_store(me)
     :: else
     fi
  :: else ->
     may_store(me, may);
     if
     :: may ->
        store(me, ELEMENT, 5);
        settle_store(me)
     :: else ->
        take_lock(me, WRITING);
        store(me, ELEMENT, 5);
        free_lock(me, WRITING)
     fi
  fi;
  redo = 0; may = false;
  load_element(me, read1);
  load_element(me, read2);
  done++
}

proctype adder(byte me) {
  byte redo, again;
  bool may;
  store(me, STORING, 1);
  if
  :: adder_takes_part -> load(me, REDO, redo)
  :: else -> redo = 1
  fi;
  if
  :: redo == 0 -> may = true
  :: else ->
     FENCED_STORE(me, STORING, 1, NO_FENCE_ADDER_OUTSIDE);
     may_store(me, may);
     if
     :: !may -> store(me, STORING, 0); take_lock(me, WRITING)
     :: else
     fi
  fi;
  fetch_add(me, ELEMENT, 1, added_to);
  if
  :: may -> store(me, STORING, 0)
  :: else -> free_lock(me, WRITING)
  fi;
  done++
}

proctype filler(byte me) {
  byte owed, storing;
  take_lock(me, WRITING);
  exchange(me, REDO, CLOSED, unseen);
  if
  :: WITHOUT(NO_FENCE_FOR_ALL) -> EMPTY(me)
  :: else ->
     owed = storer_takes_part | adder_takes_part << 1 | 4;
     MEMBARRIER(me, owed, owed)
  fi;
  do
  :: load(me, STORING, storing);
     if
     :: storing == 0 -> break
     :: else
     fi
  od;
  exchange(me, REDO, FILL, unseen);
  store(me, ELEMENT, 10);
  if
  :: skip
  :: EMPTY(me); store(me, ELEMENT, 10)  // it died: recovery applies the change again
  fi;
  store(me, REDO, 0);
  free_lock(me, WRITING);
  done++
}

#define FINAL memory[ELEMENT]
#define ORDER(told, last, reads) (added_to == told && FINAL == last && (reads))
#define ONE(value) (read1 == value && read2 == value)
#define BOTH(first, second) (ONE(first) || ONE(second) || (read1 == first && read2 == second))

init {
  if
  :: storer_takes_part = true
  :: storer_takes_part = false
  fi;
  if
  :: adder_takes_part = true
  :: adder_takes_part = false
  fi;
  atomic { run storer(0); run adder(1); run filler(2) }
  done == 3 && EMPTY(0) && EMPTY(1) && EMPTY(2);
  assert(ORDER(5, 10, BOTH(5, 6) || BOTH(5, 10) || BOTH(6, 10))      // store, add, fill
         || ORDER(10, 11, BOTH(5, 10) || BOTH(5, 11) || BOTH(10, 11))  // store, fill, add
         || ORDER(0, 10, BOTH(5, 10))                                  // add, store, fill
         || ORDER(0, 5, ONE(5))                                        // add, fill, store
         || ORDER(5, 6, BOTH(5, 6))                                    // fill, store, add
         || ORDER(10, 5, ONE(5)))                                      // fill, add, store
}
