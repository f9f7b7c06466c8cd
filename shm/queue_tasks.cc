// A queue's size, tasks and end.
#include "shm/liveness.h"
#include "shm/queue.h"
#include "shm/queue_turn.h"

namespace commonhold::shm {

std::uint64_t Queue::size() const {
  QueueControl& control = ring_.control();
  for (;;) {
    Word head = control.head.load(std::memory_order_acquire);
    Word tail = control.tail.load(std::memory_order_acquire);
    if (control.head.load(std::memory_order_acquire) == head) return tail - head;
  }
}

Status Queue::task_done(ThreadContext& me) const {
  QueueControl& control = ring_.control();
  me.announce(control.getting);  // whoever dies between the count and the wake-up is found by it
  Word done = control.done.load(std::memory_order_relaxed);
  Word tail;
  do {
    tail = control.tail.load(std::memory_order_acquire);
    if (done >= tail) break;
  } while (!control.done.compare_exchange_weak(done, done + 1, std::memory_order_seq_cst));
  bool counted = done < tail;
  if (counted && done + 1 == control.tail.load(std::memory_order_seq_cst)) open_gate(control.all_done, 1 << 20);
  me.retract(control.getting);
  return counted ? Status::kOk : Status::kNotHeld;
}

std::uint64_t Queue::unfinished() const {
  QueueControl& control = ring_.control();
  Word done = control.done.load(std::memory_order_seq_cst);
  return control.tail.load(std::memory_order_seq_cst) - done;
}

Status Queue::join(ThreadContext& me, Deadline deadline) const {
  QueueControl& control = ring_.control();
  // `done` never passes `tail`: read in this order they are equal only if they were so at one moment.
  auto finished = [&] { return unfinished() == 0; };
  return wait_for_all(me, control.all_done, control.getting, deadline, finished);
}

Status Queue::shut_down(ThreadContext& me, bool now) const {
  QueueControl& control = ring_.control();
  HeldLock producers(me, control.putting);
  HeldLock consumers(me, control.getting);
  auto end = static_cast<Word>(now ? QueueEnd::kNow : QueueEnd::kDraining);
  if (own(control.ended) < end) control.ended.store(end, std::memory_order_seq_cst);
  wake(where_);  // under the locks: a death before it is seen by recovery, which wakes as well
  return Status::kOk;
}

std::uint32_t Queue::holder_pid(bool putting) const {
  QueueControl& control = ring_.control();
  LockWord& word = putting ? control.putting : control.getting;
  std::uint32_t owner = word.state.load(std::memory_order_acquire) & ~kLockWaiters;
  return owner == 0 ? 0 : owner_pid(ring_.segment(), owner);
}

}  // namespace commonhold::shm
