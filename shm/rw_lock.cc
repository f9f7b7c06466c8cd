#include "shm/rw_lock.h"

#include "shm/control_block.h"
#include "shm/futex.h"
#include "shm/liveness.h"
#include "shm/lock_word.h"
#include "shm/recovery.h"
#include "shm/segment.h"
#include "shm/sleep_notice.h"
#include "shm/spin.h"
#include "shm/thread_recovery.h"

namespace commonhold::shm {
namespace {

constexpr Word kDied = Word{1} << 63;
constexpr int kSpins = 100;  // about as long as a short critical section takes

}  // namespace

RwLock::RwLock(const ObjectAddress& where) : where_(where), control_(where.segment->at<RwLockControl>(where.control)) {}

bool RwLock::is_mine(const ThreadContext& me) const {
  return (control_->word.state.load(std::memory_order_relaxed) & ~kLockWaiters) == me.owner();
}

// ---- readers

// REQUIRES: the caller is announced.
bool RwLock::readable() const {
  // SYNC POINT: reader announced; a writer takes the word before it looks through the slots, or skips that.
  while (control_->word.state.load(std::memory_order_seq_cst) == 0) {
    if (control_->readers_seen.load(std::memory_order_seq_cst) != 0) {
      return control_->word.state.load(std::memory_order_seq_cst) == 0;
    }
    control_->readers_seen.store(1, std::memory_order_seq_cst);
  }
  return false;
}

Status RwLock::acquire_shared(ThreadContext& me, Deadline deadline) const {
  if (share_free(me)) [[likely]]
    return Status::kOk;
  // Who shares it already keeps writers out, and a writer that waits for it must not be waited for.
  if (me.shares(where_.control)) [[unlikely]]
    return me.announce_shared(where_.control) ? Status::kOk : Status::kTooMany;
  if (!me.announce_shared(where_.control)) return Status::kTooMany;
  if (readable()) return Status::kOk;
  (void)me.retract_shared(where_.control);
  reader_gone();  // a writer may have seen us
  if (is_mine(me)) return Status::kDeadlock;
  if (deadline.is_already()) return Status::kTimedOut;
  Status status = lock(me, control_->word, deadline);
  if (status != Status::kOk) return status;
  bool announced = me.announce_shared(where_.control);
  control_->readers_seen.store(1, std::memory_order_seq_cst);
  (void)unlock(me, control_->word);
  return announced ? Status::kOk : Status::kTooMany;
}

Status RwLock::release_shared(ThreadContext& me) const {
  if (unshare_last(me)) [[likely]]
    return Status::kOk;
  if (!me.retract_shared(where_.control)) return Status::kNotHeld;
  reader_gone();
  return Status::kOk;
}

void RwLock::wake_writer() const {
  control_->drained.fetch_add(1, std::memory_order_seq_cst);
  futex_wake_all(control_->drained);
}

// ---- writers

// Calls visit(thread index, times) for each slot that announces the lock.
template <typename Visit>
void RwLock::each_reader(Visit&& visit) const {
  Segment& segment = *where_.segment;
  const Word mark = where_.control | static_cast<Word>(Announced::kShared);
  const std::uint32_t threads = segment.threads_used();
  for (std::uint32_t index = 0; index < threads; ++index) {
    ThreadRecord& record = segment.thread(index);
    if ((record.claim.load(std::memory_order_seq_cst) & 0xffff'ffff) == 0) continue;
    int times = 0;
    // From the end, see ThreadContext::make_room. SYNC POINT: reader announced, reader gone.
    for (std::size_t i = kAnnouncements; i-- > 0;) times += record.announced[i].load(std::memory_order_seq_cst) == mark;
    if (times != 0) visit(index, times);
  }
}

Status RwLock::acquire(ThreadContext& me, Deadline deadline) const {
  if (me.shares(where_.control) || is_mine(me)) return Status::kDeadlock;
  Status status = lock(me, control_->word, deadline);
  if (status != Status::kOk) return status;
  if (control_->readers_seen.load(std::memory_order_seq_cst) != 0) {  // SYNC POINT: reader announced
    status = drain(me, deadline);
    if (status != Status::kOk) {
      (void)unlock(me, control_->word);
      return status;
    }
  }
  control_->exclusive.store(1, std::memory_order_relaxed);
  return Status::kOk;
}

// Readers who died and whose recovery is not over, because whoever is at it may be stopped: they read no more.
class RwLock::DeadReaders {
 public:
  void clear() { count_ = 0; }
  void add(std::uint32_t thread, Word claim) {
    if (count_ < kMost) all_[count_++] = {thread, claim};
  }
  // REQUIRES: the reader's announcement was read before. The claim tells whether it was the dead one's.
  bool has(const ThreadRecord& record, std::uint32_t thread) const {
    const Word claim = record.claim.load(std::memory_order_seq_cst);
    for (std::uint32_t i = 0; i < count_; ++i) {
      if (all_[i].thread == thread && all_[i].claim == claim) return true;
    }
    return false;
  }

 private:
  static constexpr std::uint32_t kMost = 64;  // more wait for another's recovery
  struct Reader {
    std::uint32_t thread;
    Word claim;
  };
  std::uint32_t count_ = 0;
  Reader all_[kMost];
};

void RwLock::recover_reader(ThreadContext& me, std::uint32_t thread, DeadReaders& dead) const {
  Segment& segment = *where_.segment;
  const Word claim = segment.thread(thread).claim.load(std::memory_order_acquire);
  auto session = static_cast<std::uint32_t>(claim);
  if (session == 0 || session > kMaxSessions || !session_is_dead(segment, SessionIndex{session - 1})) return;
  if (recover_session(segment, me, SessionIndex{session - 1}) == Status::kOk) return;
  if (segment.thread(thread).claim.load(std::memory_order_acquire) == claim &&
      session_is_dead(segment, SessionIndex{session - 1})) {
    dead.add(thread, claim);
  }
}

// Waits until nobody shares the lock. REQUIRES: the caller owns the word.
Status RwLock::drain(ThreadContext& me, Deadline deadline) const {
  Segment& segment = *where_.segment;
  Status status = Status::kOk;
  DeadReaders dead;
  SleepNotice notice(me, control_->drained);
  control_->draining.store(1, std::memory_order_seq_cst);  // SYNC POINT: reader gone
  Deadline check = Deadline::after(std::chrono::nanoseconds(sleeper_check_ns()));
  for (int spins = 0;;) {
    std::uint32_t before = control_->drained.load(std::memory_order_seq_cst);
    bool any = false;
    each_reader([&](std::uint32_t thread, int) { any = any || !dead.has(segment.thread(thread), thread); });
    if (!any) {
      control_->readers_seen.store(0, std::memory_order_seq_cst);
      break;
    }
    if (deadline.passed()) {
      status = Status::kTimedOut;
      break;
    }
    if (looks_again(++spins, kSpins)) {
      relax();
      continue;
    }
    (void)futex_wait(control_->drained, before, deadline.left_ns(check.left_ns(sleeper_check_ns())));
    if (!check.passed()) continue;
    dead.clear();
    each_reader([&](std::uint32_t thread, int) { recover_reader(me, thread, dead); });
    check = Deadline::after(std::chrono::nanoseconds(sleeper_check_ns()));
  }
  control_->draining.store(0, std::memory_order_release);
  return status;
}

Status RwLock::release(ThreadContext& me) const {
  if (!is_mine(me)) return Status::kNotHeld;
  control_->exclusive.store(0, std::memory_order_relaxed);
  return unlock(me, control_->word);
}

// ---- reports

bool RwLock::held_by(const ThreadContext& me) const {
  return is_mine(me);
}

bool RwLock::shared_by(const ThreadContext& me) const {
  return me.shares(where_.control);
}

std::uint32_t RwLock::writer_pid() const {
  std::uint32_t owner = control_->word.state.load(std::memory_order_acquire) & ~kLockWaiters;
  if (owner == 0 || control_->exclusive.load(std::memory_order_acquire) == 0) return 0;
  return owner_pid(*where_.segment, owner);
}

std::uint32_t RwLock::readers() const {
  if (control_->exclusive.load(std::memory_order_acquire) != 0) return 0;  // who is announced will turn back
  std::uint32_t threads = 0;
  each_reader([&](std::uint32_t, int) { ++threads; });
  return threads;
}

std::vector<RwLock::Reader> RwLock::all_readers() const {
  if (control_->exclusive.load(std::memory_order_acquire) != 0) return {};
  std::vector<Reader> all;
  each_reader([&](std::uint32_t thread, int times) { all.push_back({thread, static_cast<std::uint32_t>(times)}); });
  return all;
}

std::uint32_t RwLock::take_died() const {
  return static_cast<std::uint32_t>(control_->died.exchange(0, std::memory_order_acq_rel));
}

// ---- the catalogue

Status RwLock::create(ThreadContext& me, std::uint32_t object, Offset& control) {
  return take_control_block(me, object, sizeof(RwLockControl), control);
}

void RwLock::repair(ThreadContext& me, const ObjectAddress& where, LockWord& held) {
  auto* control = where.segment->at<RwLockControl>(where.control);
  std::uint32_t owner = dead_owner_of(me, held);
  if (control->exclusive.load(std::memory_order_acquire) != 0) {
    control->died.store(kDied | owner_pid(me.segment(), owner), std::memory_order_release);
    control->exclusive.store(0, std::memory_order_release);
  }
  control->draining.store(0, std::memory_order_release);
}

void RwLock::each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word)) {
  visit(context, where.segment->at<RwLockControl>(where.control)->word);
}

}  // namespace commonhold::shm
