// A queue in the hands of those who recover, look at, or check it: repair, wake-ups, its locks and links, the audit.
#include "shm/lost_memory.h"
#include "shm/queue.h"
#include "shm/queue_turn.h"
#include "shm/timed_lock.h"
#include "shm/words.h"

namespace commonhold::shm {

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
  wake_watchers(control->changes);
}

bool Queue::each_link(ThreadContext& me, const ObjectAddress& where, Deadline deadline, const LinkVisitor& visit) {
  Queue queue(where);
  if (!queue.ring_.sound() || queue.item_bytes() != 0) return true;  // fixed items are words and structs
  QueueControl& control = queue.ring_.control();
  const TimedLockGuard putting(me, control.putting, deadline);
  if (!putting) return false;
  const TimedLockGuard getting(me, control.getting, deadline);
  if (!getting) return false;
  (void)queue.ring_.each_waiting(
      [&](const ItemPlace& item) { visit_links(item.kind, where.segment->at<std::byte>(item.at), item.size, visit); });
  return true;
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
  report_lost_memory(found);
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
