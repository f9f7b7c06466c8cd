#include "shm/semaphore.h"

#include "shm/control_block.h"
#include "shm/futex.h"
#include "shm/liveness.h"
#include "shm/lock_word.h"
#include "shm/object_table.h"
#include "shm/planted_fault.h"
#include "shm/recovery.h"
#include "shm/sleep_notice.h"
#include "shm/spin.h"

namespace commonhold::shm {
namespace {

constexpr Word kValue = kMostPermits;
constexpr Word kWaiters = Word{1} << 31;
constexpr int kHeldShift = 32, kSessionShift = 52;
constexpr Word kOneHeld = Word{1} << kHeldShift;
constexpr Word kHeld = kMostHeld << kHeldShift;
constexpr std::uint64_t kMoreBytes = (kMaxSessions - SemaphoreControl::kCells) * sizeof(std::uint32_t);
constexpr std::uint32_t kCellArena = 0;
constexpr int kSpins = 100;
// A call that does not wait for a permit waits so long for whoever is at `switching`, which takes him nanoseconds.
constexpr std::chrono::milliseconds kSwitchingGrace{200};

constexpr Word session_of(Word state) {
  return state >> kSessionShift;  // index + 1, 0 for none
}
constexpr Word held_of(Word state) {
  return state >> kHeldShift & kMostHeld;
}
constexpr Word state_word(Word value_and_waiters, Word session, Word held) {
  return (value_and_waiters & (kValue | kWaiters)) | held << kHeldShift | session << kSessionShift;
}

const std::atomic<std::uint32_t>& futex_of(const AtomicWord& state) {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  return reinterpret_cast<const std::atomic<std::uint32_t>&>(state);
}

// What `permits` more make of the state, in the name of the session that it names: its own go first. False: too many.
bool released(Word seen, Word permits, Word limit, Word& next) {
  Word value = seen & kValue;
  if (value > limit || permits > limit - value) return false;
  Word own = held_of(seen) < permits ? held_of(seen) : permits;
  next = ((seen & ~kWaiters) + permits) - (own << kHeldShift);
  return true;
}

// Notes, before the first permit, that the session may hold some of this semaphore.
void note_use(ThreadContext& me, Word session, Offset control) {
  auto& noted = me.segment().session(static_cast<std::uint32_t>(session - 1)).semaphores;
  for (AtomicWord& note : noted) {
    Word seen = note.load(std::memory_order_relaxed);
    if (seen == 0 && note.compare_exchange_strong(seen, control)) return;
    if ((seen & ~Word{1}) == control) return;
  }
  noted[1].fetch_or(1);
}

}  // namespace

Semaphore::Semaphore(const ObjectAddress& where)
    : where_(where),
      control_(where.segment->at<SemaphoreControl>(where.control)),
      limit_(control_->limit & kValue),
      counts_holders_(control_->kind == static_cast<Word>(SemaphoreKind::kPermits)) {}

Word Semaphore::own_session(ThreadContext& me) const {
  return counts_holders_ ? index_of(me.segment().session_index()) + Word{1} : 0;
}

// ---- the common case: our session came last

Status Semaphore::acquire(ThreadContext& me, Deadline deadline) const {
  Word session = own_session(me), change = (session != 0 ? kOneHeld : 0) - 1;
  Word seen = control_->state.load(std::memory_order_relaxed);
  while (session_of(seen) == session && (seen & kValue) != 0 && (seen & kHeld) != kHeld) {
    if (planted(PlantedFault::kLookThenStore)) return control_->state.store(seen + change), Status::kOk;
    // SYNC POINT: semaphore: acquire here, release in release and settle.
    if (control_->state.compare_exchange_weak(seen, seen + change, std::memory_order_acq_rel,
                                              std::memory_order_relaxed)) [[likely]]
      return Status::kOk;
  }
  Word left = 0;
  Status status = try_acquire(me, 0, deadline, left);
  if (status != Status::kRetry) return status;
  return deadline.is_already() ? Status::kTimedOut : wait_and_acquire(me, deadline);
}

Status Semaphore::release(ThreadContext& me, Word permits) const {
  Word session = own_session(me), next = 0;
  Word seen = control_->state.load(std::memory_order_relaxed);
  bool done = false;
  while (!done && session_of(seen) == session) {
    if (!released(seen, permits, limit_, next)) return Status::kOutOfRange;
    done = control_->state.compare_exchange_weak(seen, next, std::memory_order_acq_rel, std::memory_order_relaxed);
  }
  if (!done) {
    HeldLock held(me, control_->switching);
    Status status = prepare_cell(me, session);
    if (status != Status::kOk) return status;
    do {
      seen = control_->state.load(std::memory_order_relaxed);
      if (!released(switched(seen, session), permits, limit_, next)) return Status::kOutOfRange;
    } while (!control_->state.compare_exchange_weak(seen, next, std::memory_order_acq_rel, std::memory_order_relaxed));
  }
  if ((seen & kWaiters) != 0) [[unlikely]]
    futex_wake(futex_of(control_->state), static_cast<int>(permits));
  return Status::kOk;
}

// ---- another session came last, or there is no permit

// Takes a permit if there is one, setting `waiters`; `left` is how many remain. kRetry: there is none.
Status Semaphore::try_acquire(ThreadContext& me, Word waiters, Deadline deadline, Word& left) const {
  if ((control_->state.load(std::memory_order_relaxed) & kValue) == 0) return Status::kRetry;
  Word session = own_session(me);
  Deadline patience = deadline.left_ns(kSwitchingGrace / std::chrono::nanoseconds(1)) < kSwitchingGrace.count()
                          ? Deadline::after(kSwitchingGrace)
                          : deadline;
  Status status = lock(me, control_->switching, patience);
  if (status != Status::kOk) return status;
  status = prepare_cell(me, session);
  while (status == Status::kOk) {
    Word seen = control_->state.load(std::memory_order_relaxed);
    if ((seen & kValue) == 0) {
      status = Status::kRetry;
      break;
    }
    Word next = switched(seen, session) - 1;
    if (session != 0 && (next & kHeld) != kHeld) next += kOneHeld;
    left = next & kValue;
    if (control_->state.compare_exchange_weak(seen, next | waiters, std::memory_order_acq_rel,
                                              std::memory_order_relaxed))
      break;
  }
  (void)unlock(me, control_->switching);
  return status;
}

Status Semaphore::wait_and_acquire(ThreadContext& me, Deadline deadline) const {
  AtomicWord& state = control_->state;
  Word left = 0;
  for (int i = 0; looks_again(i, kSpins) && (state.load(std::memory_order_relaxed) & (kValue | kWaiters)) == 0; ++i) {
    relax();
  }
  bool slept = false;
  SleepNotice notice(me, futex_of(state));
  for (Deadline check = Deadline::after(std::chrono::nanoseconds(sleeper_check_ns()));;) {
    Status status = try_acquire(me, slept ? kWaiters : 0, deadline, left);
    if (status != Status::kRetry) {
      // W was clear since the release that woke us: others may sleep although there are permits.
      if (status != Status::kOk) state.fetch_or(kWaiters);
      if (slept && (left != 0 || status != Status::kOk)) futex_wake(futex_of(state), 1);
      return status;
    }
    const bool late = deadline.passed();  // also where permits come and go all the time
    Word seen = state.load(std::memory_order_seq_cst);
    if ((seen & kValue) != 0 && !late) continue;
    while ((seen & kWaiters) == 0 && !state.compare_exchange_weak(seen, seen | kWaiters)) {
    }
    if (late) {
      // W is set, so those who sleep on are not forgotten; nor is one when this wake-up was theirs.
      if (slept && (seen & kValue) != 0) futex_wake(futex_of(state), 1);
      return Status::kTimedOut;
    }
    if ((seen & kValue) != 0) continue;
    (void)futex_wait(futex_of(state), static_cast<std::uint32_t>(seen | kWaiters),
                     deadline.left_ns(check.left_ns(sleeper_check_ns())));
    slept = true;
    if (check.passed()) {
      recover_dead_holders(me);
      check = Deadline::after(std::chrono::nanoseconds(sleeper_check_ns()));
    }
  }
}

const std::atomic<std::uint32_t>& Semaphore::futex() const {
  return futex_of(control_->state);
}

bool Semaphore::announce_waiter(std::uint32_t& expected) const {
  AtomicWord& state = control_->state;
  Word seen = state.load(std::memory_order_seq_cst);
  while ((seen & (kValue | kWaiters)) == 0 && !state.compare_exchange_weak(seen, seen | kWaiters)) {
  }
  expected = static_cast<std::uint32_t>((seen & kValue) == 0 ? seen | kWaiters : seen);
  return (seen & kValue) == 0;
}

void Semaphore::recover_dead_holders(ThreadContext& me) const {
  Segment& segment = me.segment();
  const std::uint32_t sessions = segment.sessions_used();
  for (std::uint32_t index = 0; index < sessions; ++index) {
    auto* held = cell(index + 1);
    bool holds = held != nullptr && held->load(std::memory_order_relaxed) != 0;
    if (!holds && session_of(control_->state.load(std::memory_order_relaxed)) != index + 1) continue;
    if (session_is_dead(segment, SessionIndex{index})) (void)recover_session(segment, me, SessionIndex{index});
  }
}

// ---- cells and switching

std::atomic<std::uint32_t>* Semaphore::cell(Word session) const {
  Word index = session - 1;
  if (index < SemaphoreControl::kCells) return &control_->held[index];
  Offset more = control_->more.load(std::memory_order_acquire);
  if (index >= kMaxSessions || more % 8 != 0 || !where_.segment->holds(more, kMoreBytes)) return nullptr;
  return where_.segment->at<std::atomic<std::uint32_t>>(more) + (index - SemaphoreControl::kCells);
}

// What the session needs before `state` names it. A chunk that a death left beside `more` is given back by repair.
Status Semaphore::prepare_cell(ThreadContext& me, Word session) const {
  if (session == 0) return Status::kOk;
  note_use(me, session, where_.control);
  if (cell(session) != nullptr) return Status::kOk;
  if (control_->more.load(std::memory_order_relaxed) != 0) return Status::kCorrupt;
  Offset chunk = 0;
  Status status = take_chunk(me, ChunkOwner(where_.object, kCellArena), kMoreBytes, chunk);
  if (status != Status::kOk) return status;
  zero_words(where_.segment->at<std::byte>(chunk), kMoreBytes);
  control_->more.store(chunk, std::memory_order_release);
  return Status::kOk;
}

// The state with `session` in the place of the one that `seen` names, whose count goes into its cell. Not yet in force.
Word Semaphore::switched(Word seen, Word session) const {
  if (session_of(seen) == session) return seen;
  if (auto* before = session_of(seen) != 0 ? cell(session_of(seen)) : nullptr) {
    before->store(static_cast<std::uint32_t>(held_of(seen)), std::memory_order_release);
  }
  auto* own = session != 0 ? cell(session) : nullptr;
  return state_word(seen, session, own != nullptr ? own->load(std::memory_order_acquire) & kMostHeld : 0);
}

// ---- the end of a session

// REQUIRES: `switching` is held.
void Semaphore::settle(ThreadContext&, Word session, bool give_back) const {
  auto* own = cell(session);
  AtomicWord& state = control_->state;
  Word seen = state.load(std::memory_order_relaxed);
  if (session_of(seen) != session) {
    if (own == nullptr || own->load(std::memory_order_relaxed) == 0) return;
    // Into `state` first, so that giving back is one step.
    while (!state.compare_exchange_weak(seen, switched(seen, session))) {
    }
    seen = state.load(std::memory_order_relaxed);
  }
  // It means nothing as long as `state` names the session, and will be in force afterwards.
  if (own != nullptr) own->store(0, std::memory_order_release);
  Word next = 0;
  do {
    Word value = seen & kValue, held = give_back ? held_of(seen) : 0;
    if (value < limit_) value = held < limit_ - value ? value + held : limit_;
    next = state_word(value, 0, 0);
  } while (!state.compare_exchange_weak(seen, next, std::memory_order_acq_rel, std::memory_order_relaxed));
  if ((seen & kWaiters) != 0) futex_wake_all(futex_of(state));
}

namespace {

// Calls visit(info) for each semaphore of which the session may hold permits.
template <typename Visit>
void each_noted(const Segment& segment, SessionIndex session, Visit&& visit) {
  const auto visit_semaphore = [&](const ObjectInfo& info) {
    if (info.kind == ObjectKind::kSemaphore && segment.holds(info.control, sizeof(SemaphoreControl))) visit(info);
  };
  const auto& noted = segment.session(index_of(session)).semaphores;
  const Word last = noted[1].load(std::memory_order_acquire);
  if ((last & 1) != 0) return for_each_object(segment, visit_semaphore);
  for (Offset control : {noted[0].load(std::memory_order_acquire), last}) {
    ObjectInfo info;
    ChunkOwner owner = control != 0 && segment.holds(control, 1) ? chunk_owner(segment, control) : ChunkOwner();
    // What was noted may be gone by now, and its memory another object's.
    if (!owner || owner.object() >= kMaxObjects) continue;
    if (object_info(segment, owner.object(), info) == Status::kOk && info.control == control) visit_semaphore(info);
  }
}

}  // namespace

bool settle_permits(ThreadContext& me, SessionIndex session, bool give_back) {
  Segment& segment = me.segment();
  bool all = true;
  each_noted(segment, session, [&](const ObjectInfo& info) {
    Semaphore semaphore({&segment, info.id.index, info.control});
    LockWord& switching = semaphore.control_->switching;
    if (lock(me, switching, Deadline::after(kSwitchingGrace)) != Status::kOk) {
      all = false;
      return;
    }
    semaphore.settle(me, index_of(session) + Word{1}, give_back);
    (void)unlock(me, switching);
  });
  // After an end in order they stay: other threads may acquire until the process is gone. Who joins makes them anew.
  if (!give_back || !all) return all;
  for (AtomicWord& note : segment.session(index_of(session)).semaphores) note.store(0, std::memory_order_release);
  return true;
}

void help_settle_permits(ThreadContext& me, SessionIndex session, std::uint32_t generation) {
  Segment& segment = me.segment();
  const AtomicWord& state = segment.session(index_of(session)).state;
  each_noted(segment, session, [&](const ObjectInfo& info) {
    Semaphore semaphore({&segment, info.id.index, info.control});
    LockWord& switching = semaphore.control_->switching;
    if (lock(me, switching, Deadline::after(kSwitchingGrace)) != Status::kOk) return;
    // While we hold `switching`, its record cannot become another's to whom permits of this semaphore belong: whoever
    // recovers it settles this semaphore before, and the other has to switch after.
    const Word now = state.load(std::memory_order_acquire);
    const bool is_dead_one = session_generation(now) == generation && session_state(now) != SessionState::kFree;
    if (is_dead_one) semaphore.settle(me, index_of(session) + Word{1}, true);
    (void)unlock(me, switching);
  });
}

// ---- reports

Word Semaphore::value() const {
  return control_->state.load(std::memory_order_acquire) & kValue;
}

Word Semaphore::held(ThreadContext& me) const {
  const Word session = own_session(me);
  if (session == 0) return 0;
  for (;;) {
    const Word seen = control_->state.load(std::memory_order_acquire);
    if (session_of(seen) == session) return held_of(seen);
    auto* own = cell(session);
    const Word permits = own != nullptr ? own->load(std::memory_order_acquire) & kMostHeld : 0;
    // While `state` names the same other session nobody writes our cell.
    if (session_of(control_->state.load(std::memory_order_acquire)) == session_of(seen)) return permits;
  }
}

Word Semaphore::held_by_all(ThreadContext& me) const {
  HeldLock held(me, control_->switching);
  Word seen = control_->state.load(std::memory_order_relaxed), sum = held_of(seen);
  for (Word session = 1; session <= kMaxSessions; ++session) {
    auto* other = session != session_of(seen) ? cell(session) : nullptr;
    if (other != nullptr) sum += other->load(std::memory_order_relaxed);
  }
  return sum;
}

std::vector<Semaphore::Holder> Semaphore::holders() const {
  std::vector<Holder> all;
  for (Word seen = control_->state.load(std::memory_order_acquire), tries = 0; tries < 100; ++tries) {
    all.clear();
    for (Word session = 1; session <= kMaxSessions; ++session) {
      auto* own = cell(session);
      Word permits = session == session_of(seen) ? held_of(seen)
                     : own != nullptr            ? own->load(std::memory_order_acquire) & kMostHeld
                                                 : 0;
      if (permits != 0) all.push_back({static_cast<std::uint32_t>(session - 1), permits});
    }
    // While the session in `state` is the same, no cell that counts is written.
    Word now = control_->state.load(std::memory_order_acquire);
    if (session_of(now) == session_of(seen)) break;
    seen = now;
  }
  return all;
}

// ---- the catalogue

Status Semaphore::create(ThreadContext& me, std::uint32_t object, Word start, bool bounded, SemaphoreKind kind,
                         Offset& control) {
  if (start > kMostPermits) return Status::kOutOfRange;
  Offset at = 0;
  Status status = take_control_block(me, object, sizeof(SemaphoreControl), at);
  if (status != Status::kOk) return status;
  auto* made = me.segment().at<SemaphoreControl>(at);
  store_word(&made->limit, bounded ? start : kMostPermits);
  store_word(&made->kind, static_cast<Word>(kind));
  made->state.store(start, std::memory_order_release);
  control = at;
  return Status::kOk;
}

void Semaphore::repair(ThreadContext& me, const ObjectAddress& where, LockWord&) {
  Offset more = where.segment->at<SemaphoreControl>(where.control)->more.load(std::memory_order_acquire);
  for_each_chunk(*where.segment, ChunkOwner(where.object, kCellArena), [&](Offset chunk, std::uint64_t bytes) {
    if (chunk != more) give_chunk(me, chunk, bytes);
  });
}

void Semaphore::each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word)) {
  visit(context, where.segment->at<SemaphoreControl>(where.control)->switching);
}

}  // namespace commonhold::shm
