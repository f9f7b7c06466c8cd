// Two change a list, each under its lock, and tell before they commit; one of the two may die anywhere in it, and is
// recovered. One watches the list, who looks under the lock: so after the commit of whoever told it. It sees the last
// change, and is not left asleep beside one. What wakes it when a writer dies before its wake-up is the recovery, which
// wakes all sleepers.
//
// source: shm/watch.cc class ListWatch final
//   TimedLockGuard held(me, control_.writing, deadline)
//   control_.notes.load(std::memory_order_relaxed)
//   control_.watched.store(1, std::memory_order_release)
//   changed = now != expected_
// source: shm/watch.cc void note_list_change(ListControl& control)
//   control.watched.load(std::memory_order_relaxed) == 0
//   control.notes.fetch_add(1, std::memory_order_seq_cst)
//   control.watched.store(0, std::memory_order_release)
//   futex_wake_all(control.notes)
// source: shm/list_tree.h void raise_changes(ListControl& control)
//   control.watched.load(std::memory_order_relaxed) != 0
//   note_list_change(control)
// source: shm/list_writer.cc void ListWriter::grow_tail(std::uint64_t count)
//   raise_changes(control_)
//   tail_count.store(view_.tail_count, std::memory_order_release)
// source: shm/list_repair.cc void List::repair(ThreadContext& me
//   note_list_change(control)
// source: shm/list_tree.cc ::commit(
//   raise_changes(control_)
//   control_.root.store(to.root, std::memory_order_release)
// source: shm/sleep_notice.cc void wake_sleepers(Segment& segment)
//   sleeps_at.load(std::memory_order_seq_cst)
//   futex_wake_all(
// source: shm/watch.cc wait_for_change(ThreadContext& me
//   SleepNotice notice(me, watcher.futex())
//   watcher.look(me, changed
//   futex_wait(watcher.futex(), watcher.expected()
//
// must fail: LOOKED_UNLOCKED WOKEN_FIRST SLEEPERS_NOT_WOKEN
#define PROCESSORS 4
#define ADDRESSES 4
#define STORES 3
#define CELLS 0
#define WATCHED 1
#define NOTES 2
#define WRITING 3
#include "tso.inc"

byte committed = 0;
bool died = false;

// Where the one that may die does.
#define MAY_DIE \
  if \
  :: mortal -> goto dead \
  :: skip \
  fi

proctype writer(byte me; bool mortal) {
  byte cells, watched;
  take_lock(me, WRITING);
  MAY_DIE;
  load(me, WATCHED, watched);
  if
  :: watched ->
     if
     :: WITHOUT(WOKEN_FIRST) -> futex_wake_all(me, NOTES)
     :: else -> skip
     fi;
     fetch_add(me, NOTES, 1, unseen);
     MAY_DIE;
     store(me, WATCHED, 0);
     MAY_DIE;
     if
     :: WITHOUT(WOKEN_FIRST) -> skip
     :: else -> futex_wake_all(me, NOTES)
     fi
  :: else
  fi;
  load(me, CELLS, cells);
  store(me, CELLS, cells + 1);
  committed++;
  MAY_DIE;
  free_lock(me, WRITING);
  goto over;
dead:
  EMPTY(me);  // what it stored is in memory before its death is known
  died = true;
over:
  skip
}

proctype recoverer(byte me) {
  byte watched;
end:
  died;
  load(me, WATCHED, watched);
  if
  :: watched ->
     fetch_add(me, NOTES, 1, unseen);
     store(me, WATCHED, 0);
     futex_wake_all(me, NOTES)
  :: else
  fi;
  free_lock(me, WRITING);
  if
  :: WITHOUT(SLEEPERS_NOT_WOKEN) -> skip
  :: else -> futex_wake_all(me, NOTES)
  fi
}

inline look() {
  if
  :: WITHOUT(LOOKED_UNLOCKED) -> skip
  :: else -> take_lock(me, WRITING)
  fi;
  load(me, NOTES, now);
  store(me, WATCHED, 1);
  if
  :: WITHOUT(LOOKED_UNLOCKED) -> skip
  :: else -> free_lock(me, WRITING)
  fi;
  changed = (now != expected);
  expected = now;
  now = 0
}

// What it saw last, when it is asleep and nobody does anything any more.
byte seen = 0;
proctype watcher(byte me) {
  byte now, expected;
  bool changed;
  look();
  changed = false;
  do
  :: load(me, CELLS, seen);
     do
     :: look();
        if
        :: changed -> changed = false; break
        :: else ->
           fall_asleep(me, NOTES, expected);
end_asleep:
           AWAKE(me)
        fi
     od
  od
}

init {
  atomic { run writer(0, true); run writer(1, false); run watcher(2); run recoverer(3) }
  timeout;
  assert(seen == committed)
}
