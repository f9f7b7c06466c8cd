#include "shm/thread_recovery.h"

#include "shm/extents.h"
#include "shm/futex.h"
#include "shm/object_table.h"
#include "shm/object_types.h"
#include "shm/redo.h"
#include "shm/rw_lock.h"
#include "shm/segment.h"
#include "shm/thread_context.h"
#include "shm/waiting.h"

namespace commonhold::shm {

namespace {

// Brings what `word` guards into order. REQUIRES: the caller owns it in the place of its dead owner.
void repair_guarded(ThreadContext& me, LockWord& word) {
  Segment& segment = me.segment();
  if (&word == &segment.header().extents_lock) {
    repair_extents(segment);
    return;
  }
  Offset at = segment.offset_of(&word);
  ChunkOwner owner = chunk_owner(segment, at);
  if (!owner || owner.object() >= kMaxObjects) return;
  ObjectInfo info;
  if (object_info(segment, owner.object(), info) != Status::kOk) return;  // it was being made: nobody saw it
  if (const ObjectType* type = object_type(info.kind)) {
    type->repair(me, {&segment, owner.object(), info.control}, word);
  }
}

// Makes the word ours instead of `from`'s. False: it is somebody else's, or free.
bool hand_over(LockWord& word, std::uint32_t from, std::uint32_t to) {
  std::uint32_t state = word.state.load(std::memory_order_acquire);
  while ((state & ~kLockWaiters) == from) {
    // SYNC POINT: lock: as whoever takes it when it is free. With the waiter bit: somebody may sleep.
    if (word.state.compare_exchange_weak(state, to | kLockWaiters, std::memory_order_acq_rel)) return true;
  }
  return false;
}

// For whom the caller repairs, for the scope of a repair: some note who died.
class RepairFor {
 public:
  RepairFor(ThreadContext& me, std::uint32_t dead_owner) : me_(me), before_(me.repairs_for(dead_owner)) {}
  ~RepairFor() { (void)me_.repairs_for(before_); }
  RepairFor(const RepairFor&) = delete;
  RepairFor& operator=(const RepairFor&) = delete;

 private:
  ThreadContext& me_;
  std::uint32_t before_;
};

void recover_taken_word(ThreadContext& me, LockWord& word, std::uint32_t dead_owner) {
  me.announce(word);
  if (!hand_over(word, dead_owner, me.owner())) return me.retract(word);
  try {
    const RepairFor repair(me, dead_owner);
    repair_guarded(me, word);
  } catch (...) {
    (void)hand_over(word, me.owner(), dead_owner);
    me.retract(word);
    throw;
  }
  (void)unlock(me, word);
}

// The dead one may have been about to wake those who wait at the object, or have swallowed a wake-up.
void wake_waiters(Segment& segment, const ObjectInfo& info) {
  const ObjectType* type = object_type(info.kind);
  if (type != nullptr && type->wake != nullptr) type->wake({&segment, info.id.index, info.control});
}

// What an owner had taken, and has not done, goes back.
void end_owner(Segment& segment, std::uint32_t owner) {
  for_each_object(segment, [&](const ObjectInfo& info) {
    const ObjectType* type = object_type(info.kind);
    if (type != nullptr && type->owner_ended != nullptr) {
      type->owner_ended({&segment, info.id.index, info.control}, owner);
    }
  });
}

// Calls visit(word) for each lock word of the object, which is live and of a known type.
template <typename Visit>
void each_lock(Segment& segment, const ObjectInfo& info, Visit&& visit) {
  const ObjectType* type = object_type(info.kind);
  if (type == nullptr) return;
  type->each_lock({&segment, info.id.index, info.control}, &visit, [](void* context, LockWord& word) {
    (*static_cast<std::remove_reference_t<Visit>*>(context))(word);
  });
}

void recover_each_lock(ThreadContext& me, std::uint32_t object, std::uint32_t dead_owner) {
  Segment& segment = me.segment();
  ObjectInfo info;
  if (object_info(segment, object, info) != Status::kOk || object_type(info.kind) == nullptr) return;
  each_lock(segment, info, [&](LockWord& word) { recover_word(me, word, dead_owner); });
  wake_waiters(segment, info);
}

// False for a word that is data by now: an announcement may outlive its object (another thread freed the lock).
bool is_lock_word(Segment& segment, const LockWord& word, ObjectInfo& info) {
  if (&word == &segment.header().extents_lock) return true;
  ChunkOwner owner = chunk_owner(segment, segment.offset_of(&word));
  if (!owner || object_info(segment, owner.object(), info) != Status::kOk) return false;
  bool found = false;
  each_lock(segment, info, [&](LockWord& lock) { found = found || &lock == &word; });
  return found;
}

// A lock that the dead thread shared: its mark goes, then a writer that waits for the last of them looks again.
void release_shared(Segment& segment, ThreadRecord& record, Word announcement) {
  for (auto& announced : record.announced) {
    if (announced.load(std::memory_order_relaxed) == announcement) announced.store(0, std::memory_order_seq_cst);
  }
  Offset at = announcement & ~Word{7};
  ChunkOwner owner = segment.holds(at, sizeof(RwLockControl)) ? chunk_owner(segment, at) : ChunkOwner();
  ObjectInfo info;
  if (!owner || owner.object() >= kMaxObjects || object_info(segment, owner.object(), info) != Status::kOk) return;
  if (info.kind == ObjectKind::kRwLock && info.control == at) {
    RwLock({&segment, owner.object(), info.control}).reader_gone();
  }
}

// What helpers may do as well.
void recover_announced(ThreadContext& me, Word announcement, std::uint32_t dead_owner) {
  Segment& segment = me.segment();
  Offset at = announcement & ~Word{7};
  auto kind = static_cast<Announced>(announcement & 7);
  if (kind == Announced::kObject) {
    ChunkOwner owner = chunk_owner(segment, at);
    if (owner && owner.object() < kMaxObjects) recover_each_lock(me, owner.object(), dead_owner);
  } else if (kind == Announced::kFutex) {
    finish_wake(segment, at);
  } else if (kind == Announced::kWord) {
    auto& word = *segment.at<LockWord>(at);
    bool in_header = at == segment.offset_of(&segment.header().extents_lock);
    ObjectInfo info;
    if ((in_header || segment.holds(at, sizeof(LockWord))) && is_lock_word(segment, word, info)) {
      recover_word(me, word, dead_owner);
      if (!in_header) wake_waiters(segment, info);
    }
  }
}

// Wakes a waiter of an announced word, whoever owns the word.
void wake_announced(Segment& segment, Word announcement) {
  const Offset at = announcement & ~Word{7};
  if (static_cast<Announced>(announcement & 7) != Announced::kWord || !segment.holds(at, sizeof(LockWord))) return;
  futex_wake(segment.at<LockWord>(at)->state, 1);
}

struct Announcements {
  explicit Announcements(const ThreadRecord& record) {
    for (std::size_t i = 0; i < kAnnouncements; ++i) all[i] = record.announced[i].load(std::memory_order_acquire);
  }
  Word all[kAnnouncements];
};

void recover_announcements(ThreadContext& me, ThreadRecord& record, std::uint32_t dead_owner) {
  Segment& segment = me.segment();
  // The extents' lock first: repairs need it.
  recover_word(me, segment.header().extents_lock, dead_owner);
  Word redo = record.redo.load(std::memory_order_acquire);
  if (redo != 0) {
    (void)apply_redo(segment, redo);
    record.redo.store(0, std::memory_order_release);  // SYNC POINT: redo applied
  }
  // Copied first: when `record` is our own (its thread ends), the repairs announce there too, and may move what is
  // there, or drop what is announced and not owned: those who wait there are woken before, lest a death forget them.
  const Announcements announced(record);
  if (&record == &me.record()) {
    for (Word announcement : announced.all) wake_announced(segment, announcement);
  }
  for (Word announcement : announced.all) {
    if (announcement == 0) continue;
    if (static_cast<Announced>(announcement & 7) == Announced::kShared) {
      release_shared(segment, record, announcement);
    } else {
      recover_announced(me, announcement, dead_owner);
    }
  }
  if (record.overflow.load(std::memory_order_acquire) != 0) {
    for_each_object(segment, [&](const ObjectInfo& info) { recover_each_lock(me, info.id.index, dead_owner); });
  }
}

bool has_left_nothing(const ThreadRecord& record) {
  Word marks = record.redo.load(std::memory_order_acquire) | record.overflow.load(std::memory_order_relaxed);
  for (auto& announced : record.announced) marks |= announced.load(std::memory_order_relaxed);
  return (marks | record.waits_on.load(std::memory_order_relaxed)) == 0;
}

}  // namespace

void recover_word(ThreadContext& me, LockWord& word, std::uint32_t dead_owner) {
  if ((word.state.load(std::memory_order_acquire) & ~kLockWaiters) == dead_owner) {
    if (dead_owner == me.owner()) {  // a thread that ends recovers itself
      repair_guarded(me, word);
      release_for_dead(word, dead_owner);
    } else {
      recover_taken_word(me, word, dead_owner);
    }
  }
  // Also when it was not the owner: it may have swallowed a wake-up, or freed the word and not yet woken the next.
  futex_wake(word.state, 1);
}

std::uint32_t dead_owner_of(const ThreadContext& me, const LockWord& word) {
  return me.repairs_for() != 0 ? me.repairs_for() : word.state.load(std::memory_order_acquire) & ~kLockWaiters;
}

void settle_thread(Segment& segment, ThreadContext& me, std::uint32_t thread) {
  ThreadRecord& record = segment.thread(thread);
  const Word claim = record.claim.load(std::memory_order_acquire);
  const std::uint32_t owner = lock_owner(thread, static_cast<std::uint32_t>(claim >> 32));
  if (!has_left_nothing(record)) {
    recover_announcements(me, record, owner);
    for (auto& announced : record.announced) announced.store(0, std::memory_order_relaxed);
    record.overflow.store(0, std::memory_order_relaxed);
    forget_wait(me, record, claim);
    end_wait(record);
  }
  if (record.took_items.load(std::memory_order_acquire) != 0) {
    end_owner(segment, owner);
    record.took_items.store(0, std::memory_order_release);
  }
  for (auto& pinned : record.pinned) pinned.store(0, std::memory_order_relaxed);
  record.storing.store(0, std::memory_order_release);
  record.reads_large.store(0, std::memory_order_relaxed);
}

void help_thread(Segment& segment, ThreadContext& me, std::uint32_t thread, Word claim) {
  ThreadRecord& record = segment.thread(thread);
  const std::uint32_t owner = lock_owner(thread, static_cast<std::uint32_t>(claim >> 32));
  recover_word(me, segment.header().extents_lock, owner);
  const Announcements announced(record);
  const bool overflow = record.overflow.load(std::memory_order_acquire) != 0;
  // SYNC POINT: redo applied. The object of a change that is not is left to whoever has claimed the session.
  const Word redo = record.redo.load(std::memory_order_acquire);
  const ChunkOwner changing = redo != 0 ? chunk_owner(segment, redo) : ChunkOwner();
  const auto is_changing = [&](ChunkOwner owner) { return changing && owner && owner.object() == changing.object(); };
  // Of another user of the slot by now: none of it may be believed.
  if (record.claim.load(std::memory_order_acquire) != claim) return;
  for (Word announcement : announced.all) {
    if (announcement == 0 || static_cast<Announced>(announcement & 7) == Announced::kShared) continue;
    if (!is_changing(chunk_owner(segment, announcement & ~Word{7}))) recover_announced(me, announcement, owner);
  }
  if (overflow) {
    for_each_object(segment, [&](const ObjectInfo& info) {
      if (!is_changing(ChunkOwner(info.id.index, 0))) recover_each_lock(me, info.id.index, owner);
    });
  }
  forget_wait(me, record, claim);
  if (record.took_items.load(std::memory_order_acquire) != 0) end_owner(segment, owner);
}

}  // namespace commonhold::shm
