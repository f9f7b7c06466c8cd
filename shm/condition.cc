#include "shm/condition.h"

#include <utility>

#include "shm/control_block.h"
#include "shm/extents.h"
#include "shm/liveness.h"
#include "shm/lock_word.h"
#include "shm/object_table.h"
#include "shm/planted_fault.h"
#include "shm/recovery.h"
#include "shm/spin.h"

namespace commonhold::shm {

namespace {

// The lock that a control block names, nullptr when it names none.
UserLockControl* lock_of(const Segment& segment, const ConditionControl& control) {
  Offset at = load_word(&control.lock_at);
  return at % 8 == 0 && segment.holds(at, sizeof(UserLockControl)) ? segment.at<UserLockControl>(at) : nullptr;
}

// Tells a thread whatever it waits for: it was found by its ticket, or all are meant.
bool tell_waiter(ThreadRecord& record, Word state, std::uint32_t note) {
  if (waited(state) != Waited::kWaiting) return false;
  if (!change_wait(record, state, Waited::kTold, note)) {
    if ((state & kAsleep) != 0) return false;
    state |= kAsleep;  // it may have fallen asleep meanwhile
    if (!change_wait(record, state, Waited::kTold, note)) return false;
  }
  if ((state & kAsleep) != 0) futex_wake(wait_futex(record), 1);
  return true;
}

constexpr Word kWindow = Word{1} << 31;  // tickets that lie further back than this are nobody's

std::uint32_t note_of(Word next_ticket) {
  return static_cast<std::uint32_t>(next_ticket);
}

}  // namespace

Condition::Condition(const ObjectAddress& where)
    : where_(where),
      control_(where.segment->at<ConditionControl>(where.control)),
      lock_(lock_of(*where.segment, *control_)),
      recursive_(load_word(&control_->recursive) != 0) {}

Status Condition::wait(ThreadContext& me, Deadline deadline, std::uint32_t* died) const {
  if (!sound()) return Status::kCorrupt;
  UserLock lock = base();
  if (!lock.held_by(me)) return Status::kNotHeld;
  ThreadRecord& record = me.record();
  Word ticket = control_->next_ticket.load(std::memory_order_relaxed);
  Word state = begin_wait(me, where_.control, ticket);
  control_->recent[ticket % kRecentTickets].store(me.index() + 1, std::memory_order_release);
  control_->next_ticket.store(ticket + 1, std::memory_order_release);
  std::uint64_t depth = lock_->depth.load(std::memory_order_relaxed);
  lock_->depth.store(0, std::memory_order_relaxed);
  (void)lock.release(me);

  Status result = Status::kOk;
  const auto told = [&] { return record.wait_state.load(std::memory_order_acquire) != state; };
  Deadline check = Deadline::never();
  for (bool waited_awake = false; !told();) {
    if (deadline.passed() && !planted(PlantedFault::kDeadlineNotLookedAt)) {
      if (change_wait(record, state, Waited::kNot)) result = Status::kTimedOut;
      break;  // else it was told at the last moment
    }
    if (!std::exchange(waited_awake, true)) {
      if (spin_until(told)) break;
      check = Deadline::after(std::chrono::nanoseconds(wait_check_ns()));
    }
    if (!fall_asleep(record, state)) break;
    (void)futex_wait(wait_futex(record), static_cast<std::uint32_t>(state),
                     deadline.left_ns(check.left_ns(wait_check_ns())));
    if (check.passed()) {
      look_after(me);
      check = Deadline::after(std::chrono::nanoseconds(wait_check_ns()));
    }
  }
  Status again = lock.reacquire(me, died);
  lock_->depth.store(depth, std::memory_order_relaxed);
  end_wait(record);  // only now: a notification whose receiver dies before goes to another
  return again == Status::kOk ? result : again;
}

// Nobody else may be there to see that the owner of the lock died, or one who was told and did not come so far.
void Condition::look_after(ThreadContext& me) const {
  (void)recover_dead_holder(me, lock_->word);
  each_waiter(*where_.segment, where_.control, [&](std::uint32_t thread, ThreadRecord&, Word state) {
    if (waited(state) == Waited::kTold && thread != me.index()) (void)recover_dead_thread(me, thread);
  });
}

bool Condition::tell(std::uint32_t thread, Word ticket, std::uint32_t note) const {
  if (thread >= kMaxThreads) return false;
  ThreadRecord& record = where_.segment->thread(thread);
  Word state = record.wait_state.load(std::memory_order_acquire);  // SYNC POINT: waiting
  if (record.waits_on.load(std::memory_order_acquire) != where_.control) return false;
  if (record.wait_turn.load(std::memory_order_acquire) != ticket) return false;
  return tell_waiter(record, state, note);
}

// Tells who waits longest of the tickets from `from` until `below`, wherever its slot is.
bool Condition::tell_oldest(Word from, Word below, std::uint32_t note) const {
  for (;;) {
    Word oldest = below;
    std::uint32_t found = 0;
    each_waiter(*where_.segment, where_.control, [&](std::uint32_t thread, ThreadRecord& record, Word state) {
      Word ticket = record.wait_turn.load(std::memory_order_acquire);
      if (waited(state) != Waited::kWaiting || ticket - from >= oldest - from) return;
      oldest = ticket;
      found = thread;
    });
    if (oldest == below) return false;
    if (tell(found, oldest, note)) return true;
  }
}

void Condition::tell_longest(std::uint64_t most) const {
  const Word next = control_->next_ticket.load(std::memory_order_relaxed);
  Word ticket = control_->served.load(std::memory_order_relaxed);
  if (next - ticket > kRecentTickets) {
    Word recent = next - kRecentTickets;
    while (most != 0 && tell_oldest(ticket, recent, note_of(next))) --most;
    if (most == 0) return;
    ticket = recent;
  }
  for (; most != 0 && ticket != next; ++ticket) {
    std::uint32_t thread = control_->recent[ticket % kRecentTickets].load(std::memory_order_acquire) - 1;
    if (tell(thread, ticket, note_of(next))) --most;
  }
  control_->served.store(ticket, std::memory_order_relaxed);
}

std::uint32_t Condition::waiting() const {
  std::uint32_t count = 0;
  each_waiter(*where_.segment, where_.control, [&](std::uint32_t, ThreadRecord&, Word state) {
    if (waited(state) == Waited::kWaiting) ++count;
  });
  return count;
}

void Condition::forget(ThreadRecord& dead, Word claim) const {
  for (;;) {
    Word state = dead.wait_state.load(std::memory_order_acquire);
    if (dead.claim.load(std::memory_order_acquire) != claim)
      return;  // so far it was the dead one's: each wait has a number
    if (waited(state) == Waited::kWaiting && !change_wait(dead, state, Waited::kNot)) continue;
    if (waited(state) != Waited::kTold) return;
    Word next = control_->next_ticket.load(std::memory_order_acquire);
    Word below = next - static_cast<std::uint32_t>(note_of(next) - wait_note(state));
    (void)tell_oldest(below - kWindow, below, wait_note(state));
    return;
  }
}

void Condition::wake_all_on(const Segment& segment, Offset lock) {
  const std::uint32_t threads = segment.threads_used();
  for (std::uint32_t index = 0; index < threads; ++index) {
    ThreadRecord& record = segment.thread(index);
    Word state = record.wait_state.load(std::memory_order_acquire);
    if (waited(state) == Waited::kNot) continue;
    Offset at = record.waits_on.load(std::memory_order_acquire);
    ChunkOwner owner = chunk_owner(segment, at);
    ObjectInfo info;
    if (!owner || object_info(segment, owner.object(), info) != Status::kOk) continue;
    if (info.kind != ObjectKind::kCondition || info.control != at) continue;
    auto& control = *segment.at<ConditionControl>(at);
    if (load_word(&control.lock_at) != lock) continue;
    if (tell_waiter(record, state, note_of(control.next_ticket.load(std::memory_order_acquire)))) continue;
    futex_wake(wait_futex(record), 1);  // the dead may have told it and not yet woken it
  }
}

bool Condition::each_link(ThreadContext&, const ObjectAddress& where, Deadline, const LinkVisitor& visit) {
  ObjectId lock = ObjectId::from_word(load_word(&where.segment->at<ConditionControl>(where.control)->lock_object));
  if (lock) visit(lock);
  return true;
}

Status Condition::create(ThreadContext& me, std::uint32_t object, Word lock, Word nonce, Offset& control) {
  Segment& segment = me.segment();
  ObjectId id = ObjectId::from_word(lock);
  ObjectInfo info;
  if (lock != 0) {
    if (segment.header().nonce != nonce) return Status::kOutOfRange;
    if (object_info(segment, id.index, info) != Status::kOk || info.id != id) return Status::kOutOfRange;
    if (info.kind != ObjectKind::kLock && info.kind != ObjectKind::kRLock) return Status::kOutOfRange;
  }
  Offset at = 0;
  Status status = take_control_block(me, object, sizeof(ConditionControl), at);
  if (status != Status::kOk) return status;
  auto* made = segment.at<ConditionControl>(at);
  store_word(&made->lock_at, lock != 0 ? info.control : segment.offset_of(&made->own));
  store_word(&made->lock_object, lock);
  store_word(&made->recursive, lock == 0 || info.kind == ObjectKind::kRLock ? 1 : 0);
  if (lock != 0) note_links(segment, object, {ItemKind::kReference, &lock, sizeof lock});
  control = at;
  return Status::kOk;
}

void Condition::repair(ThreadContext& me, const ObjectAddress& where, LockWord&) {
  UserLock::repair_control(me, where.segment->at<ConditionControl>(where.control)->own);
}

void Condition::each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word)) {
  auto* control = where.segment->at<ConditionControl>(where.control);
  if (load_word(&control->lock_object) == 0) visit(context, control->own.word);
}

}  // namespace commonhold::shm
