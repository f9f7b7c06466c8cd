// A table of a dict is split: its upper half goes to another table, the directory's entry of that half names it, then its
// entries are cleared from the old one. Afterwards one of them is removed. A reader without a lock who went through the
// directory's old entry and finds nothing looks at the entry again; it finds every key that is there all the time. The
// order of the stores, and that of the loads, alone. A dict that spreads over more shards does the same with the word that
// names its shards and the old root, which is marked.
//
// source: shm/dict_table.cc Status DictTable::split(std::uint32_t tag)
//   copy_half(table, upper, bit)
//   directory[i].store((i >= first + half ? upper : table) | (local + 1), std::memory_order_release)
//   clear_moved(table, bit)
// source: shm/dict_table.cc bool still_stands(const Segment& segment
//   shard.root.load(std::memory_order_acquire) != place.root
//   load(std::memory_order_acquire) == place.directory_entry
// source: shm/dict_read.cc Status read_entry(Segment& segment
//   find_in_table(segment, shard, wanted, place)
//   place.root == kRootMoved
//   shards.stand()
//   if (still_stands(segment, shard, wanted, place)) return status
// source: shm/dict_spread.cc bool try_spread(ThreadContext& me
//   fill_shard(
//   control.shards.store(word, std::memory_order_release)
// source: shm/dict_spread.cc void finish_spread(ThreadContext& me
//   old.shard.root.store(kRootMoved, std::memory_order_release)
//
// must fail: CLEARED_FIRST NAMED_FIRST LOOKED_ONCE
#define PROCESSORS 2
#define ADDRESSES 3
#define STORES 4
#define DIRECTORY 0  // which of the tables has the key
#define OLD 1        // the key's slot there
#define UPPER 2
#include "tso.inc"

proctype writer(byte me) {
  if
  :: WITHOUT(NAMED_FIRST) -> store(me, DIRECTORY, UPPER)
  :: else -> skip
  fi;
  if
  :: WITHOUT(CLEARED_FIRST) -> store(me, OLD, 0)
  :: else -> skip
  fi;
  store(me, UPPER, 1);
  store(me, DIRECTORY, UPPER);
  store(me, OLD, 0)
}

proctype reader(byte me) {
  byte table, slot, now;
  do
  :: load(me, DIRECTORY, table);
     load(me, table, slot);
     if
     :: slot != 0 -> break
     :: else
     fi;
     if
     :: WITHOUT(LOOKED_ONCE) -> now = table
     :: else -> load(me, DIRECTORY, now)
     fi;
     assert(now != table)  // else the key is not there
  od
}

init {
  atomic {
    memory[DIRECTORY] = OLD;
    memory[OLD] = 1;
    run writer(0);
    run reader(1)
  }
}
