// Events, conditions, barriers and recursive locks as their proxies use them. Time as in lock_calls.h.
#pragma once

#include <cstdint>

#include <commonhold/detail/lock_calls.h>

namespace commonhold::detail {

// RLock objects. False: the time passed. Throws Poisoned.
COMMONHOLD_CALL bool rlock_acquire(Object& lock, std::int64_t wait);
COMMONHOLD_CALL void rlock_release(Object& lock);  // throws NotHeld
COMMONHOLD_CALL bool rlock_is_locked(Object& lock);
COMMONHOLD_CALL bool rlock_is_mine(Object& lock);
COMMONHOLD_CALL std::uint64_t rlock_depth(Object& lock);
COMMONHOLD_CALL int rlock_holder(Object& lock);
COMMONHOLD_CALL int rlock_take_died(Object& lock);
COMMONHOLD_CALL bool rlock_mark_consistent(Object& lock);
COMMONHOLD_CALL std::uint64_t rlock_fencing_token(Object& lock);
[[noreturn]] void refuse_handover();

// The lock of a condition, likewise.
COMMONHOLD_CALL bool condition_acquire(Object& condition, std::int64_t wait);
COMMONHOLD_CALL void condition_release(Object& condition);
COMMONHOLD_CALL bool condition_is_mine(Object& condition);
COMMONHOLD_CALL int condition_holder(Object& condition);
COMMONHOLD_CALL int condition_take_died(Object& condition);

// False: the time passed. Throws NotHeld; Poisoned with the lock held.
COMMONHOLD_CALL bool condition_wait(Object& condition, std::int64_t wait);
COMMONHOLD_CALL void condition_notify(Object& condition, std::uint64_t most);  // throws NotHeld
COMMONHOLD_CALL std::uint64_t condition_waiting(Object& condition);
// The plan for a condition on this Lock or RLock.
COMMONHOLD_CALL ObjectRequest condition_on(Object& lock);

COMMONHOLD_CALL bool event_is_set(Object& event);
COMMONHOLD_CALL void event_set(Object& event);
COMMONHOLD_CALL void event_clear(Object& event);
COMMONHOLD_CALL bool event_wait(Object& event, std::int64_t wait);

inline constexpr std::int64_t kBarrierDefault = -1;  // the barrier's own timeout

struct BarrierTurn {
  std::uint64_t index = 0;
  bool must_act = false;  // the caller runs its action, then calls barrier_finish
  std::uint32_t generation = 0;
};
// Throws BrokenBarrier.
COMMONHOLD_CALL BarrierTurn barrier_wait(Object& barrier, std::int64_t wait, bool has_action);
// Lets the others go (throws BrokenBarrier when the barrier was broken meanwhile), or breaks the barrier.
COMMONHOLD_CALL void barrier_pass(Object& barrier, const BarrierTurn& turn);
COMMONHOLD_CALL void barrier_fail(Object& barrier, const BarrierTurn& turn) noexcept;
COMMONHOLD_CALL void barrier_abort(Object& barrier);
COMMONHOLD_CALL void barrier_reset(Object& barrier);
COMMONHOLD_CALL std::uint64_t barrier_parties(Object& barrier);
COMMONHOLD_CALL std::uint64_t barrier_waiting(Object& barrier);
COMMONHOLD_CALL bool barrier_is_broken(Object& barrier);

// Throws ValueError unless it is 1 or more.
COMMONHOLD_CALL std::uint64_t checked_parties(std::int64_t parties);

}  // namespace commonhold::detail
