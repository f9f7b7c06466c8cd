// Making an ordered queue, and what is done after a death.
#include <algorithm>

#include "shm/control_block.h"
#include "shm/lost_memory.h"
#include "shm/ordered_queue.h"
#include "shm/queue_turn.h"
#include "shm/timed_lock.h"

namespace commonhold::shm {

Status OrderedQueue::create(ThreadContext& me, std::uint32_t object, QueueMode mode, std::uint64_t limit,
                            bool redeliver, Offset& control) {
  Offset at = 0;
  Status status = take_control_block(me, object, sizeof(OrderedControl), at);
  if (status != Status::kOk) return status;
  auto* made = me.segment().at<OrderedControl>(at);
  store_word(&made->mode, static_cast<Word>(mode));
  store_word(&made->redeliver, redeliver ? 1 : 0);
  store_word(&made->limit, limit == 0 ? ~Word{0} : limit);
  if (redeliver) {
    // At once, so that who takes needs no memory as long as few items are in flight.
    Offset page = 0;
    status = take_chunk(me, ChunkOwner(object, kFlightArena), sizeof(FlightPage), page);
    if (status != Status::kOk) return status;  // the caller gives the object's chunks back
    zero_words(me.segment().at<std::byte>(page), sizeof(FlightPage));
    made->flights.store(page, std::memory_order_release);
  }
  control = at;
  return Status::kOk;
}

// What the root and the flights reach; false when the heap is damaged. `boxes` are those below the root, sorted.
bool OrderedQueue::collect(std::vector<BlockRange>& reached, std::vector<Offset>& boxes, Word& count,
                           Word& next) const {
  count = next = 0;
  auto add_box = [&](Offset box) {
    ItemKind kind;
    Offset bytes;
    std::uint64_t size;
    if (!OrderedHeap::find_box(segment(), box, kind, bytes, size)) return false;
    reached.push_back({box, box_bytes_for(size)});
    return true;
  };
  bool sound = true;
  sound = OrderedHeap::each_node(segment(), own(control_->root),
                                 [&](Offset at, const OrderedNode& node) {
                                   ++count;
                                   next = std::max(next, node.sequence + 1);
                                   reached.push_back({at, sizeof(OrderedNode)});
                                   boxes.push_back(node.box);
                                   sound = add_box(node.box) && sound;
                                 }) &&
          sound;
  std::sort(boxes.begin(), boxes.end());
  each_flight(segment(), control_->flights, [&](Flight& flight) {
    if (!std::binary_search(boxes.begin(), boxes.end(), own(flight.box))) sound = add_box(own(flight.box)) && sound;
  });
  return sound;
}

void OrderedQueue::repair(ThreadContext& me, const ObjectAddress& where, LockWord&) {
  OrderedQueue queue(where);
  OrderedControl& control = *queue.control_;
  std::vector<BlockRange> reached;
  std::vector<Offset> boxes;
  Word count, next;
  if (!queue.collect(reached, boxes, count, next)) return;
  Word takes = own(control.takes);
  each_flight(*where.segment, control.flights, [&](Flight& flight) {
    if (std::binary_search(boxes.begin(), boxes.end(), own(flight.box))) {
      flight.owner.store(0, std::memory_order_release);  // of an item that was not taken; its stamp is too high
    } else {
      takes = std::max(takes, (own(flight.taken) >> 1) + 1);
    }
  });
  // As commit_take().
  control.new_count.store(count, std::memory_order_relaxed);
  if (control.redeliver != 0) control.new_takes.store(takes, std::memory_order_release);
  control.takes.store(takes, std::memory_order_release);
  control.count.store(count, std::memory_order_release);
  control.new_takes.store(0, std::memory_order_release);
  if (next > own(control.puts)) control.puts.store(next, std::memory_order_release);
  control.gets.store(own(control.gets) + 1, std::memory_order_release);  // the dead one may not have come to it
  // The dead one may have been looking for returned flights.
  if (control.redeliver != 0) control.returned.store(1, std::memory_order_release);
  queue.heap(me).rebuild(std::move(reached));
  // Pages of flights that the dead one took and did not come to link.
  std::vector<Offset> lost;
  for_each_chunk(*where.segment, ChunkOwner(where.object, kFlightArena), [&](Offset chunk, std::uint64_t) {
    bool linked = false;
    Offset at = own(control.flights);
    for (std::uint64_t i = 0; at != 0 && !linked && where.segment->holds(at, sizeof(FlightPage)) && i < 1 << 20; ++i) {
      linked = at == chunk;
      at = where.segment->at<FlightPage>(at)->next.load(std::memory_order_relaxed);
    }
    if (!linked) lost.push_back(chunk);
  });
  for (Offset chunk : lost) give_chunk(me, chunk, sizeof(FlightPage));
}

void OrderedQueue::owner_ended(const ObjectAddress& where, std::uint32_t owner) {
  OrderedQueue queue(where);
  OrderedControl& control = *queue.control_;
  if (control.redeliver == 0) return;
  bool some = false;
  each_flight(*where.segment, control.flights, [&](Flight& flight) {
    Word expected = owner;
    flight.owner.compare_exchange_strong(expected, kReturned, std::memory_order_seq_cst);
    some = some || flight.owner.load(std::memory_order_relaxed) == kReturned;
  });
  // Also when there was none: a recoverer before us may have died before it said so.
  control.returned.store(1, std::memory_order_seq_cst);
  wake_all(control.items);
  if (!some) return;
  control.returns.fetch_add(1, std::memory_order_seq_cst);
  wake_watchers(control.changes);
}

void OrderedQueue::each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word)) {
  visit(context, where.segment->at<OrderedControl>(where.control)->changing);
}

void OrderedQueue::wake(const ObjectAddress& where) {
  auto* control = where.segment->at<OrderedControl>(where.control);
  wake_all(control->items);
  wake_all(control->room);
  wake_all(control->all_done);
  wake_watchers(control->changes);
}

bool OrderedQueue::each_link(ThreadContext& me, const ObjectAddress& where, Deadline deadline,
                             const LinkVisitor& visit) {
  OrderedQueue queue(where);
  const TimedLockGuard held(me, queue.control_->changing, deadline);
  if (!held) return false;
  auto visit_box = [&](Offset box) {
    ItemKind kind;
    Offset bytes;
    std::uint64_t size;
    if (OrderedHeap::find_box(*where.segment, box, kind, bytes, size)) {
      visit_links(kind, where.segment->at<std::byte>(bytes), size, visit);
    }
  };
  (void)OrderedHeap::each_node(*where.segment, own(queue.control_->root),
                               [&](Offset, const OrderedNode& node) { visit_box(node.box); });
  each_flight(*where.segment, queue.control_->flights, [&](Flight& flight) { visit_box(own(flight.box)); });
  return true;
}

OrderedQueue::Audit OrderedQueue::audit(ThreadContext& me) const {
  Audit found;
  HeldLock held(me, control_->changing);
  std::vector<BlockRange> reached;
  std::vector<Offset> boxes;
  Word count, next;
  if (!collect(reached, boxes, count, next)) {
    found.error = "the heap of items is damaged";
    return found;
  }
  found.items = count;
  if (count != own(control_->count)) found.error = "it holds another number of items than it says";
  if (next > own(control_->puts)) found.error = "an item was put that is not counted";
  if (own(control_->done) > own(control_->puts)) found.error = "more items are done than were put";
  if (own(control_->new_takes) != 0) found.error = "a take is in its middle";
  Heap memory = heap(me);
  OrderedHeap order(segment(), memory, mode());
  (void)OrderedHeap::each_node(segment(), own(control_->root), [&](Offset, const OrderedNode& node) {
    const OrderedNode *left = node.left != 0 ? order.node(node.left) : nullptr,
                      *right = node.right != 0 ? order.node(node.right) : nullptr;
    Word left_weight = left == nullptr ? 0 : left->weight, right_weight = right == nullptr ? 0 : right->weight;
    if (node.weight != left_weight + right_weight + 1 || left_weight < right_weight) found.error = "a weight is wrong";
    for (const OrderedNode* below : {left, right}) {
      if (below != nullptr && order.before(below->priority, below->sequence, node.priority, node.sequence)) {
        found.error = "an item lies before one that comes first";
      }
    }
  });
  each_flight(segment(), control_->flights, [&](Flight& flight) {
    if (std::binary_search(boxes.begin(), boxes.end(), own(flight.box))) found.error = "an item waits and is in flight";
    if (own(flight.taken) >> 1 >= own(control_->takes)) found.error = "an item in flight does not count as taken";
  });
  auto memory_audit = memory.audit(reached);
  if (memory_audit.doubled_blocks != 0) found.error = "a block is used twice";
  found.lost_blocks = memory_audit.lost_blocks;
  found.lost_chunks = memory_audit.lost_chunks;
  report_lost_memory(found);
  return found;
}

std::vector<std::string> OrderedQueue::items_for_test() const {
  struct Found {
    Word priority, sequence, box;
  };
  std::vector<Found> returned, waiting;
  each_flight(segment(), control_->flights, [&](Flight& flight) {
    if (flight.owner.load(std::memory_order_acquire) != kReturned) return;
    returned.push_back({own(flight.priority), own(flight.sequence), own(flight.box)});
  });
  (void)OrderedHeap::each_node(segment(), own(control_->root), [&](Offset, const OrderedNode& node) {
    waiting.push_back({node.priority, node.sequence, node.box});
  });
  auto first = [&](const Found& a, const Found& b) {
    if (mode() == QueueMode::kLifo) return a.sequence > b.sequence;
    if (mode() == QueueMode::kPriority && a.priority != b.priority) return a.priority < b.priority;
    return a.sequence < b.sequence;
  };
  std::vector<std::string> items;
  for (auto* group : {&returned, &waiting}) {
    std::sort(group->begin(), group->end(), first);
    for (const Found& found : *group) {
      ItemKind kind;
      Offset bytes;
      std::uint64_t size;
      if (!OrderedHeap::find_box(segment(), found.box, kind, bytes, size)) return {"unreadable"};
      items.emplace_back(size, '\0');
      read_words(items.back().data(), segment().at<std::byte>(bytes), size);
    }
  }
  return items;
}

}  // namespace commonhold::shm
