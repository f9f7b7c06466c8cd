// Two threads wait for an event, and two others set and clear it. The word has whether it is set, whether somebody
// may sleep (W), and how often it was set. Whoever began to wait before the event was set goes on, though it was
// cleared again.
//
// source: shm/event.cc Event::set(ThreadContext& me
//   word.load(std::memory_order_relaxed)
//   ((seen & kCount) + kOnce) | kSet
//   (seen & kWaiters) == 0
//   word.compare_exchange_weak(seen, next
//   word.compare_exchange_strong(seen, next
//   futex_wake_all(word)
// source: shm/event.cc Event::clear() const
//   control_->word.fetch_and(~kSet, std::memory_order_acq_rel)
// source: shm/event.cc Event::wait(Deadline deadline) const
//   word.load(std::memory_order_acquire)
//   (seen & kSet) != 0 || (seen & kCount) != count
//   (seen & kWaiters) == 0
//   word.compare_exchange_weak(seen, seen | kWaiters
//   futex_wait(word, count | kWaiters
//   word.load(std::memory_order_acquire)
// source: shm/event.cc Event::announce_waiter() const
//   control_->word.fetch_or(kWaiters, std::memory_order_acq_rel) | kWaiters
// source: shm/ready_watch.cc class EventWatch final
//   expected_ = event_.announce_waiter()
//   event_.is_set() || Event::times_set(before) != Event::times_set(expected_)
//
// must fail: NO_COUNT NO_MARK
#define PROCESSORS 4
#define ADDRESSES 1
#define STORES 1
#define WORD 0
#define kSet 1
#define kWaiters 2
#define kOnce 4
#define COUNT(word) ((word) & 252)
#include "tso.inc"

bool waits[2], must_go_on[2];

proctype setter(byte me) {
  byte seen, next;
  bool done;
  load(me, WORD, seen);
  do
  :: if
     :: seen & kSet -> next = seen
     :: (seen & kSet) == 0 && WITHOUT(NO_COUNT) -> next = COUNT(seen) | kSet
     :: (seen & kSet) == 0 && !WITHOUT(NO_COUNT) -> next = (COUNT(seen) + kOnce) | kSet
     fi;
     d_step {
       EMPTY(me) ->
       done = (memory[WORD] == seen);
       if
       :: done ->
          memory[WORD] = next;
          must_go_on[0] = must_go_on[0] || waits[0];
          must_go_on[1] = must_go_on[1] || waits[1]
       :: else
       fi
     }
     if
     :: done && (seen & kWaiters) -> futex_wake_all(me, WORD); break
     :: done && !(seen & kWaiters) -> break
     :: else -> load(me, WORD, seen)
     fi
  od;
  atomic { EMPTY(me) -> memory[WORD] = memory[WORD] & 254 }  // clear
}

proctype waiter(byte me) {
  byte seen, count, mark;
  bool marked;
  d_step { seen = memory[WORD]; waits[me] = true }
  count = COUNT(seen);
  do
  :: (seen & kSet) || COUNT(seen) != count -> break
  :: else ->
     marked = true;
     mark = kWaiters;
     if
     :: WITHOUT(NO_MARK) -> mark = 0
     :: (seen & kWaiters) == 0 && !WITHOUT(NO_MARK) -> compare_exchange(me, WORD, seen, seen | kWaiters, marked)
     :: else
     fi;
     if
     :: marked ->
        fall_asleep(me, WORD, count | mark);
end_asleep:
        AWAKE(me)
     :: else
     fi;
     load(me, WORD, seen)
  od;
  waits[me] = false;
  must_go_on[me] = false
}

init {
  atomic { run waiter(0); run waiter(1); run setter(2); run setter(3) }
  timeout;
  assert(!must_go_on[0] && !must_go_on[1])
}
