// A thread waits for an item, another watches the queue for a descriptor, and a third thread of their process closes the
// queue, which no change in the segment tells: it sets a flag, then wakes all who sleep at the queue, and the thread of the
// descriptors. In the same way a queue is shut down, whose flag is in the segment. A waiter reads the futex's word before
// it looks at the flag, so it finds the flag, or the word changed. The order alone, no fence: whoever wakes raises the
// word by a locked instruction.
//
// source: proxy/queue.cc void queue_close(Object& queue)
//   closed.set.exchange(true, std::memory_order_seq_cst)
//   shm::AnyQueue::wake(queue.address())
//   WatchHub::instance().kick()
// source: shm/queue.cc Queue::shut_down(ThreadContext& me
//   control.ended.store(end, std::memory_order_seq_cst)
//   wake(where_)
// source: shm/ordered_queue.cc OrderedQueue::shut_down(ThreadContext& me
//   control_->ended.store(end, std::memory_order_seq_cst)
//   wake(where_)
// source: shm/queue_repair.cc void Queue::wake(const ObjectAddress& where)
//   wake_all(control->items)
// source: shm/ordered_queue_repair.cc void OrderedQueue::wake(const ObjectAddress& where)
//   wake_all(control->items)
// source: shm/gate.cc void wake_all(Gate& gate)
//   gate.event.fetch_add(1, std::memory_order_seq_cst)
//   futex_wake_all(gate.event)
// source: shm/queue_turn.h bool wait_at(ThreadContext& me
//   if (deadline.passed()) return false
//   sleep_at(gate, deadline, [&] { return ready() || deadline.is_cancelled(); })
// source: shm/gate.h sleep_at(Gate& gate
//   gate.event.load(std::memory_order_seq_cst)
//   if (ready()) return
//   futex_wait(gate.event, seen
// source: shm/deadline.h bool is_set() const
//   set.load(std::memory_order_seq_cst)
// source: shm/deadline.h bool passed() const
//   is_cancelled()
// source: proxy/watch_hub.cc void WatchHub::kick()
//   kicks_.fetch_add(1, std::memory_order_seq_cst)
//   shm::futex_wake_all(kicks_)
// source: proxy/watch_hub.cc void WatchHub::run()
//   kicks_.load(std::memory_order_seq_cst)
//   watch->look(shm::Deadline::already())
//   sleep_on(futexes
// source: proxy/watch_hub.cc bool WatchState::look(shm::Deadline deadline)
//   is_closed_here(*object)
// source: proxy/watch_hub.cc bool is_closed_here(Object& object)
//   closed.set.load(std::memory_order_seq_cst)
//
// must fail: WOKEN_FIRST WORD_READ_LATE
#define PROCESSORS 3
#define ADDRESSES 3
#define STORES 2
#define EVENT 0
#define KICKS 1
#define CLOSED 2
#include "tso.inc"

// Of the queue's gate, or of the thread of the descriptors.
proctype sleeper(byte me; byte word) {
  byte seen, closed;
  do
  :: load(me, CLOSED, closed);
     if
     :: closed -> break
     :: else
     fi;
     if
     :: WITHOUT(WORD_READ_LATE) -> skip
     :: else -> load(me, word, seen)
     fi;
     load(me, CLOSED, closed);
     if
     :: closed -> break
     :: else
     fi;
     if
     :: WITHOUT(WORD_READ_LATE) -> load(me, word, seen)
     :: else -> skip
     fi;
     futex_wait(me, word, seen);
     seen = 0
  od
}

inline wake_all(word) {
  fetch_add(me, word, 1, unseen);
  futex_wake_all(me, word)
}

proctype closer(byte me) {
  if
  :: WITHOUT(WOKEN_FIRST) -> wake_all(EVENT); wake_all(KICKS); exchange(me, CLOSED, 1, unseen)
  :: else -> exchange(me, CLOSED, 1, unseen); wake_all(EVENT); wake_all(KICKS)
  fi
}

init { atomic { run sleeper(0, EVENT); run sleeper(1, KICKS); run closer(2) } }
