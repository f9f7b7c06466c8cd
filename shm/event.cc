#include "shm/event.h"

#include <utility>

#include "shm/control_block.h"
#include "shm/futex.h"
#include "shm/planted_fault.h"
#include "shm/segment.h"
#include "shm/spin.h"
#include "shm/thread_context.h"
#include "shm/waiting.h"

namespace commonhold::shm {

namespace {

constexpr std::uint32_t kSet = 1, kWaiters = 2, kOnce = 4;
constexpr std::uint32_t kCount = ~(kSet | kWaiters);

}  // namespace

Event::Event(const ObjectAddress& where) : control_(where.segment->at<EventControl>(where.control)) {}

bool Event::is_set() const {
  return (control_->word.load(std::memory_order_acquire) & kSet) != 0;
}

void Event::set(ThreadContext& me) const {
  auto& word = control_->word;
  std::uint32_t seen = word.load(std::memory_order_relaxed);
  for (;;) {
    // Also when it is set already: what this thread did before must be seen by whoever finds the event set.
    // SYNC POINT: event: release here, acquire in wait and is_set.
    std::uint32_t next = (seen & kSet) != 0 ? seen : (((seen & kCount) + kOnce) | kSet);
    if ((seen & kWaiters) == 0) [[likely]] {
      if (word.compare_exchange_weak(seen, next, std::memory_order_acq_rel, std::memory_order_relaxed)) return;
      continue;
    }
    me.announce_wake(&word);
    if (planted(PlantedFault::kWakeBeforeChange)) futex_wake_all(word);
    bool done = word.compare_exchange_strong(seen, next, std::memory_order_acq_rel, std::memory_order_relaxed);
    if (done && !planted(PlantedFault::kNoWake) && !planted(PlantedFault::kWakeBeforeChange)) futex_wake_all(word);
    me.retract_wake(&word);
    if (done) return;
  }
}

void Event::clear() const {
  control_->word.fetch_and(~kSet, std::memory_order_acq_rel);
}

Status Event::wait(Deadline deadline) const {
  auto& word = control_->word;
  std::uint32_t seen = word.load(std::memory_order_acquire);
  const std::uint32_t count = seen & kCount;
  const auto was_set = [&] { return (seen & kSet) != 0 || (seen & kCount) != count; };
  for (bool waited_awake = false;;) {
    if (was_set()) return Status::kOk;
    if (deadline.passed()) return Status::kTimedOut;
    if (!std::exchange(waited_awake, true)) {
      const auto look = [&] {
        seen = word.load(std::memory_order_acquire);
        return was_set();
      };
      if (spin_until(look)) return Status::kOk;
    }
    if ((seen & kWaiters) == 0 &&
        !word.compare_exchange_weak(seen, seen | kWaiters, std::memory_order_acq_rel, std::memory_order_acquire)) {
      continue;
    }
    // Not for longer: nobody may recover a setter that died, or was stopped, before its wake-up.
    (void)futex_wait(word, count | kWaiters, deadline.left_ns(wait_check_ns()));
    seen = word.load(std::memory_order_acquire);
  }
}

std::uint32_t Event::announce_waiter() const {
  return control_->word.fetch_or(kWaiters, std::memory_order_acq_rel) | kWaiters;
}

std::uint32_t Event::times_set(std::uint32_t word) {
  return word & kCount;
}

Status Event::create(ThreadContext& me, std::uint32_t object, Offset& control) {
  return take_control_block(me, object, sizeof(EventControl), control);
}

void Event::repair(ThreadContext&, const ObjectAddress&, LockWord&) {}

void Event::each_lock(const ObjectAddress&, void*, void (*)(void* context, LockWord& word)) {
  // It has none.
}

}  // namespace commonhold::shm
