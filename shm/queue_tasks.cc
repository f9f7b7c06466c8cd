// What a queue knows of its tasks, its end, and what is done after a death.
#include "shm/liveness.h"
#include "shm/queue.h"
#include "shm/queue_turn.h"
#include "shm/words.h"

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
  while (!finished()) {
    if (!wait_at(me, control.all_done, control.getting, deadline, finished)) return Status::kTimedOut;
  }
  return Status::kOk;
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

void Queue::repair(ThreadContext& me, const ObjectAddress& where, LockWord& held) {
  Queue queue(where);
  if (!queue.ring_.sound()) return;
  if (&held == &queue.ring_.control().putting) queue.ring_.repair_putting(me);
  if (&held == &queue.ring_.control().getting) queue.ring_.repair_getting();
}

void Queue::each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word)) {
  auto* control = where.segment->at<QueueControl>(where.control);
  visit(context, control->putting);
  visit(context, control->getting);
}

void Queue::wake(const ObjectAddress& where) {
  auto* control = where.segment->at<QueueControl>(where.control);
  wake_all(control->items);
  wake_all(control->room);
  wake_all(control->all_done);
}

bool Queue::each_link(ThreadContext& me, const ObjectAddress& where, Deadline deadline, const LinkVisitor& visit) {
  Queue queue(where);
  if (!queue.ring_.sound() || queue.item_bytes() != 0) return true;  // fixed items are words and structs
  QueueControl& control = queue.ring_.control();
  if (lock(me, control.putting, deadline) != Status::kOk) return false;
  bool held = lock(me, control.getting, deadline) == Status::kOk;
  if (held) {
    (void)queue.ring_.each_waiting([&](const ItemPlace& item) {
      visit_links(item.kind, where.segment->at<std::byte>(item.at), item.size, visit);
    });
    (void)unlock(me, control.getting);
  }
  (void)unlock(me, control.putting);
  return held;
}

Queue::Audit Queue::audit(ThreadContext& me) const {
  Audit found;
  if (!ring_.sound()) {
    found.error = "its constants make no sense";
    return found;
  }
  QueueControl& control = ring_.control();
  HeldLock producers(me, control.putting);
  HeldLock consumers(me, control.getting);
  Word head = own(control.head), tail = own(control.tail);
  found.items = tail - head;
  if (head > tail) found.error = "more items were taken than put";
  if (tail - head > ring_.limit()) found.error = "it holds more items than its limit";
  if (own(control.done) > tail) found.error = "more items are done than were put";
  if (own(control.head_seen) > head || own(control.tail_seen) > tail) found.error = "a copied count is ahead";
  if (found.error.empty()) found.error = ring_.check(head, tail, found.lost_chunks);
  return found;
}

std::vector<std::string> Queue::items_for_test() const {
  QueueControl& control = ring_.control();
  std::vector<std::string> items(size());
  Offset at = cursor_at(own(control.get_cursor));
  for (std::string& item : items) {
    ItemPlace place;
    if (ring_.find_item(at, place) != Status::kOk) return {"unreadable"};
    item.resize(place.size);
    read_words(item.data(), ring_.segment().at<std::byte>(place.at), place.size);
    at = place.after;
  }
  return items;
}

}  // namespace commonhold::shm
