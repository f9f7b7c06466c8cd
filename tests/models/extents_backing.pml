// Two clients need an extent that went back to the system, and the server gives free extents back. Backing takes
// long, so a client does it without the lock, and looks afterwards whether the extent is still what it was; the
// server punches its holes without the lock, too. Nobody touches a hole.
//
// source: shm/extents.cc take_chunk_in_time(ThreadContext& me
//   lock(me, segment.header().extents_lock, deadline)
//   note_backing(segment, aside)
//   take_whole(segment, owner, size, late
//   unlock(me, segment.header().extents_lock)
//   back_aside(segment, aside)
// source: shm/extents_commit.cc backing_of_run(const Segment& segment
//   segment.header().releases.load(std::memory_order_relaxed)
// source: shm/extents_commit.cc note_backing(Segment& segment
//   segment.header().releases.load(std::memory_order_relaxed) != backing.releases
//   note_backed(segment, backing.first, backing.count)
// source: shm/extents_commit.cc note_backed(Segment& segment
//   extent_kind(word) != ExtentKind::kUnbacked
//   entry.store(readers_of(word), std::memory_order_release)
// source: shm/extents_release.cc release_extents(ThreadContext& me
//   HeldLock held(me, segment.header().extents_lock)
//   take_idle(segment, keep, alone, extents)
//   punch(segment, from
//   HeldLock held(me, segment.header().extents_lock)
//   settle(segment, extents
// source: shm/extents_release.cc settle(Segment& segment
//   if (punched) note_release(header)
//
// must fail: RELEASES_NOT_COMPARED PUNCHED_FREE
#define PROCESSORS 3
#define ADDRESSES 3
#define STORES 3
#define EXTENTS_LOCK 0
#define EXTENT 1
#define RELEASES 2
#define kFree 0
#define kWhole 1
#define kReleaser 2
#define kUnbacked 3
#include "tso.inc"

bool hole = true;

proctype client(byte me) {
  byte extent, releases, now, tries = 3;
  bool aside;
  do
  :: tries == 0 -> break
  :: else ->
     tries--;
     take_lock(me, EXTENTS_LOCK);
     if
     :: aside ->
        load(me, RELEASES, now);
        load(me, EXTENT, extent);
        if
        :: (now == releases || WITHOUT(RELEASES_NOT_COMPARED)) && extent == kUnbacked -> store(me, EXTENT, kFree)
        :: else
        fi;
        aside = false; releases = 0; now = 0
     :: else
     fi;
     load(me, EXTENT, extent);
     if
     :: extent == kFree ->
        store(me, EXTENT, kWhole);
        free_lock(me, EXTENTS_LOCK);
        assert(!hole);
        take_lock(me, EXTENTS_LOCK);
        store(me, EXTENT, kFree);
        free_lock(me, EXTENTS_LOCK)
     :: extent == kUnbacked ->
        load(me, RELEASES, releases);
        aside = true;
        free_lock(me, EXTENTS_LOCK);
        hole = false
     :: else -> free_lock(me, EXTENTS_LOCK)
     fi;
     extent = 0
  od
}

proctype server(byte me) {
  byte extent, releases, times = 2;
  do
  :: times == 0 -> break
  :: else ->
     times--;
     take_lock(me, EXTENTS_LOCK);
     load(me, EXTENT, extent);
     if
     :: extent == kFree && !WITHOUT(PUNCHED_FREE) -> store(me, EXTENT, kReleaser)
     :: else
     fi;
     free_lock(me, EXTENTS_LOCK);
     if
     :: extent == kFree ->
        hole = true;
        take_lock(me, EXTENTS_LOCK);
        load(me, RELEASES, releases);
        store(me, RELEASES, releases + 1);
        store(me, EXTENT, kUnbacked);
        free_lock(me, EXTENTS_LOCK)
     :: else
     fi;
     extent = 0; releases = 0
  od
}

init {
  atomic {
    memory[EXTENT] = kUnbacked;
    run client(0);
    run client(1);
    run server(2)
  }
}
