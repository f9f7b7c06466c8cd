// A reader without a lock copies a large block while a writer frees it and the server gives free memory back to the
// system. The reader announces itself and then looks up where the block is; the server takes free extents out of the
// table, then looks for announcements. The reader never touches a page that went.
//
// The server needs no fence: that an extent is free comes to memory behind the store that took the block out of
// reach.
//
// source: shm/large_read.h explicit LargeRead(Segment& segment)
//   segment_.header().unslotted_large_reads.fetch_add(1, std::memory_order_seq_cst)
//   me_->record().reads_large.exchange(1, std::memory_order_seq_cst)
// source: shm/dict_read.cc copy_value(Segment& segment
//   const LargeRead announced(segment)
//   return copy(true)
// source: shm/heap.cc Heap::recycle()
//   recycle_.fetch_add(1, std::memory_order_seq_cst)
//   free_parked(parked)
// source: shm/extents_release.cc release_extents(ThreadContext& me
//   HeldLock held(me, segment.header().extents_lock)
//   take_idle(segment, keep, alone, extents)
//   anybody_reads_large(segment)
//   punch(segment, from
//   HeldLock held(me, segment.header().extents_lock)
//   settle(segment, extents
// source: shm/extents_release.cc anybody_reads_large(Segment& segment)
//   std::atomic_thread_fence(std::memory_order_seq_cst)
//   segment.thread(t).reads_large.load(std::memory_order_seq_cst) != 0
//
// must fail: NO_FENCE_READER LOOKED_UP_FIRST ANNOUNCEMENTS_FIRST
#define PROCESSORS 3
#define ADDRESSES 4
#define STORES 3
#define ROOT 0  // 1: leads to the block
#define EXTENT 1
#define READS_LARGE 2
#define EXTENTS_LOCK 3
#include "tso.inc"

#define kWhole 1
#define kFree 2
#define kReleaser 3
#define kUnbacked 4

bool hole = false;

proctype reader(byte me) {
  byte root;
  if
  :: WITHOUT(LOOKED_UP_FIRST) ->
     load(me, ROOT, root);
     exchange(me, READS_LARGE, 1, unseen)
  :: else ->
     FENCED_STORE(me, READS_LARGE, 1, NO_FENCE_READER);
     load(me, ROOT, root)
  fi;
  if
  :: root != 0 -> assert(!hole)  // it copies the block
  :: else
  fi;
  store(me, READS_LARGE, 0)
}

proctype writer(byte me) {
  store(me, ROOT, 0);
  EMPTY(me);  // the counter of reuse is raised
  take_lock(me, EXTENTS_LOCK);
  store(me, EXTENT, kFree);
  free_lock(me, EXTENTS_LOCK)
}

proctype server(byte me) {
  byte entry, reads;
  if
  :: WITHOUT(ANNOUNCEMENTS_FIRST) -> load(me, READS_LARGE, reads)
  :: else -> skip
  fi;
  take_lock(me, EXTENTS_LOCK);
  load(me, EXTENT, entry);
  if
  :: entry == kFree -> store(me, EXTENT, kReleaser)
  :: else
  fi;
  store(me, EXTENTS_LOCK, 0);  // as if it were no exchange, and no fence followed
  if
  :: entry == kFree ->
     if
     :: WITHOUT(ANNOUNCEMENTS_FIRST) -> skip
     :: else -> load(me, READS_LARGE, reads)
     fi;
     if
     :: reads == 0 -> hole = true
     :: else
     fi;
     take_lock(me, EXTENTS_LOCK);
     if
     :: hole -> store(me, EXTENT, kUnbacked)
     :: else -> store(me, EXTENT, kFree)
     fi;
     free_lock(me, EXTENTS_LOCK)
  :: else
  fi
}

init {
  atomic {
    memory[ROOT] = 1;
    memory[EXTENT] = kWhole;
    run reader(0);
    run writer(1);
    run server(2)
  }
}
