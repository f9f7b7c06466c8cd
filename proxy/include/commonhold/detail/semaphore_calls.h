// Semaphores and readers-writer locks as the proxies use them. Time as in lock_calls.h.
#pragma once

#include <atomic>
#include <cstdint>

#include <commonhold/detail/call.h>
#include <commonhold/detail/object_handle.h>

namespace commonhold::detail {

inline constexpr std::int64_t kMostPermits = 0x7fff'ffff;

// The beginning of shm/semaphore.h's SemaphoreControl, which says what the bits mean.
struct SemaphoreCell {
  std::atomic<std::uint64_t> state;
  std::uint64_t switching;
  std::uint64_t limit;
  std::uint64_t kind;

  static constexpr std::uint64_t kValue = 0x7fff'ffff, kWaiters = 0x8000'0000;
  static constexpr std::uint64_t kOneHeld = std::uint64_t{1} << 32, kHeld = 0xf'ffff * kOneHeld;
  static constexpr int kSessionShift = 52;
};

// What the common case of a semaphore needs: the process that came last comes again.
struct SemaphoreView {
  SemaphoreCell* cell = nullptr;
  const std::atomic<std::uint32_t>* session = nullptr;  // of this process, + 1; 0 for none yet

  // False: it is not that case, or there is no permit.
  bool take() const {
    std::uint64_t seen = cell->state.load(std::memory_order_relaxed);
    const std::uint64_t own = session->load(std::memory_order_relaxed);
    if (seen >> SemaphoreCell::kSessionShift != own || own == 0 || (seen & SemaphoreCell::kValue) == 0 ||
        (seen & SemaphoreCell::kHeld) == SemaphoreCell::kHeld) {
      return false;
    }
    return cell->state.compare_exchange_strong(seen, seen + SemaphoreCell::kOneHeld - 1, std::memory_order_acq_rel,
                                               std::memory_order_relaxed);
  }
  // One that this process holds, with nobody waiting.
  bool give() const {
    std::uint64_t seen = cell->state.load(std::memory_order_relaxed);
    const std::uint64_t own = session->load(std::memory_order_relaxed);
    if (seen >> SemaphoreCell::kSessionShift != own || own == 0 || (seen & SemaphoreCell::kHeld) == 0 ||
        (seen & SemaphoreCell::kWaiters) != 0 || (seen & SemaphoreCell::kValue) >= cell->limit) {
      return false;
    }
    return cell->state.compare_exchange_strong(seen, seen + 1 - SemaphoreCell::kOneHeld, std::memory_order_acq_rel,
                                               std::memory_order_relaxed);
  }
};
COMMONHOLD_CALL SemaphoreView semaphore_view(Object& semaphore);

// False: the time passed.
COMMONHOLD_CALL bool semaphore_acquire(Object& semaphore, std::int64_t wait);
COMMONHOLD_CALL void semaphore_release(Object& semaphore, std::int64_t permits);  // throws ValueError
COMMONHOLD_CALL std::int64_t semaphore_value(Object& semaphore);
COMMONHOLD_CALL std::int64_t semaphore_limit(Object& semaphore);
COMMONHOLD_CALL std::int64_t semaphore_held(Object& semaphore);
[[noreturn]] void throw_bad_start(std::int64_t start);

// False: the time passed. Throw UsageError where the thread would wait for itself.
COMMONHOLD_CALL bool rwlock_acquire(Object& lock, std::int64_t wait);
COMMONHOLD_CALL bool rwlock_acquire_shared(Object& lock, std::int64_t wait);
COMMONHOLD_CALL void rwlock_release(Object& lock);         // throws NotHeld
COMMONHOLD_CALL void rwlock_release_shared(Object& lock);  // throws NotHeld
COMMONHOLD_CALL bool rwlock_is_mine(Object& lock);
COMMONHOLD_CALL bool rwlock_is_shared_by_me(Object& lock);
COMMONHOLD_CALL int rwlock_writer(Object& lock);
COMMONHOLD_CALL int rwlock_readers(Object& lock);
COMMONHOLD_CALL int rwlock_take_died(Object& lock);

}  // namespace commonhold::detail
