// A thread shares a readers-writer lock, and makes room among its announcements twice, so that this one moves down two
// places, each of which another announcement takes. A writer who looks through them meanwhile, from the end, finds it:
// in the old place or in the new one.
//
// source: shm/announcements.cc ThreadContext::make_room()
//   record_->announced[i].load(std::memory_order_relaxed)
//   if (!stale) record_->announced[kept++].store(entry, std::memory_order_release)
//   for (std::uint32_t i = kept; i < depth_; ++i) record_->announced[i].store(0, std::memory_order_release)
// source: shm/announcements.cc ThreadContext::push_slow(Word announcement)
//   make_room()
//   record_->announced[depth_++].store(announcement, std::memory_order_relaxed)
// source: shm/announcements.cc ThreadContext::retract_shared(Offset control)
//   for (std::uint32_t i = depth_; i-- > 0;)
//   record_->announced[i].exchange(0, std::memory_order_seq_cst)
// source: shm/rw_lock.cc RwLock::each_reader(Visit&& visit) const
//   record.claim.load(std::memory_order_seq_cst)
//   for (std::size_t i = kAnnouncements; i-- > 0;) times += record.announced[i].load(std::memory_order_seq_cst) == mark
//
// must fail: FROM_THE_BEGINNING OLD_PLACE_FIRST
#define PROCESSORS 2
#define ADDRESSES 3
#define STORES 6
#define kStale 1
#define kLater 2  // goes stale between the two times
#define kShared 3
#define kOther 4
#include "tso.inc"

bool shares = true;

inline move(from, to, entry) {
  if
  :: WITHOUT(OLD_PLACE_FIRST) -> store(me, from, 0); store(me, to, entry)
  :: else -> store(me, to, entry)
  fi
}

proctype reader(byte me) {
  move(1, 0, kLater);
  move(2, 1, kShared);
  store(me, 2, 0);
  store(me, 2, kOther);  // announced
  EMPTY(me);             // as the lock that it announced is taken
  move(1, 0, kShared);
  move(2, 1, kOther);
  store(me, 2, 0);
  if
  :: shares = false; exchange(me, 0, 0, unseen)  // before anybody can know
  :: skip
  fi
}

proctype writer(byte me) {
  byte entry, place, looked;
  bool found;
  do
  :: looked < 3 ->
     if
     :: WITHOUT(FROM_THE_BEGINNING) -> place = looked
     :: else -> place = 2 - looked
     fi;
     load(me, place, entry);
     found = found || entry == kShared;
     looked++
  :: else -> break
  od;
  assert(found || !shares)
}

init {
  atomic {
    memory[0] = kStale;
    memory[1] = kLater;
    memory[2] = kShared;
    run reader(0);
    run writer(1)
  }
}
