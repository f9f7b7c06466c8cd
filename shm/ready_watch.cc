#include "shm/ready_watch.h"

#include "shm/barrier.h"
#include "shm/event.h"
#include "shm/lock_word.h"
#include "shm/recovery.h"
#include "shm/segment.h"
#include "shm/semaphore.h"
#include "shm/user_lock.h"

namespace commonhold::shm {
namespace {

class EventWatch final : public Watcher {
 public:
  explicit EventWatch(const ObjectAddress& where) : event_(where) {
    futex_ = &event_.futex();
    expected_ = event_.announce_waiter();
  }
  Status look(ThreadContext&, bool& ready, Deadline) override {
    const std::uint32_t before = expected_;
    expected_ = event_.announce_waiter();
    // Set, or set and cleared again since the last look.
    ready = event_.is_set() || Event::times_set(before) != Event::times_set(expected_);
    return Status::kOk;
  }

 private:
  Event event_;
};

class LockWatch final : public Watcher {
 public:
  explicit LockWatch(const ObjectAddress& where) : word_(where.segment->at<UserLockControl>(where.control)->word) {
    futex_ = &word_.state;
    shares_futex_ = true;
  }
  Status look(ThreadContext&, bool& ready, Deadline) override {
    std::uint32_t seen = word_.state.load(std::memory_order_acquire);
    // Not on a free lock: the waiters' bit alone would hold up everybody who comes.
    while ((seen & ~kLockWaiters) != 0 && (seen & kLockWaiters) == 0 &&
           !word_.state.compare_exchange_weak(seen, seen | kLockWaiters)) {
    }
    ready = (seen & ~kLockWaiters) == 0;
    expected_ = ready ? seen : seen | kLockWaiters;
    return Status::kOk;
  }
  void look_for_dead(ThreadContext& me) override { (void)recover_dead_holder(me, word_); }

 private:
  LockWord& word_;
};

class SemaphoreWatch final : public Watcher {
 public:
  explicit SemaphoreWatch(const ObjectAddress& where) : semaphore_(where) {
    futex_ = &semaphore_.futex();
    shares_futex_ = true;
  }
  Status look(ThreadContext&, bool& ready, Deadline) override {
    ready = !semaphore_.announce_waiter(expected_);
    return Status::kOk;
  }
  void look_for_dead(ThreadContext& me) override { semaphore_.recover_dead_holders(me); }

 private:
  Semaphore semaphore_;
};

class BarrierWatch final : public Watcher {
 public:
  explicit BarrierWatch(const ObjectAddress& where)
      : barrier_(where), control_(*where.segment->at<BarrierControl>(where.control)) {
    futex_ = &control_.changes;
  }
  Status look(ThreadContext&, bool& ready, Deadline) override {
    control_.watched.store(1, std::memory_order_seq_cst);  // SYNC POINT: watched; before the look at the state
    expected_ = control_.changes.load(std::memory_order_seq_cst);
    ready = barrier_.waiting() + 1 >= barrier_.parties() || barrier_.broken();
    return Status::kOk;
  }

 private:
  Barrier barrier_;
  BarrierControl& control_;
};

}  // namespace

std::unique_ptr<Watcher> watch_event(const ObjectAddress& where) {
  return std::make_unique<EventWatch>(where);
}
std::unique_ptr<Watcher> watch_lock(const ObjectAddress& where) {
  return std::make_unique<LockWatch>(where);
}
std::unique_ptr<Watcher> watch_semaphore(const ObjectAddress& where) {
  return std::make_unique<SemaphoreWatch>(where);
}
std::unique_ptr<Watcher> watch_barrier(const ObjectAddress& where) {
  return std::make_unique<BarrierWatch>(where);
}

}  // namespace commonhold::shm
