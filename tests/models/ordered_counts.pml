// How many items an ordered queue with redelivery holds, and how many are not done, looked at without its lock. One
// process has an item in flight, puts another and says that its own is done. A second one takes that other and dies; the
// item is returned, and taken by a third (all three by one actor here), who says that it is done. What a look says is so
// at one moment of it: exactly what is there when nobody changes anything, and never that all is done before it is, on
// which join() rests. The order of the stores alone, no fence.
//
// source: shm/ordered_queue.cc OrderedQueue::count_items(bool flights_too) const
//   look(control.puts)
//   look(control.gets)
//   look(control.takes)
//   look(control.new_takes)
//   new_takes != 0 && new_takes == takes ? look(control.new_count) : look(control.count)
//   look(flight.owner)
//   look(flight.taken)
//   owner != kReturned && taken >> 1 >= takes
//   if (about_to_be_taken && (taken & kTakenAgain) == 0) return
//   found.here += owner == kReturned || about_to_be_taken
//   look(control.puts) == puts && look(control.gets) == gets && look(control.takes) == takes
// source: shm/ordered_queue.cc bool OrderedQueue::all_done() const
//   found.at_one_moment && found.open == 0
// source: shm/ordered_queue.cc void OrderedQueue::commit_take(Word from_root
//   control.new_count.store(count, std::memory_order_relaxed)
//   control.new_takes.store(takes, std::memory_order_release)
//   control.takes.store(takes, std::memory_order_release)
//   control.count.store(count, std::memory_order_release)
//   control.new_takes.store(0, std::memory_order_release)
//   control.gets.store(
// source: shm/ordered_queue.cc Status OrderedQueue::take_locked(ThreadContext& me
//   flight->taken.store(own(control_->takes) << 1, std::memory_order_relaxed)
//   flight->owner.store(me.owner(), std::memory_order_release)
//   commit_take(1, 0, now)
// source: shm/ordered_queue.cc Status OrderedQueue::take_returned(ThreadContext& me
//   first->taken.store(own(control_->takes) << 1 | kTakenAgain, std::memory_order_relaxed)
//   first->owner.store(me.owner(), std::memory_order_release)
//   commit_take(0, 1, 0)
// source: shm/ordered_queue.cc Status OrderedQueue::put_locked(ThreadContext& me
//   control_->count.store(own(control_->count) + 1, std::memory_order_release)
//   control_->puts.store(sequence + 1, std::memory_order_release)
// source: shm/ordered_queue.cc Status OrderedQueue::finish_flight(ThreadContext& me
//   done->owner.compare_exchange_strong(owner, 0)
// source: shm/ordered_queue_bulk.cc void OrderedQueue::commit_picks(ThreadContext& me
//   pick.flight->taken.store(
//   pick.flight->owner.store(me.owner(), std::memory_order_release)
//   commit_take(
// source: shm/ordered_queue_repair.cc OrderedQueue::owner_ended(const ObjectAddress& where
//   flight.owner.compare_exchange_strong(expected, kReturned, std::memory_order_seq_cst)
//
// must fail: LOOKED_ONCE COUNT_ALONE STAMPS_IGNORED
#define PROCESSORS 3
#define ADDRESSES 11
#define STORES 9
#define CHANGING 0
#define COUNT 1
#define PUTS 2
#define GETS 3
#define TAKES 4
#define NEW_COUNT 5
#define NEW_TAKES 6
#define OWNER 7  // of two flights
#define TAKEN 9  // of the same: twice the stamp, + 1 when it had been returned
#define kFirst 1
#define kDead 2
#define kNext 3
#define kReturned 9
#include "tso.inc"

// How many changes have begun and ended, and what is so when all that have begun have ended.
byte begun = 0, ended = 0, here = 0, open = 1, done_begun = 0;

inline begin() {
  begun++
}
inline end_change(more_here, more_open) {
  atomic { here = here + (more_here); open = open + (more_open); ended++ }
}

inline commit_take(from_root) {
  load(me, COUNT, count);
  load(me, TAKES, takes);
  store(me, NEW_COUNT, count - from_root);
  store(me, NEW_TAKES, takes + 1);
  store(me, TAKES, takes + 1);
  store(me, COUNT, count - from_root);
  store(me, NEW_TAKES, 0);
  load(me, GETS, count);
  store(me, GETS, count + 1);
  count = 0; takes = 0
}

inline task_done(flight, owner) {
  take_lock(me, CHANGING);
  begin();
  done_begun++;
  compare_exchange(me, OWNER + flight, owner, 0, won);
  assert(won);
  won = false;
  end_change(0, -1);
  free_lock(me, CHANGING)
}

proctype putter(byte me) {
  byte count;
  bool won;
  take_lock(me, CHANGING);
  begin();
  load(me, COUNT, count);
  store(me, COUNT, count + 1);
  load(me, PUTS, count);
  store(me, PUTS, count + 1);
  count = 0;
  EMPTY(me);  // the exchange that frees the lock
  end_change(1, 1);
  free_lock(me, CHANGING);
  task_done(0, kFirst)
}

proctype takers(byte me) {
  byte count, takes;
  bool won;
  do
  :: take_lock(me, CHANGING);
     load(me, COUNT, count);
     if
     :: count != 0 -> break
     :: else -> free_lock(me, CHANGING)
     fi
  od;
  count = 0;
  begin();
  load(me, TAKES, takes);
  store(me, TAKEN + 1, takes << 1);
  store(me, OWNER + 1, kDead);
  commit_take(1);
  EMPTY(me);
  end_change(-1, 0);
  free_lock(me, CHANGING);
  begin();
  compare_exchange(me, OWNER + 1, kDead, kReturned, won);
  end_change(1, 0);
  won = false;
  take_lock(me, CHANGING);
  begin();
  load(me, TAKES, takes);
  store(me, TAKEN + 1, takes << 1 | 1);
  store(me, OWNER + 1, kNext);
  commit_take(0);
  EMPTY(me);
  end_change(-1, 0);
  free_lock(me, CHANGING);
  task_done(1, kNext)
}

inline count_flight(flight) {
  load(me, OWNER + flight, owner);
  if
  :: owner != 0 ->
     load(me, OWNER + flight, owner);
     load(me, TAKEN + flight, taken);
     about = (owner != kReturned && (taken >> 1) >= takes && !WITHOUT(STAMPS_IGNORED));
     if
     :: about && (taken & 1) == 0
     :: else ->
        found_open++;
        if
        :: owner == kReturned || about -> found_here++
        :: else
        fi
     fi
  :: else
  fi;
  owner = 0; taken = 0; about = false
}

proctype looker(byte me) {
  byte puts, gets, takes, now, found_here, found_open, owner, taken, begun_before;
  bool about, same = true, alone;
  atomic { alone = (begun == ended); begun_before = begun };
  load(me, PUTS, puts);
  load(me, GETS, gets);
  load(me, TAKES, takes);
  load(me, NEW_TAKES, now);
  if
  :: now != 0 && now == takes && !WITHOUT(COUNT_ALONE) -> load(me, NEW_COUNT, found_here)
  :: else -> load(me, COUNT, found_here)
  fi;
  found_open = found_here;
  count_flight(0);
  count_flight(1);
  if
  :: WITHOUT(LOOKED_ONCE) -> skip
  :: else ->
     load(me, PUTS, now);
     same = same && now == puts;
     load(me, GETS, now);
     same = same && now == gets;
     load(me, TAKES, now);
     same = same && now == takes
  fi;
  atomic {
    if
    :: same ->
       assert(found_open != 0 || done_begun == 2);
       assert(found_open <= 2 && found_here <= 1);
       if
       :: alone && begun == begun_before -> assert(found_here == here && found_open == open)
       :: else
       fi
    :: else
    fi
  }
}

init {
  atomic {
    memory[PUTS] = 1;
    memory[GETS] = 1;
    memory[TAKES] = 1;
    memory[OWNER] = kFirst;
    run putter(0);
    run takers(1);
    run looker(2)
  }
}
