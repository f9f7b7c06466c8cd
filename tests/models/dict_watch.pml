// One changes a dict twice, another once, each time under the shard's lock; one watches the whole dict. Who finds the
// shard's flag set clears it, raises the count, and wakes once the lock is free. A watcher that finds its flag set
// already does not take the lock. Nothing here is a fence: what carries it is the order of the flag and the count on
// both sides.
//
// source: shm/watch.cc class DictWatch final
//   control_.notes_made.load(std::memory_order_seq_cst)
//   (shard.watched.load(std::memory_order_seq_cst) & kWatchedWhole) != 0
//   TimedLockGuard held(me, shard.writing, deadline)
//   shard.watched.store(
//   changed = now != expected_
// source: shm/watch.cc made_note(DictControl& control
//   shard.watched.store(watched, std::memory_order_seq_cst)
//   control.notes_made.fetch_add(1, std::memory_order_seq_cst)
// source: shm/watch.cc note_dict_change(DictControl& control
//   shard.watched.load(std::memory_order_relaxed)
//   made_note(control, shard, watched & ~kWatchedWhole)
//
// must fail: COUNT_RAISED_FIRST COUNT_READ_LATE
#define PROCESSORS 3
#define ADDRESSES 4
#define STORES 2
#define ENTRY 0
#define WATCHED 1
#define NOTES_MADE 2
#define WRITING 3
#include "tso.inc"

proctype writer(byte me; byte changes) {
  byte entry, watched;
  do
  :: changes > 0 ->
     take_lock(me, WRITING);
     load(me, ENTRY, entry);
     store(me, ENTRY, entry + 1);
     load(me, WATCHED, watched);
     if
     :: watched ->
        if
        :: WITHOUT(COUNT_RAISED_FIRST) -> fetch_add(me, NOTES_MADE, 1, unseen); exchange(me, WATCHED, 0, unseen)
        :: else -> exchange(me, WATCHED, 0, unseen); fetch_add(me, NOTES_MADE, 1, unseen)
        fi
     :: else
     fi;
     free_lock(me, WRITING);
     if
     :: watched -> futex_wake_all(me, NOTES_MADE)
     :: else
     fi;
     entry = 0; watched = 0;
     changes--
  :: else -> break
  od
}

inline look() {
  if
  :: WITHOUT(COUNT_READ_LATE) -> skip
  :: else -> load(me, NOTES_MADE, now)
  fi;
  load(me, WATCHED, watched);
  if
  :: watched -> skip
  :: else ->
     take_lock(me, WRITING);
     store(me, WATCHED, 1);
     free_lock(me, WRITING)
  fi;
  if
  :: WITHOUT(COUNT_READ_LATE) -> load(me, NOTES_MADE, now)
  :: else -> skip
  fi;
  changed = (now != expected);
  expected = now;
  now = 0; watched = 0
}

proctype watcher(byte me) {
  byte now, expected, watched, entry;
  bool changed;
  look();
  do
  :: load(me, ENTRY, entry);
     if
     :: entry == 3 -> break
     :: else
     fi;
     entry = 0;
     do
     :: look();
        if
        :: changed -> changed = false; break
        :: else -> futex_wait(me, NOTES_MADE, expected)
        fi
     od
  od
}

init {
  atomic { run writer(0, 2); run writer(1, 1); run watcher(2) }
}
