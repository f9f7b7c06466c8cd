// Two watch a key each, of one shard, whose flags may be one and the same; a writer changes one key twice and the
// other once. Changes of watched keys are noted with their hash, of which only the last few are kept (here one); the
// first since any watcher's look wakes. No watcher sleeps beside a change of its key.
//
// source: shm/watch.cc void look_under_lock(DictShard& shard
//   shard.notes.load(std::memory_order_relaxed)
//   notes - seen_ > kNotesKept
//   shard.noted[n % kNotesKept].load(std::memory_order_relaxed) == hash_
//   shard.looked_at.store(notes, std::memory_order_relaxed)
//   shard.watched.store(shard.watched.load(std::memory_order_relaxed) | dict_watch_bit(hash_)
//   control_.notes_made.load(std::memory_order_seq_cst)
// source: shm/watch.cc note_dict_change(DictControl& control
//   shard.watched.load(std::memory_order_relaxed)
//   (watched & dict_watch_bit(hash)) != 0
//   shard.noted[notes % kNotesKept].store(hash, std::memory_order_relaxed)
//   shard.notes.store(++notes, std::memory_order_relaxed)
//   notes - shard.looked_at.load(std::memory_order_relaxed)
//   since == 1
//   if (since > kNotesKept) watched = 0
//   made_note(control, shard, watched & ~kWatchedWhole)
//
// must fail: LOOK_NOT_SAID OVERFLOW_IGNORED
#define PROCESSORS 3
#define ADDRESSES 8
#define STORES 6
#define ENTRY 0  // of keys 0 and 1
#define WRITING 2
#define WATCHED 3
#define NOTES 4
#define NOTED 5
#define LOOKED_AT 6
#define NOTES_MADE 7
#define KEPT 1
#include "tso.inc"

byte flag[2];  // of each key

proctype writer(byte me) {
  byte key, entry, watched, notes, looked, changes;
  bool wakes;
  do
  :: changes == 3 -> break
  :: else ->
     key = changes % 2;
     take_lock(me, WRITING);
     load(me, ENTRY + key, entry);
     store(me, ENTRY + key, entry + 1);
     load(me, WATCHED, watched);
     if
     :: watched != 0 ->
        if
        :: watched & flag[key] ->
           load(me, NOTES, notes);
           store(me, NOTED, key + 1);
           notes++;
           store(me, NOTES, notes);
           load(me, LOOKED_AT, looked);
           wakes = (notes - looked == 1);
           if
           :: notes - looked > KEPT -> watched = 0
           :: else
           fi
        :: else
        fi;
        exchange(me, WATCHED, watched, unseen);
        fetch_add(me, NOTES_MADE, 1, unseen)
     :: else
     fi;
     free_lock(me, WRITING);
     if
     :: wakes -> futex_wake_all(me, NOTES_MADE)
     :: else
     fi;
     key = 0; entry = 0; watched = 0; notes = 0; looked = 0; wakes = false;
     changes++
  od
}

inline look() {
  take_lock(me, WRITING);
  load(me, NOTES, notes);
  changed = (notes - seen > KEPT && !overflow_ignored);
  if
  :: seen != notes ->
     load(me, NOTED, noted);
     changed = changed || (noted == key + 1)
  :: else
  fi;
  seen = notes;
  if
  :: WITHOUT(LOOK_NOT_SAID) -> skip
  :: else -> store(me, LOOKED_AT, notes)
  fi;
  load(me, WATCHED, watched);
  store(me, WATCHED, watched | flag[key]);
  load(me, NOTES_MADE, expected);
  free_lock(me, WRITING);
  notes = 0; noted = 0; watched = 0
}

proctype watcher(byte me; byte key; byte last) {
  byte notes, noted, watched, seen, expected, entry;
  bool changed, overflow_ignored;
  if
  :: WITHOUT(OVERFLOW_IGNORED) -> overflow_ignored = true
  :: else -> skip
  fi;
  look();
  do
  :: load(me, ENTRY + key, entry);
     if
     :: entry == last -> break
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
  flag[0] = 1;
  if
  :: flag[1] = 1
  :: flag[1] = 2
  fi;
  atomic { run writer(0); run watcher(1, 0, 2); run watcher(2, 1, 1) }
}
