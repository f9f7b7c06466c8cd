// A queue of either making: a ring for what is taken first in, first out, and for ever; else an ordered one.
//
// Both control blocks begin with their mode, which is written once.
#pragma once

#include "shm/object_table.h"
#include "shm/ordered_queue.h"
#include "shm/queue.h"

namespace commonhold::shm {

class AnyQueue {
 public:
  explicit AnyQueue(const ObjectAddress& where)
      : ring_(where), ordered_(where), is_ring_(mode_of(where) == QueueMode::kRing) {}

  bool is_ring() const { return is_ring_; }
  const Queue& ring() const { return ring_; }
  const OrderedQueue& ordered() const { return ordered_; }

  // Calls fn with whichever it is.
  template <typename Fn>
  decltype(auto) visit(Fn&& fn) const {
    return is_ring_ ? fn(ring_) : fn(ordered_);
  }

  // arguments: bytes of fixed items, limit, QueueMode without kFifo, redelivery.
  static Status create(ThreadContext& me, std::uint32_t object, const ObjectPlan& plan, Offset& control) {
    const auto& [item_bytes, limit, order, redeliver] = plan.arguments;
    if (order > static_cast<Word>(QueueMode::kPriority)) return Status::kMismatch;
    auto mode = static_cast<QueueMode>(order);
    if (mode == QueueMode::kRing && redeliver != 0) mode = QueueMode::kFifo;
    if (mode == QueueMode::kRing) return Queue::create(me, object, item_bytes, limit, control);
    return OrderedQueue::create(me, object, mode, limit, redeliver != 0, control);
  }
  static void repair(ThreadContext& me, const ObjectAddress& where, LockWord& held) {
    is_ring(where) ? Queue::repair(me, where, held) : OrderedQueue::repair(me, where, held);
  }
  static void each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word)) {
    is_ring(where) ? Queue::each_lock(where, context, visit) : OrderedQueue::each_lock(where, context, visit);
  }
  static void wake(const ObjectAddress& where) { is_ring(where) ? Queue::wake(where) : OrderedQueue::wake(where); }
  static bool each_link(ThreadContext& me, const ObjectAddress& where, Deadline deadline, const LinkVisitor& visit) {
    return is_ring(where) ? Queue::each_link(me, where, deadline, visit)
                          : OrderedQueue::each_link(me, where, deadline, visit);
  }
  static void owner_ended(const ObjectAddress& where, std::uint32_t owner) {
    if (!is_ring(where)) OrderedQueue::owner_ended(where, owner);
  }
  struct Audit {
    std::string error;
    std::uint64_t lost_blocks = 0, lost_chunks = 0;
  };
  Audit audit(ThreadContext& me) const {
    return visit([&](auto& queue) {
      auto found = queue.audit(me);
      return Audit{found.error, found.lost_blocks, found.lost_chunks};
    });
  }

 private:
  static QueueMode mode_of(const ObjectAddress& where) {
    return static_cast<QueueMode>(load_word(where.segment->at<Word>(where.control)) & 3);
  }
  static bool is_ring(const ObjectAddress& where) { return mode_of(where) == QueueMode::kRing; }

  Queue ring_;
  OrderedQueue ordered_;
  bool is_ring_;
};

}  // namespace commonhold::shm
