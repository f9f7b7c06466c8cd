// Two producers put an item each; one watches the queue, one sleeps at it until there is an item. The watcher's flag
// is a bit of the event count that sleepers raise. Neither is left asleep beside what it waits for.
//
// source: shm/watch.cc class QueueWatch final
//   control_.changes.load(std::memory_order_seq_cst)
//   set_flag(control_.items)
//   counts(control_)
//   gate.wanted.load(std::memory_order_seq_cst) & kWatches
//   gate.wanted.fetch_or(kWatches, std::memory_order_seq_cst)
//   control.tail.load(std::memory_order_seq_cst)
//   control.puts.load(std::memory_order_seq_cst), control.gets.load(std::memory_order_seq_cst)
// source: shm/queue.cc put_with(ThreadContext& me
//   control.tail.store(tail + now, std::memory_order_release)
//   end_turn(me, control.putting
//   open_gate(control.items
//   &control.changes
// source: shm/ordered_queue.cc Status OrderedQueue::put_locked(ThreadContext& me
//   control_->puts.store(sequence + 1, std::memory_order_release)
// source: shm/ordered_queue.cc Status OrderedQueue::put(ThreadContext& me, const Item& item, Word priority, Deadline
//   put_locked(me, item, priority)
//   end_turn(me, control.changing
//   open_gate(control.items, 1, &control.changes)
// source: shm/ordered_queue_bulk.cc Status OrderedQueue::put_many(ThreadContext& me
//   put_chain_locked(me, items.subspan(done, now), 0)
//   end_turn(me, control.changing
//   open_gate(control.items
//   &control.changes
// source: shm/ordered_queue_repair.cc OrderedQueue::owner_ended(const ObjectAddress& where
//   control.returns.fetch_add(1, std::memory_order_seq_cst)
//   wake_watchers(control.changes)
// source: shm/watch.cc wait_for_change(ThreadContext& me
//   watcher.look(me, changed
//   futex_wait(watcher.futex(), watcher.expected()
// source: shm/gate.cc wake_some(Gate& gate
//   gate.wanted.load(std::memory_order_seq_cst)
//   gate.wanted.fetch_and(~kWatches, std::memory_order_seq_cst) & ~kWatches
//   wake_watchers(*watchers)
//   there == 0
//   gate.event.fetch_add(1, std::memory_order_seq_cst)
//   futex_wake(gate.event, count) < count
//   gate.wanted.compare_exchange_strong(there, there & kWatches, std::memory_order_seq_cst)
// source: shm/gate.cc wake_watchers(std::atomic<std::uint32_t>& futex
//   futex.fetch_add(1, std::memory_order_seq_cst)
//   futex_wake_all(futex)
// source: shm/queue_turn.h end_turn(ThreadContext& me
//   unlock_announced(word)
//   barrier_after_exchange()
//   wake()
//
// must fail: NO_FENCE_WATCHER NO_FENCE_WAKER COUNT_READ_LATE
#define PROCESSORS 4
#define ADDRESSES 5
#define STORES 2
#define WANTED 0
#define EVENT 1
#define CHANGES 2
#define TAIL 3
#define PUTTING 4
#define kWatches 128
#include "tso.inc"

inline look() {
  if
  :: WITHOUT(COUNT_READ_LATE) -> skip
  :: else -> load(me, CHANGES, expected)
  fi;
  load(me, WANTED, now);
  if
  :: now & kWatches -> skip
  :: else ->
     if
     :: WITHOUT(NO_FENCE_WATCHER) -> store(me, WANTED, now | kWatches)
     :: else -> d_step { EMPTY(me) -> memory[WANTED] = memory[WANTED] | kWatches }
     fi
  fi;
  load(me, TAIL, tail);
  changed = (tail != seen);
  seen = tail;
  if
  :: WITHOUT(COUNT_READ_LATE) -> load(me, CHANGES, expected)
  :: else -> skip
  fi;
  now = 0; tail = 0
}

proctype watcher(byte me) {
  byte expected, now, tail, seen, items;
  bool changed;
  look();
  do
  :: load(me, TAIL, items);
     if
     :: items == 2 -> break
     :: else
     fi;
     items = 0;
     do
     :: look();
        if
        :: changed -> changed = false; break
        :: else -> futex_wait(me, CHANGES, expected)
        fi
     od
  od
}

proctype sleeper(byte me) {
  byte seen, now, tail;
  bool done;
  do
  :: load(me, EVENT, seen);
     load(me, WANTED, now);
     do
     :: compare_exchange(me, WANTED, now, now + 1, done);
        if
        :: done -> break
        :: else -> load(me, WANTED, now)
        fi
     od;
     now = 0; done = false;
     load(me, TAIL, tail);
     if
     :: tail != 0 -> break
     :: else -> futex_wait(me, EVENT, seen)
     fi
  od
}

proctype producer(byte me) {
  byte tail, there, woken;
  bool done;
  take_lock(me, PUTTING);
  load(me, TAIL, tail);
  store(me, TAIL, tail + 1);
  FENCED_STORE(me, PUTTING, 0, NO_FENCE_WAKER);
  load(me, WANTED, there);
  if
  :: there != 0 ->
     load(me, WANTED, there);
     if
     :: there & kWatches ->
        d_step { EMPTY(me) -> there = memory[WANTED] & 127; memory[WANTED] = there }
        fetch_add(me, CHANGES, 1, unseen);
        futex_wake_all(me, CHANGES);
        if
        :: there == 0 -> goto over
        :: else
        fi
     :: else
     fi;
     fetch_add(me, EVENT, 1, unseen);
     futex_wake(me, EVENT, woken);
     if
     :: woken < 1 -> compare_exchange(me, WANTED, there, there & kWatches, done)
     :: else
     fi
  :: else
  fi;
over:
  skip
}

init {
  atomic { run watcher(0); run sleeper(1); run producer(2); run producer(3) }
}
