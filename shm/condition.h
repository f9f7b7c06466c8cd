// A condition: threads that wait under a lock until another, which holds the lock, tells them.
//
//   ConditionControl  next_ticket  served  lock ...  own lock | recent[128]
//                          |          |                           ^
//   tickets:  ... gone | served ... waiting or gone ... | next    | thread of ticket t at recent[t % 128]
//
//   thread slot       waits_on = this control block, wait_turn = its ticket, wait_state (waiting.h)
//
// Who waits takes the next ticket while it holds the lock, frees the lock (an RLock at whatever depth) and sleeps on
// its own wait_state. notify goes through the tickets from `served` on and tells each thread that still waits with that
// ticket, by one compare-and-swap on its wait_state. `recent` says where such a thread is; for older tickets all
// thread slots are looked at.
//
// INVARIANT: the thread slots are the truth; whoever waits has its ticket there, below next_ticket, and not below
// `served`. next_ticket and `served` are written by holders of the lock only. A ticket without a waiter (its time
// passed, it died) is skipped, so nobody who left ever takes a notification from others.
//
// Commit points: the store of next_ticket (it waits), the compare-and-swap on wait_state (it was told, or left).
// What a death leaves, and what recovery makes of it:
//   a waiter that was not told: nothing; its slot is cleared;
//   a waiter that was told and does not hold the lock again: the notification goes to the oldest that waited already
//   when it was given (wait_note holds next_ticket of that moment), since later ones saw what it was about;
//   a holder of the lock, a notifier in the middle too: all who wait under that lock are woken, for nobody knows what
//   it changed without telling them.
#pragma once

#include "shm/links.h"
#include "shm/rlock.h"
#include "shm/waiting.h"

namespace commonhold::shm {

inline constexpr std::uint64_t kRecentTickets = 128;

struct ConditionControl {
  AtomicWord next_ticket;
  AtomicWord served;
  Word lock_at;      // offset of a UserLockControl: of another object, or `own`; written once
  Word lock_object;  // ObjectId of that other object, which the condition keeps alive; 0 for its own. Written once
  Word recursive;    // 1: it is an RLock. Written once
  Word unused[3];
  UserLockControl own;
  std::atomic<std::uint32_t> recent[kRecentTickets];  // thread index + 1
};
static_assert(sizeof(ConditionControl) == 128 + 4 * kRecentTickets);

class Condition {
 public:
  explicit Condition(const ObjectAddress& where);

  // ---- the lock, as UserLock and RLock
  Status acquire(ThreadContext& me, Deadline deadline = Deadline::never(), std::uint32_t* died = nullptr) const {
    if (take_quickly(me)) [[likely]]
      return Status::kOk;
    if (!sound()) return Status::kCorrupt;
    return recursive_ ? RLock(*where_.segment, *lock_).acquire(me, deadline, died) : base().acquire(me, deadline, died);
  }
  Status release(ThreadContext& me) const {
    if (!sound()) [[unlikely]]
      return Status::kCorrupt;
    return recursive_ ? RLock(*where_.segment, *lock_).release(me) : base().release(me);
  }
  // As UserLock::take_free, RLock::take_own_or_free.
  bool take_quickly(ThreadContext& me) const {
    if (!sound()) [[unlikely]]
      return false;
    return recursive_ ? RLock(*where_.segment, *lock_).take_own_or_free(me) : base().take_free(me);
  }
  // REQUIRES: held_by().
  Status release_own(ThreadContext& me) const {
    return recursive_ ? RLock(*where_.segment, *lock_).release_own(me) : base().release_own(me);
  }
  // REQUIRES: held_by().
  bool has_waiters() const {
    // Both are written by holders of the lock only.
    return control_->served.load(std::memory_order_relaxed) != control_->next_ticket.load(std::memory_order_relaxed);
  }
  bool held_by(const ThreadContext& me) const { return lock_ != nullptr && base().held_by(me); }
  // REQUIRES: sound().
  UserLock base() const { return {*where_.segment, *lock_}; }
  // False when the control block names no lock: then everything else is kCorrupt.
  bool sound() const { return lock_ != nullptr; }

  // kOk: told, or the owner of the lock died. kTimedOut. kNotHeld: the caller does not hold the lock. After kOk and
  // kTimedOut it holds the lock again, as deep as before; after kPoisoned too (`died` as for acquire).
  Status wait(ThreadContext& me, Deadline deadline = Deadline::never(), std::uint32_t* died = nullptr) const;
  // Tells the `most` that wait longest. kNotHeld: the caller does not hold the lock.
  Status notify(ThreadContext& me, std::uint64_t most) const {
    if (!sound()) [[unlikely]]
      return Status::kCorrupt;
    if (!base().held_by(me)) [[unlikely]]
      return Status::kNotHeld;
    if (has_waiters()) tell_longest(most);
    return Status::kOk;
  }

  // Threads that wait and were not told yet.
  std::uint32_t waiting() const;

  // ---- for the catalogue of types and recovery
  // `lock` is the ObjectId of a lock or rlock in the segment with that nonce; 0: an RLock of its own. kOutOfRange:
  // there is no such lock here.
  static Status create(ThreadContext& me, std::uint32_t object, Word lock, Word nonce, Offset& control);
  static void repair(ThreadContext& me, const ObjectAddress& where, LockWord& held);
  static void each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word));
  // The thread of that slot died in a wait.
  void forget(ThreadRecord& dead, Word claim) const;
  // Wakes all who wait in conditions on the lock whose control is there.
  static void wake_all_on(const Segment& segment, Offset lock);
  // The lock that it keeps alive, unless it is its own.
  static bool each_link(ThreadContext& me, const ObjectAddress& where, Deadline deadline, const LinkVisitor& visit);

 private:
  void tell_longest(std::uint64_t most) const;
  bool tell(std::uint32_t thread, Word ticket, std::uint32_t note) const;
  bool tell_oldest(Word from, Word below, std::uint32_t note) const;
  void look_after(ThreadContext& me) const;

  ObjectAddress where_;
  ConditionControl* control_;
  UserLockControl* lock_;
  bool recursive_;
};

}  // namespace commonhold::shm
