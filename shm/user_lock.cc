#include "shm/user_lock.h"

#include <iterator>
#include <utility>

#include "shm/condition.h"
#include "shm/control_block.h"
#include "shm/liveness.h"
#include "shm/lock_word.h"
#include "shm/segment.h"
#include "shm/thread_context.h"
#include "shm/thread_recovery.h"

namespace commonhold::shm {
namespace {

constexpr Word kUntold = Word{1} << 63;
constexpr int kDeathShift = 32, kDrawnShift = 51;
constexpr Word kDeaths = 0x7fff'ffff, kToken = (Word{1} << kDrawnShift) - 1;

constexpr Word death_word(Word deaths, std::uint32_t pid) {
  return kUntold | (deaths & kDeaths) << kDeathShift | pid;
}
constexpr Word told(Word died) {
  return died & kDeaths << kDeathShift;
}
constexpr std::uint32_t pid_of(Word died) {
  return static_cast<std::uint32_t>(died);
}

// Which deaths the calling thread was told of, the last few. Without a destructor: it outlives every other.
struct ToldDeath {
  const UserLockControl* lock = nullptr;
  Word died = 0;
};
constinit thread_local ToldDeath told_deaths[8];
constinit thread_local unsigned next_told = 0;

void note_told(const UserLockControl* lock, Word died) {
  for (ToldDeath& one : told_deaths) {
    if (one.lock == lock) {
      one.died = died;
      return;
    }
  }
  told_deaths[next_told++ % std::size(told_deaths)] = {lock, died};
}

// 0 for none. Forgets it.
Word take_told(const UserLockControl* lock) {
  for (ToldDeath& one : told_deaths) {
    if (one.lock == lock) return std::exchange(one, {}).died;
  }
  return 0;
}

}  // namespace

UserLock::UserLock(const ObjectAddress& where)
    : segment_(where.segment), control_(where.segment->at<UserLockControl>(where.control)) {}

Status UserLock::acquire_taken(ThreadContext& me, Deadline deadline, std::uint32_t* died) const {
  if (deadline.is_never() && (control_->options & kHandedOver) == 0 && held_by(me)) return Status::kDeadlock;
  Status status = lock(me, control_->word, deadline);
  if (status != Status::kOk) return status;
  status = taken(died);
  if (status == Status::kPoisoned) (void)unlock(me, control_->word);
  return status;
}

Status UserLock::reacquire(ThreadContext& me, std::uint32_t* died) const {
  Status status = lock(me, control_->word);
  return status == Status::kOk ? taken(died) : status;
}

// What a new owner has to do, and to be told: while it owns the lock, since anybody may end the poison then.
Status UserLock::taken(std::uint32_t* died) const {
  control_->drawn.store(0, std::memory_order_relaxed);
  const Word death = control_->died.load(std::memory_order_acquire);
  if ((control_->options & kPoisons) == 0 || (death & kUntold) == 0) return Status::kOk;
  note_told(control_, death);
  if (died != nullptr) *died = pid_of(death);
  return Status::kPoisoned;
}

bool UserLock::locked() const {
  return (control_->word.state.load(std::memory_order_acquire) & ~kLockWaiters) != 0;
}

std::uint32_t UserLock::holder_pid() const {
  std::uint32_t owner = control_->word.state.load(std::memory_order_acquire) & ~kLockWaiters;
  return owner == 0 ? 0 : awaited_pid(*segment_, owner);
}

std::uint32_t UserLock::died_pid() const {
  return pid_of(control_->died.load(std::memory_order_acquire));
}

std::uint32_t UserLock::take_died() const {
  Word death = control_->died.load(std::memory_order_acquire);
  if ((death & kUntold) != 0 && (control_->options & kPoisons) != 0) {
    note_told(control_, death);
    return pid_of(death);
  }
  // Again where another owner has died meanwhile: of that one nobody was told.
  while ((death & kUntold) != 0) {
    if (control_->died.compare_exchange_weak(death, told(death), std::memory_order_acq_rel)) return pid_of(death);
  }
  return 0;
}

bool UserLock::mark_consistent() const {
  Word now = control_->died.load(std::memory_order_acquire);
  Word known = take_told(control_);
  if (known == 0) known = now;
  if ((known & kUntold) != 0) {
    now = known;
    if (control_->died.compare_exchange_strong(now, told(known), std::memory_order_acq_rel)) return true;
  }
  return (now & kUntold) == 0;
}

std::uint64_t UserLock::fencing_token(const ThreadContext& me) const {
  if (!held_by(me)) return 0;
  const Word mine = Word{me.index() + 1} << kDrawnShift;
  const Word drawn = control_->drawn.load(std::memory_order_relaxed);
  if ((drawn & ~kToken) == mine) return drawn & kToken;
  const Word token = (control_->fence.fetch_add(1, std::memory_order_acq_rel) + 1) & kToken;
  // The caller alone could have taken it anew, so it owned it all the while; else somebody unlocked it and a later owner
  // may have drawn a lower token.
  if (!held_by(me)) return 0;
  control_->drawn.store(mine | token, std::memory_order_relaxed);
  return token;
}

Status UserLock::create(ThreadContext& me, std::uint32_t object, Word options, Offset& control) {
  Offset at = 0;
  Status status = take_control_block(me, object, sizeof(UserLockControl), at);
  if (status != Status::kOk) return status;
  store_word(&me.segment().at<UserLockControl>(at)->options, options & (kPoisons | kHandedOver));
  control = at;
  return Status::kOk;
}

void UserLock::repair(ThreadContext& me, const ObjectAddress& where, LockWord&) {
  repair_control(me, *where.segment->at<UserLockControl>(where.control));
}

void UserLock::repair_control(ThreadContext& me, UserLockControl& control) {
  std::uint32_t owner = dead_owner_of(me, control.word);
  const Word deaths = (control.died.load(std::memory_order_acquire) >> kDeathShift) + 1;
  control.died.store(death_word(deaths, owner_pid(me.segment(), owner)), std::memory_order_release);
  control.depth.store(0, std::memory_order_release);
  Condition::wake_all_on(me.segment(), me.segment().offset_of(&control));
}

void UserLock::each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word)) {
  visit(context, where.segment->at<UserLockControl>(where.control)->word);
}

}  // namespace commonhold::shm
