#include "shm/user_lock.h"

#include "shm/condition.h"
#include "shm/control_block.h"
#include "shm/liveness.h"
#include "shm/lock_word.h"
#include "shm/segment.h"
#include "shm/thread_context.h"
#include "shm/thread_recovery.h"

namespace commonhold::shm {
namespace {
constexpr Word kDied = Word{1} << 63;
}

UserLock::UserLock(const ObjectAddress& where)
    : segment_(where.segment), control_(where.segment->at<UserLockControl>(where.control)) {}

Status UserLock::acquire_taken(ThreadContext& me, Deadline deadline) const {
  Status status = lock(me, control_->word, deadline);
  if (status != Status::kOk) return status;
  if (control_->poisons != 0 && control_->died.load(std::memory_order_relaxed) != 0) {
    (void)unlock(me, control_->word);
    return Status::kPoisoned;
  }
  control_->fence.store(control_->fence.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return Status::kOk;
}

Status UserLock::reacquire(ThreadContext& me) const {
  Status status = lock(me, control_->word);
  if (status != Status::kOk) return status;
  control_->fence.store(control_->fence.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  bool poisoned = control_->poisons != 0 && control_->died.load(std::memory_order_relaxed) != 0;
  return poisoned ? Status::kPoisoned : Status::kOk;
}

bool UserLock::locked() const {
  return (control_->word.state.load(std::memory_order_acquire) & ~kLockWaiters) != 0;
}

std::uint32_t UserLock::holder_pid() const {
  std::uint32_t owner = control_->word.state.load(std::memory_order_acquire) & ~kLockWaiters;
  return owner == 0 ? 0 : awaited_pid(*segment_, owner);
}

std::uint32_t UserLock::died_pid() const {
  return static_cast<std::uint32_t>(control_->died.load(std::memory_order_acquire));
}

std::uint32_t UserLock::take_died() const {
  if (control_->poisons != 0) return died_pid();
  return static_cast<std::uint32_t>(control_->died.exchange(0, std::memory_order_acq_rel));
}

void UserLock::mark_consistent() const {
  control_->died.store(0, std::memory_order_release);
}

std::uint64_t UserLock::fencing_token() const {
  return control_->fence.load(std::memory_order_relaxed);
}

Status UserLock::create(ThreadContext& me, std::uint32_t object, bool poisons, Offset& control) {
  Offset at = 0;
  Status status = take_control_block(me, object, sizeof(UserLockControl), at);
  if (status != Status::kOk) return status;
  store_word(&me.segment().at<UserLockControl>(at)->poisons, poisons ? 1 : 0);
  control = at;
  return Status::kOk;
}

void UserLock::repair(ThreadContext& me, const ObjectAddress& where, LockWord&) {
  repair_control(me, *where.segment->at<UserLockControl>(where.control));
}

void UserLock::repair_control(ThreadContext& me, UserLockControl& control) {
  std::uint32_t owner = dead_owner_of(me, control.word);
  control.died.store(kDied | owner_pid(me.segment(), owner), std::memory_order_release);
  control.depth.store(0, std::memory_order_release);
  Condition::wake_all_on(me.segment(), me.segment().offset_of(&control));
}

void UserLock::each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word)) {
  visit(context, where.segment->at<UserLockControl>(where.control)->word);
}

}  // namespace commonhold::shm
