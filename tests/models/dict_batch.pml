// Two batches, each of which changes a word in each of two shards, are committed one after the other; a reader without
// locks reads both words as they were at one moment. `batch` is odd from the commit until all words are stored, and then
// the list of the stores says what they are. Whoever stops or dies in between holds up nobody. The order of the stores,
// and that of the loads, alone.
//
// source: shm/dict_view.cc void commit_batch(ThreadContext& me
//   add({batch_at, committed})
//   add(slot)
//   add({batch_at, committed + 1})
//   write_redo_count(segment, redo, entries)
//   control.batch_redo.store(redo, std::memory_order_release)
//   control.batch_slots.store(slots.size(), std::memory_order_release)
//   commit_redo(me, redo)
//   apply_redo(segment, redo)
//   end_redo(me)
// source: shm/dict_view.cc DictView::DictView(const Segment& segment
//   control.batch.load(std::memory_order_acquire)
//   if ((batch_ & 1) == 0)
//   control.batch_redo.load(std::memory_order_acquire)
// source: shm/dict_view.h bool stands() const
//   control_.batch.load(std::memory_order_acquire) == batch_
// source: shm/dict_view.h const AtomicWord& word(const AtomicWord& word) const
//   list_ == 0 ? word : listed_word(word)
//
// must fail: LIST_LATE OVER_FIRST LOOKED_ONCE LIST_UNUSED
#define PROCESSORS 2
#define ADDRESSES 5
#define STORES 8
#define BATCH 0
#define WORDS 1
#define LIST 3  // what the batch makes of them
#include "tso.inc"

proctype writer(byte me) {
  byte number = 1;
  do
  :: number < 3 ->
     if
     :: WITHOUT(LIST_LATE) -> store(me, BATCH, 2 * number - 1)
     :: else -> skip
     fi;
     store(me, LIST, number);
     store(me, LIST + 1, number);
     store(me, BATCH, 2 * number - 1);
     store(me, WORDS, number);
     if
     :: WITHOUT(OVER_FIRST) -> store(me, BATCH, 2 * number)
     :: else -> skip
     fi;
     store(me, WORDS + 1, number);
     store(me, BATCH, 2 * number);
     EMPTY(me);  // the exchange that frees the lock `committing`
     number++
  :: else -> break
  od
}

proctype reader(byte me) {
  byte batch, one, two, now;
  load(me, BATCH, batch);
  if
  :: (batch & 1) != 0 && !WITHOUT(LIST_UNUSED) -> load(me, LIST, one); load(me, LIST + 1, two)
  :: else -> load(me, WORDS, one); load(me, WORDS + 1, two)
  fi;
  if
  :: WITHOUT(LOOKED_ONCE) -> now = batch
  :: else -> load(me, BATCH, now)
  fi;
  if
  :: now == batch -> assert(one == two && one == (batch + 1) / 2)
  :: else
  fi
}

init { atomic { run writer(0); run reader(1) } }
