// A queue under one lock that has room for one item: one puts two items, two take one each. Producers sleep until there
// is room and consumers until there is an item, each at a gate of its own; whoever changed the count under the lock looks
// for sleepers at the other gate when it has freed it. Nobody is left asleep beside an item, or beside room. Likewise
// two ends of a ring (shm/queue.cc), each under its own lock.
//
// source: shm/ordered_queue.cc Status OrderedQueue::put(ThreadContext& me, const Item& item, Word priority, Deadline
//   take_turn(me, control.changing, deadline, control.room, room_for_one)
//   own(control.count) < control.limit
//   put_locked(me, item, priority)
//   end_turn(me, control.changing
//   open_gate(control.items, 1, &control.changes)
//   wait_at(me, control.room, deadline, room_for_one)
// source: shm/ordered_queue.cc Status OrderedQueue::put_locked(ThreadContext& me
//   control_->root.store(now, std::memory_order_release)
//   control_->count.store(own(control_->count) + 1, std::memory_order_release)
// source: shm/ordered_queue.cc bool OrderedQueue::has_items() const
//   control_->count.load(std::memory_order_seq_cst) != 0
//   control_->returned.load(std::memory_order_seq_cst) != 0
//   own(control_->ended) != 0
// source: shm/ordered_queue.cc bool OrderedQueue::has_room() const
//   control_->count.load(std::memory_order_seq_cst) < control_->limit
// source: shm/ordered_queue.cc Status OrderedQueue::get_with(ThreadContext& me
//   take_turn(me, control.changing, deadline, control.items
//   take_locked(me, priority, copy)
//   end_turn(me, control.changing
//   open_gate(control.room, 1, &control.changes)
//   pass_on_items()
//   wait_at(me, control.items, deadline
// source: shm/ordered_queue.cc void OrderedQueue::commit_take(Word from_root
//   control.root.store(now, std::memory_order_release)
//   control.count.store(count, std::memory_order_release)
// source: shm/ordered_queue_bulk.cc Status OrderedQueue::put_many(ThreadContext& me
//   take_turn(me, control.changing, deadline, control.room, room_for_one)
//   put_chain_locked(me, items.subspan(done, now), 0)
//   end_turn(me, control.changing
//   open_gate(control.items, static_cast<int>(std::min<Word>(now, 1 << 20)), &control.changes)
//   wait_at(me, control.room, deadline, room_for_one)
// source: shm/ordered_queue_bulk.cc Status OrderedQueue::put_chain_locked(ThreadContext& me
//   control_->root.store(now, std::memory_order_release)
//   control_->count.store(own(control_->count) + put.size(), std::memory_order_release)
// source: shm/ordered_queue_bulk.cc Status OrderedQueue::take_many(ThreadContext& me
//   take_turn(me, control.changing, deadline, control.items
//   take_many_locked(me, bulk, most, show)
//   end_turn(me, control.changing
//   open_gate(control.room, static_cast<int>(std::min<Word>(room, 1 << 20)), &control.changes)
//   wait_at(me, control.items, deadline
// source: shm/queue.cc bool Queue::has_room() const
//   control.head.load(std::memory_order_seq_cst)
//   own(control.tail) - taken < ring_.limit()
// source: shm/queue.cc put_with(ThreadContext& me
//   take_turn(me, control.putting, deadline, control.room
//   control.head.load(std::memory_order_acquire)
//   end_turn(me, control.putting
//   open_gate(control.items
//   wait_for_room(me, deadline)
// source: shm/queue_get.cc bool Queue::has_items() const
//   control.tail.load(std::memory_order_seq_cst) != control.head.load(std::memory_order_relaxed)
// source: shm/queue_get.cc Status Queue::get_with(ThreadContext& me
//   control.head.store(head + taken, std::memory_order_release)
//   end_turn(me, control.getting
//   open_gate(control.room, static_cast<int>(std::min<Word>(taken, 1 << 20)), &control.changes)
// source: shm/queue_turn.h void end_turn(ThreadContext& me
//   unlock_announced(word)
//   barrier_after_exchange()
//   wake()
// source: shm/gate.h void barrier_after_exchange()
//   std::atomic_signal_fence(std::memory_order_seq_cst)
//   std::atomic_thread_fence(std::memory_order_seq_cst)
//
// must fail: NO_FENCE_SLEEPER NO_FENCE_WAKER NOT_LOOKED_AGAIN
#define PROCESSORS 3
#define ADDRESSES 6
#define STORES 2
#define CHANGING 0
#define COUNT 1
#define ITEMS 2  // a gate: how many sleepers, and the word on which they sleep
#define ROOM 4
#define kLimit 1
#include "tso.inc"

inline sleep_at(gate, nothing_to_do) {
  load(me, gate + 1, seen);
  load(me, gate, now);
  if
  :: WITHOUT(NO_FENCE_SLEEPER) -> store(me, gate, now + 1)
  :: else ->
     do
     :: compare_exchange(me, gate, now, now + 1, done);
        if
        :: done -> break
        :: else -> load(me, gate, now)
        fi
     od
  fi;
  now = 0; done = false;
  load(me, COUNT, count);
  if
  :: count == nothing_to_do || WITHOUT(NOT_LOOKED_AGAIN) -> futex_wait(me, gate + 1, seen)
  :: else
  fi;
  seen = 0; count = 0
}

inline open_gate(gate) {
  load(me, gate, there);
  if
  :: there != 0 ->
     load(me, gate, there);
     fetch_add(me, gate + 1, 1, unseen);
     futex_wake(me, gate + 1, woken);
     if
     :: woken < 1 -> compare_exchange(me, gate, there, 0, done)
     :: else
     fi
  :: else
  fi;
  there = 0; woken = 0; done = false
}

proctype producer(byte me; byte items) {
  byte seen, now, count, there, woken;
  bool done;
  do
  :: items > 0 ->
     take_lock(me, CHANGING);
     load(me, COUNT, count);
     if
     :: count < kLimit ->
        store(me, COUNT, count + 1);
        count = 0;
        FENCED_STORE(me, CHANGING, 0, NO_FENCE_WAKER);
        open_gate(ITEMS);
        items--
     :: else ->
        count = 0;
        free_lock(me, CHANGING);
        sleep_at(ROOM, kLimit)
     fi
  :: else -> break
  od
}

proctype consumer(byte me) {
  byte seen, now, count, there, woken;
  bool done;
  do
  :: take_lock(me, CHANGING);
     load(me, COUNT, count);
     if
     :: count != 0 ->
        store(me, COUNT, count - 1);
        count = 0;
        FENCED_STORE(me, CHANGING, 0, NO_FENCE_WAKER);
        open_gate(ROOM);
        break
     :: else ->
        free_lock(me, CHANGING);
        sleep_at(ITEMS, 0)
     fi
  od
}

init {
  atomic { run producer(0, 2); run consumer(1); run consumer(2) }
}
