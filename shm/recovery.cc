#include "shm/recovery.h"

#include "shm/extents.h"
#include "shm/futex.h"
#include "shm/liveness.h"
#include "shm/object_table.h"
#include "shm/object_types.h"
#include "shm/redo.h"
#include "shm/references.h"
#include "shm/rw_lock.h"
#include "shm/semaphore.h"
#include "shm/sleep_notice.h"
#include "shm/waiting.h"

namespace commonhold::shm {

namespace {

constexpr Word recovering_by(Word state, SessionIndex recoverer) {
  return state >> 32 << 32 | Word{index_of(recoverer) + 1} << 8 | static_cast<Word>(SessionState::kRecovering);
}
constexpr SessionState session_state(Word state) {
  return static_cast<SessionState>(state & 0xff);
}
constexpr std::uint32_t recoverer_of(Word state) {
  return static_cast<std::uint32_t>(state >> 8 & 0xff'ffff);
}

// Brings what `word` guards into order. REQUIRES: its owner is dead and we alone recover it.
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

void recover_word(ThreadContext& me, LockWord& word, std::uint32_t dead_owner) {
  if ((word.state.load(std::memory_order_acquire) & ~kLockWaiters) == dead_owner) {
    repair_guarded(me, word);
    release_for_dead(word, dead_owner);
  }
  // Also when it was not the owner: it may have swallowed a wake-up, or freed the word and not yet woken the next.
  futex_wake(word.state, 1);
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

// What a dead session may have changed without a lock, and not told.
void tell_of_death(Segment& segment, SessionIndex dead) {
  for (ObjectId id : references_of(segment, dead)) {
    ObjectInfo info;
    if (object_info(segment, id.index, info) != Status::kOk || info.id != id) continue;
    const ObjectType* type = object_type(info.kind);
    if (type != nullptr && type->user_died != nullptr) type->user_died({&segment, id.index, info.control});
  }
}

struct DeadOwner {
  ThreadContext* me;
  std::uint32_t owner;
};

void recover_each_lock(ThreadContext& me, std::uint32_t object, std::uint32_t dead_owner) {
  Segment& segment = me.segment();
  ObjectInfo info;
  if (object_info(segment, object, info) != Status::kOk) return;
  const ObjectType* type = object_type(info.kind);
  if (type == nullptr) return;
  DeadOwner dead{&me, dead_owner};
  type->each_lock({&segment, object, info.control}, &dead, [](void* context, LockWord& word) {
    auto* owner = static_cast<DeadOwner*>(context);
    recover_word(*owner->me, word, owner->owner);
  });
  wake_waiters(segment, info);
}

// False for a word that is data by now: an announcement may outlive its object (another thread freed the lock).
bool is_lock_word(const Segment& segment, const LockWord& word, ObjectInfo& info) {
  if (&word == &segment.header().extents_lock) return true;
  ChunkOwner owner = chunk_owner(segment, segment.offset_of(&word));
  if (!owner || object_info(segment, owner.object(), info) != Status::kOk) return false;
  const ObjectType* type = object_type(info.kind);
  if (type == nullptr) return false;
  struct Search {
    const LockWord* wanted;
    bool found = false;
  } search{&word};
  type->each_lock({const_cast<Segment*>(&segment), owner.object(), info.control}, &search,
                  [](void* context, LockWord& lock) {
                    auto* search = static_cast<Search*>(context);
                    search->found = search->found || search->wanted == &lock;
                  });
  return search.found;
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

void recover_announced(ThreadContext& me, ThreadRecord& record, Word announcement, std::uint32_t dead_owner) {
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
  } else if (kind == Announced::kShared) {
    release_shared(segment, record, announcement);
  }
}

// Wakes one who waits for an announced word, whoever owns it.
void wake_announced(Segment& segment, Word announcement) {
  const Offset at = announcement & ~Word{7};
  if (static_cast<Announced>(announcement & 7) != Announced::kWord || !segment.holds(at, sizeof(LockWord))) return;
  futex_wake(segment.at<LockWord>(at)->state, 1);
}

void recover_announcements(ThreadContext& me, ThreadRecord& record, std::uint32_t dead_owner) {
  Segment& segment = me.segment();
  // The extents' lock first: repairs need it.
  recover_word(me, segment.header().extents_lock, dead_owner);
  Word redo = record.redo.load(std::memory_order_acquire);
  if (redo != 0) {
    (void)apply_redo(segment, redo);
    record.redo.store(0, std::memory_order_release);
  }
  // Copied first: when `record` is our own (its thread ends), the repairs announce there too, and may move what is
  // there, or drop what is announced and not owned: those who wait there are woken before, lest a death forget them.
  Word announced[kAnnouncements];
  for (std::size_t i = 0; i < kAnnouncements; ++i) announced[i] = record.announced[i].load(std::memory_order_acquire);
  if (&record == &me.record()) {
    for (Word announcement : announced) wake_announced(segment, announcement);
  }
  for (Word announcement : announced) {
    if (announcement != 0) recover_announced(me, record, announcement, dead_owner);
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

// Calls visit(thread index, claim) for each thread slot of a session.
template <typename Visit>
void each_thread_of(Segment& segment, SessionIndex session, Visit&& visit) {
  auto threads = static_cast<std::uint32_t>(segment.header().threads_used.load(std::memory_order_acquire));
  for (std::uint32_t index = 0; index < threads && index < kMaxThreads; ++index) {
    Word claim = segment.thread(index).claim.load(std::memory_order_acquire);
    if ((claim & 0xffff'ffff) == index_of(session) + 1) visit(index, claim);
  }
}

// Appends those whom `dead` was recovering: they are ours now, before its record can be used by another.
void inherit(Segment& segment, const ThreadContext& me, SessionIndex dead, std::vector<SessionIndex>& ours) {
  auto sessions = static_cast<std::uint32_t>(segment.header().sessions_used.load(std::memory_order_acquire));
  for (std::uint32_t index = 0; index < sessions && index < kMaxSessions; ++index) {
    auto& other = segment.session(index).state;
    Word state = other.load(std::memory_order_acquire);
    if (session_state(state) != SessionState::kRecovering || recoverer_of(state) != index_of(dead) + 1) continue;
    if (index == index_of(dead)) continue;
    if (other.compare_exchange_strong(state, recovering_by(state, me.session()))) {
      ours.push_back(SessionIndex{index});
    }
  }
}

// The dead session and those whom it was recovering. REQUIRES: the caller has claimed it, or is its successor.
std::vector<SessionIndex> with_inherited(Segment& segment, const ThreadContext& me, SessionIndex dead) {
  std::vector<SessionIndex> all{dead};
  for (std::size_t i = 0; i < all.size(); ++i) inherit(segment, me, all[i], all);
  return all;
}

// The extents' lock before all repairs, which need it: a thread that comes later may hold it, and nobody else can
// recover whom we have claimed.
void free_extents_lock(Segment& segment, ThreadContext& me, const std::vector<SessionIndex>& dead) {
  for (SessionIndex session : dead) {
    each_thread_of(segment, session, [&](std::uint32_t thread, Word claim) {
      recover_word(me, segment.header().extents_lock, lock_owner(thread, static_cast<std::uint32_t>(claim >> 32)));
    });
  }
}

// What a session left beside its threads. False: a live process holds a semaphore of which it had permits.
bool settle_session(Segment& segment, ThreadContext& me, SessionIndex dead) {
  const bool settled = settle_permits(me, dead, true);
  tell_of_death(segment, dead);
  wake_sleepers(segment);
  if (settled) drop_all_references(me, dead);
  return settled;
}

bool recover_claimed(Segment& segment, ThreadContext& me, SessionIndex dead) {
  each_thread_of(segment, dead, [&](std::uint32_t thread, Word) { recover_thread(segment, me, thread); });
  const bool settled = settle_session(segment, me, dead);
  AtomicWord& state = segment.session(index_of(dead)).state;
  const auto then = static_cast<Word>(settled ? SessionState::kFree : SessionState::kLive);  // for the next attempt
  state.store(state.load(std::memory_order_relaxed) >> 32 << 32 | then, std::memory_order_release);
  return settled;
}

// False: something of a session could not be settled, because a live process holds it. Its threads are recovered.
bool recover_claimed_session(Segment& segment, ThreadContext& me, SessionIndex dead) {
  const std::vector<SessionIndex> ours = with_inherited(segment, me, dead);
  free_extents_lock(segment, me, ours);
  bool all = true;
  for (SessionIndex session : ours) all = recover_claimed(segment, me, session) && all;
  return all;
}

// Everything of a thread slot but its claim.
void settle_thread(Segment& segment, ThreadContext& me, std::uint32_t thread) {
  ThreadRecord& record = segment.thread(thread);
  Word claim = record.claim.load(std::memory_order_acquire);
  if (!has_left_nothing(record)) {
    recover_announcements(me, record, lock_owner(thread, static_cast<std::uint32_t>(claim >> 32)));
    for (auto& announced : record.announced) announced.store(0, std::memory_order_relaxed);
    record.overflow.store(0, std::memory_order_relaxed);
    forget_wait(me, record);
  }
  if (record.took_items.load(std::memory_order_acquire) != 0) {
    end_owner(segment, lock_owner(thread, static_cast<std::uint32_t>(claim >> 32)));
    record.took_items.store(0, std::memory_order_release);
  }
  for (auto& pinned : record.pinned) pinned.store(0, std::memory_order_relaxed);
}

}  // namespace

void recover_thread(Segment& segment, ThreadContext& me, std::uint32_t thread) {
  settle_thread(segment, me, thread);
  AtomicWord& claim = segment.thread(thread).claim;
  claim.store(claim.load(std::memory_order_relaxed) >> 32 << 32, std::memory_order_release);
}

bool recover_predecessor(Segment& segment, ThreadContext& me) {
  const SessionIndex own = me.session();
  const std::vector<SessionIndex> ours = with_inherited(segment, me, own);
  free_extents_lock(segment, me, ours);
  settle_thread(segment, me, me.index());
  each_thread_of(segment, own, [&](std::uint32_t thread, Word) {
    if (thread != me.index()) recover_thread(segment, me, thread);
  });
  for (SessionIndex session : ours) {
    if (session != own) (void)recover_claimed(segment, me, session);
  }
  return settle_session(segment, me, own);
}

Status recover_session(Segment& segment, ThreadContext& me, SessionIndex dead) {
  auto& record_state = segment.session(index_of(dead)).state;
  Word state = record_state.load(std::memory_order_acquire);
  if (session_state(state) == SessionState::kFree) return Status::kOk;
  if (session_state(state) == SessionState::kRecovering) {
    std::uint32_t recoverer = recoverer_of(state);
    if (recoverer == 0 || recoverer > kMaxSessions) return Status::kCorrupt;
    if (!session_is_dead(segment, SessionIndex{recoverer - 1})) return Status::kRetry;
  }
  // The proof, for the very session that is claimed: since the caller had his, another may have recovered that one, and
  // a new process have taken its record.
  if (!session_is_dead(segment, dead) ||
      !record_state.compare_exchange_strong(state, recovering_by(state, me.session()))) {
    return Status::kRetry;
  }
  return recover_claimed_session(segment, me, dead) ? Status::kOk : Status::kRetry;
}

bool recover_dead_holder(ThreadContext& me, LockWord& word) {
  Segment& segment = me.segment();
  std::uint32_t seen = word.state.load(std::memory_order_acquire);
  std::uint32_t owner = seen & ~kLockWaiters;
  if (owner == 0 || !owner_is_dead(segment, owner)) return false;
  std::uint32_t thread = lock_owner_thread(owner);
  if (thread < kMaxThreads) {
    Word claim = segment.thread(thread).claim.load(std::memory_order_acquire);
    auto session = static_cast<std::uint32_t>(claim & 0xffff'ffff);
    if (session != 0 && session <= kMaxSessions &&
        (claim >> 32 & kLockGenerationMask) == lock_owner_generation(owner)) {
      return recover_session(segment, me, SessionIndex{session - 1}) == Status::kOk;
    }
  }
  // The owner's slot is gone and the word was left: take it over (so that only one does), repair, free.
  if (!word.state.compare_exchange_strong(seen, me.owner() | kLockWaiters)) return false;
  repair_guarded(me, word);
  release_for_dead(word, me.owner());
  return true;
}

bool recover_dead_thread(ThreadContext& me, std::uint32_t thread) {
  Segment& segment = me.segment();
  if (thread >= kMaxThreads) return false;
  auto session = static_cast<std::uint32_t>(segment.thread(thread).claim.load(std::memory_order_acquire));
  if (session == 0 || session > kMaxSessions || !session_is_dead(segment, SessionIndex{session - 1})) return false;
  return recover_session(segment, me, SessionIndex{session - 1}) == Status::kOk;
}

int recover_all_dead(Segment& segment, ThreadContext& me) {
  int recovered = 0;
  auto sessions = static_cast<std::uint32_t>(segment.header().sessions_used.load(std::memory_order_acquire));
  for (std::uint32_t index = 0; index < sessions && index < kMaxSessions; ++index) {
    if (!session_is_dead(segment, SessionIndex{index})) continue;
    if (recover_session(segment, me, SessionIndex{index}) == Status::kOk) ++recovered;
  }
  return recovered;
}

}  // namespace commonhold::shm
