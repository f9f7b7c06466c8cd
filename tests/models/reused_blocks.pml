// A writer names another block, and uses the old one for something else, while a reader without a lock may still be
// copying it. The counter of the heap is raised before the first store into a block that was in use; the reader reads it
// first, and again after all that it copied: so what it takes was written for it, and whole. The order of the stores, and
// that of the loads, alone; the counter is raised by a locked instruction, but no store follows that may wait.
//
// source: shm/heap.cc void Heap::recycle()
//   recycle_.fetch_add(1, std::memory_order_seq_cst)
//   list_block(
// source: shm/heap.cc void Heap::rebuild(
//   recycle_.fetch_add(1, std::memory_order_seq_cst)
//   store_word(&head, 0)
// source: shm/heap.cc void Heap::forget_free()
//   recycle_.fetch_add(1, std::memory_order_seq_cst)
// source: shm/dict_spread.cc void finish_spread(ThreadContext& me
//   old.shard.root.store(kRootMoved, std::memory_order_release)
//   old.shard.recycle.fetch_add(1, std::memory_order_seq_cst)
//   give_chunks(me, where
// source: shm/list.cc std::uint64_t List::size() const
//   control_->recycle.load(std::memory_order_acquire)
//   read_view(*segment_, *control_, view)
//   control_->recycle.load(std::memory_order_relaxed) != recycled
// source: shm/undisturbed.h bool operator()() const
//   recycle->load(std::memory_order_relaxed) == seen
// source: shm/dict_lookup.h read_straight(
//   shard.recycle.load(std::memory_order_acquire)
//   probe_home(memory, shard, hash, ShortKey(key), recycle, home, header)
//   undisturbed()
// source: shm/dict_key_writer.h DictForesight(const Segment& segment
//   shard->recycle.load(std::memory_order_acquire)
//   probe_home(memory, *shard, hash, ShortKey(item), recycle, home, header)
// source: shm/dict_read.cc Status read_entry(Segment& segment
//   shard.recycle.load(std::memory_order_acquire)
//   find_in_table(segment, shard, wanted, place)
//   shard.recycle.load(std::memory_order_acquire) != recycle
//   use(place, place.entry + place.header.value_at())
//   shard.recycle.load(std::memory_order_acquire) != recycle
// source: shm/dict_overwrite.h overwrite_block(
//   home.slot->store((home.slot_value & ~kSlotEntry) | block >> 4, std::memory_order_release)
//   park_block(heap
// source: shm/dict_overwrite.h change_straight(
//   shard.recycle.load(std::memory_order_acquire)
//   probe_bucket(memory, shard, hash, recycle, home)
//   shard.recycle.load(std::memory_order_relaxed) == recycle
// source: shm/list.cc Status List::read_cell(
//   control_->recycle.load(std::memory_order_acquire)
//   cells->load(std::memory_order_acquire)
//   control_->recycle.load(std::memory_order_relaxed) != recycled
// source: shm/list_bulk.cc Status List::copy_undisturbed(
//   control_->recycle.load(std::memory_order_acquire)
//   return undisturbed() ? status : Status::kRetry
// source: shm/list_compact.cc bool ListWriter::compact()
//   box.cell->store(to, std::memory_order_release)
//   heap_.retire(box.at, box.bytes)
//   heap_.recycle()
// source: shm/list_writer.h void overwrite(AtomicWord& cell
//   cell.store(now, std::memory_order_release)
//   retire_cell(before)
//
// must fail: RAISED_LATE LOOKED_ONCE NAMED_FIRST
#define PROCESSORS 2
#define ADDRESSES 6
#define STORES 6
#define NAME 0
#define RECYCLE 1
#define BLOCKS 2  // two, of two words each
#define kOther 9  // in a block that is used for something else
#include "tso.inc"

proctype writer(byte me) {
  byte number = 2, block = 1;
  do
  :: number < 4 ->
     // The block was used for something else until now.
     if
     :: WITHOUT(RAISED_LATE) -> store(me, BLOCKS + 2 * block, kOther)
     :: else -> skip
     fi;
     fetch_add(me, RECYCLE, 1, unseen);
     store(me, BLOCKS + 2 * block, kOther);
     store(me, BLOCKS + 2 * block, number);
     if
     :: WITHOUT(NAMED_FIRST) -> store(me, NAME, block)
     :: else -> skip
     fi;
     store(me, BLOCKS + 2 * block + 1, number);
     store(me, NAME, block);
     EMPTY(me);  // the exchange that frees its lock
     block = 1 - block;
     number++
  :: else -> break
  od
}

proctype reader(byte me) {
  byte seen, block, one, two, now;
  load(me, RECYCLE, seen);
  load(me, NAME, block);
  load(me, BLOCKS + 2 * block, one);
  load(me, BLOCKS + 2 * block + 1, two);
  if
  :: WITHOUT(LOOKED_ONCE) -> now = seen
  :: else -> load(me, RECYCLE, now)
  fi;
  if
  :: now == seen -> assert(one == two && one != kOther)
  :: else
  fi
}

init {
  atomic {
    memory[BLOCKS] = 1;
    memory[BLOCKS + 1] = 1;
    memory[BLOCKS + 2] = kOther;
    memory[BLOCKS + 3] = kOther;
    run writer(0);
    run reader(1)
  }
}
