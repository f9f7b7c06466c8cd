#include "shm/recovery.h"

#include <bitset>
#include <new>
#include <optional>

#include "shm/extents.h"
#include "shm/liveness.h"
#include "shm/object_table.h"
#include "shm/object_types.h"
#include "shm/references.h"
#include "shm/semaphore.h"
#include "shm/sleep_notice.h"
#include "shm/thread_recovery.h"

namespace commonhold::shm {

namespace {

Word claimed_by(const ThreadContext& me, Word state) {
  const Word own = me.segment().session(index_of(me.session())).state.load(std::memory_order_relaxed);
  return recovering_by(state, me.session(), own);
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

// Calls visit(thread index, claim) for each thread slot of a session.
template <typename Visit>
void each_thread_of(Segment& segment, SessionIndex session, Visit&& visit) {
  const std::uint32_t threads = segment.threads_used();
  for (std::uint32_t index = 0; index < threads; ++index) {
    Word claim = segment.thread(index).claim.load(std::memory_order_acquire);
    if ((claim & 0xffff'ffff) == index_of(session) + 1) visit(index, claim);
  }
}

// The sessions that a recovery has claimed. No memory is allocated for it: it is needed when there is none.
using Sessions = std::bitset<kMaxSessions>;

template <typename Visit>
void each_of(const Sessions& sessions, Visit&& visit) {
  for (std::uint32_t index = 0; index < kMaxSessions; ++index) {
    if (sessions[index]) visit(SessionIndex{index});
  }
}

// Adds those whom one of `ours` was recovering when it died, or a former user of its record: they are ours now, before
// the record can be used by another.
void inherit(Segment& segment, const ThreadContext& me, Sessions& ours) {
  const std::uint32_t sessions = segment.sessions_used();
  for (bool found = true; found;) {
    found = false;
    for (std::uint32_t index = 0; index < sessions; ++index) {
      auto& other = segment.session(index).state;
      Word state = other.load(std::memory_order_acquire);
      std::uint32_t recoverer = recoverer_of(state);
      if (ours[index] || session_state(state) != SessionState::kRecovering) continue;
      if (recoverer == 0 || recoverer > kMaxSessions || !ours[recoverer - 1]) continue;
      if (!other.compare_exchange_strong(state, claimed_by(me, state))) continue;
      ours[index] = found = true;
    }
  }
}

// The extents' lock before all repairs, which need it: a thread that comes later may hold it, and nobody else can
// recover whom we have claimed.
void free_extents_lock(Segment& segment, ThreadContext& me, const Sessions& dead) {
  each_of(dead, [&](SessionIndex session) {
    each_thread_of(segment, session, [&](std::uint32_t thread, Word claim) {
      recover_word(me, segment.header().extents_lock, lock_owner(thread, static_cast<std::uint32_t>(claim >> 32)));
    });
  });
}

// What a session left beside its threads. False: a live process holds a semaphore of which it had permits.
bool settle_session(Segment& segment, ThreadContext& me, SessionIndex dead) {
  const bool settled = settle_permits(me, dead, true);
  tell_of_death(segment, dead);
  wake_sleepers(segment);
  if (settled) drop_all_references(me, dead);
  return settled;
}

void end_claim(Segment& segment, SessionIndex session, SessionState then) {
  AtomicWord& state = segment.session(index_of(session)).state;
  state.store(state.load(std::memory_order_relaxed) >> 32 << 32 | static_cast<Word>(then), std::memory_order_release);
}

// Recovers each of `ours`, and takes out those with whom it has done. False: something of a session could not be
// settled, because a live process holds it. Its threads are recovered, and the rest is for the next attempt.
bool recover_claimed(Segment& segment, ThreadContext& me, Sessions& ours) {
  bool all = true;
  each_of(Sessions(ours), [&](SessionIndex session) {
    each_thread_of(segment, session, [&](std::uint32_t thread, Word) { recover_thread(segment, me, thread); });
    const bool settled = settle_session(segment, me, session);
    end_claim(segment, session, settled ? SessionState::kFree : SessionState::kLive);
    ours[index_of(session)] = false;
    all = all && settled;
  });
  return all;
}

// Whoever has claimed the session may be stopped, or slow: what can be done without the claim is done by whoever is
// held up, so that a stopped recoverer keeps no more than the lock that it is at. REQUIRES: the session is dead.
void help_recovery(Segment& segment, ThreadContext& me, SessionIndex dead, Word state) {
  try {
    each_thread_of(segment, dead, [&](std::uint32_t thread, Word claim) { help_thread(segment, me, thread, claim); });
    help_settle_permits(me, dead, static_cast<std::uint32_t>(state >> 32));
    tell_of_death(segment, dead);
    wake_sleepers(segment);
  } catch (const std::bad_alloc&) {  // the next who is held up tries again
  }
}

}  // namespace

void recover_thread(Segment& segment, ThreadContext& me, std::uint32_t thread) {
  settle_thread(segment, me, thread);
  AtomicWord& claim = segment.thread(thread).claim;
  claim.store(claim.load(std::memory_order_relaxed) >> 32 << 32, std::memory_order_release);
}

bool recover_predecessor(Segment& segment, ThreadContext& me) {
  const SessionIndex own = me.session();
  Sessions ours;
  ours[index_of(own)] = true;
  inherit(segment, me, ours);
  try {
    free_extents_lock(segment, me, ours);
    settle_thread(segment, me, me.index());
    each_thread_of(segment, own, [&](std::uint32_t thread, Word) {
      if (thread != me.index()) recover_thread(segment, me, thread);
    });
    ours[index_of(own)] = false;
    (void)recover_claimed(segment, me, ours);
    return settle_session(segment, me, own);
  } catch (...) {
    ours[index_of(own)] = false;
    each_of(ours, [&](SessionIndex session) { end_claim(segment, session, SessionState::kLive); });
    throw;
  }
}

Status recover_session(Segment& segment, ThreadContext& me, SessionIndex dead) {
  auto& record_state = segment.session(index_of(dead)).state;
  Word state = record_state.load(std::memory_order_acquire);
  if (session_state(state) == SessionState::kFree) return Status::kOk;
  if (session_state(state) == SessionState::kRecovering) {
    // One that there cannot be, as garbage may say, is at nothing.
    const std::uint32_t recoverer = recoverer_of(state);
    const bool exists = recoverer != 0 && recoverer <= kMaxSessions;
    if (exists && !recoverer_is_dead(segment, state)) {
      if (session_is_dead(segment, dead)) help_recovery(segment, me, dead, state);
      return Status::kRetry;
    }
  }
  // The proof, for the very session that is claimed: since the caller had his, another may have recovered that one, and
  // a new process have taken its record.
  if (!session_is_dead(segment, dead) || !record_state.compare_exchange_strong(state, claimed_by(me, state))) {
    return Status::kRetry;
  }
  Sessions ours;
  ours[index_of(dead)] = true;
  try {
    inherit(segment, me, ours);
    free_extents_lock(segment, me, ours);
    return recover_claimed(segment, me, ours) ? Status::kOk : Status::kRetry;
  } catch (const std::bad_alloc&) {
    // Not claimed any more: whoever has memory does it, from the start.
    each_of(ours, [&](SessionIndex session) { end_claim(segment, session, SessionState::kLive); });
    return Status::kRetry;
  }
}

namespace {

// Whether the thread of that record may hold the lock: it has announced the word, or all locks of the object, or it has
// more locks than it could announce. Of one that waits for the lock itself: it has announced the word once more.
bool may_hold(const Segment& segment, const ThreadRecord& record, const LockWord& word, bool waits) {
  if (record.overflow.load(std::memory_order_acquire) != 0) return true;
  int announced_to_wait = waits ? 1 : 0;
  const Offset at = segment.offset_of(&word);
  const ChunkOwner guarded = chunk_owner(segment, at);
  // From the end, see ThreadContext::make_room.
  for (std::size_t i = kAnnouncements; i-- > 0;) {
    const Word announced = record.announced[i].load(std::memory_order_acquire);
    const auto kind = static_cast<Announced>(announced & 7);
    if (kind == Announced::kWord && (announced & ~Word{7}) == at && announced_to_wait-- == 0) return true;
    if (kind != Announced::kObject || !guarded || waits) continue;
    if (chunk_owner(segment, announced & ~Word{7}).object() == guarded.object()) return true;
  }
  return false;
}

}  // namespace

// A thread announces a lock before it takes it, until after it has freed it. So one that does not run, and whose
// announcements do not speak of the lock that names it, does not hold it. That it did not run meanwhile is the kernel's
// word. A thread that is awake all the time is left alone: looking at its announcements one by one would prove nothing.
bool free_unheld_lock(ThreadContext& me, LockWord& word) {
  const Segment& segment = me.segment();
  const std::uint32_t owner = word.state.load(std::memory_order_acquire) & ~kLockWaiters;
  const std::uint32_t thread = lock_owner_thread(owner);
  if (owner == 0 || thread >= kMaxThreads) return false;
  const bool own = thread == me.index();
  const ThreadRecord& record = segment.thread(thread);
  if (may_hold(segment, record, word, own)) return false;  // the usual case: no system call for it
  const auto before = own ? std::optional<std::uint64_t>(0) : rests_of_thread(segment, thread);
  if (!before || (word.state.load(std::memory_order_acquire) & ~kLockWaiters) != owner) return false;
  if (may_hold(segment, record, word, own)) return false;
  const std::uint32_t seen = word.state.load(std::memory_order_acquire);
  if ((seen & ~kLockWaiters) != owner || (!own && rests_of_thread(segment, thread) != before)) return false;
  try {
    recover_word(me, word, owner);
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

bool recover_dead_holder(ThreadContext& me, LockWord& word) {
  Segment& segment = me.segment();
  segment.recover_ended_threads(me);
  std::uint32_t seen = word.state.load(std::memory_order_acquire);
  std::uint32_t owner = seen & ~kLockWaiters;
  if (owner == 0 || !owner_is_dead(segment, owner)) return false;
  std::uint32_t thread = lock_owner_thread(owner);
  if (thread < kMaxThreads) {
    Word claim = segment.thread(thread).claim.load(std::memory_order_acquire);
    auto session = static_cast<std::uint32_t>(claim & 0xffff'ffff);
    if (session != 0 && session <= kMaxSessions &&
        (claim >> 32 & kLockGenerationMask) == lock_owner_generation(owner) &&
        session_state(segment.session(session - 1).state.load(std::memory_order_acquire)) != SessionState::kFree) {
      return recover_session(segment, me, SessionIndex{session - 1}) == Status::kOk;
    }
  }
  // The owner's slot is gone and the word was left.
  try {
    recover_word(me, word, owner);
  } catch (const std::bad_alloc&) {
    return false;
  }
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
  const std::uint32_t sessions = segment.sessions_used();
  for (std::uint32_t index = 0; index < sessions; ++index) {
    if (!session_is_dead(segment, SessionIndex{index})) continue;
    if (recover_session(segment, me, SessionIndex{index}) == Status::kOk) ++recovered;
  }
  return recovered;
}

}  // namespace commonhold::shm
