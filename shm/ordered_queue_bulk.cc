// Many items put into an ordered queue, or taken out of it, by one store of its root.
#include <algorithm>

#include "shm/extents.h"
#include "shm/idle_memory.h"
#include "shm/ordered_bulk.h"
#include "shm/ordered_queue.h"
#include "shm/queue_bulk.h"
#include "shm/queue_turn.h"
#include "shm/words.h"

namespace commonhold::shm {

// ---- putting

namespace {

// The nodes and boxes of items that were put into no queue, a chain along `left`.
void free_chain(Segment& segment, Heap& memory, Offset top) {
  while (top != 0) {
    const auto* node = segment.at<OrderedNode>(top);
    const Offset box = node->box, next = node->left;
    OrderedHeap::free_box(segment, memory, box);
    memory.give(top, sizeof(OrderedNode));
    top = next;
  }
}

}  // namespace

// A heap of the items alone is a chain, in the order in which they come out; the queue's is merged with it.
// REQUIRES: the lock.
Status OrderedQueue::put_chain_locked(ThreadContext& me, std::span<const Item> put, Word priority) const {
  Heap memory = heap(me);
  const Word sequence = own(control_->puts);
  Offset top = 0;
  for (std::size_t i = 0; i < put.size(); ++i) {
    const std::size_t at = mode() == QueueMode::kLifo ? i : put.size() - 1 - i;
    const Item& item = put[at];
    Status status = item.size > kMaxItemBytes ? Status::kTooLarge : Status::kOk;
    Offset box = 0, node = 0;
    if (status == Status::kOk) {
      note_links(segment(), where_.object, item);
      box = OrderedHeap::make_box(segment(), memory, item);
      node = box != 0 ? memory.take(sizeof(OrderedNode)) : 0;
      if (node == 0) status = Status::kOutOfMemory;
    }
    if (status != Status::kOk) {
      if (box != 0) memory.give(box, box_bytes_for(item.size));
      free_chain(segment(), memory, top);
      return status;
    }
    const OrderedNode made{top, 0, i + 1, priority, sequence + at, box};
    write_words(segment().at<std::byte>(node), &made, sizeof made);
    top = node;
  }
  OrderedHeap items(segment(), memory, mode());
  Offset now;
  Status status = items.merged(own(control_->root), top, now);
  if (status == Status::kOk) status = items.reserve_for_take(now);
  if (status != Status::kOk) {
    items.undo();
    free_chain(segment(), memory, top);
    return status;
  }
  control_->root.store(now, std::memory_order_release);  // the commit point
  control_->count.store(own(control_->count) + put.size(), std::memory_order_release);
  control_->puts.store(sequence + put.size(), std::memory_order_release);
  items.free_replaced();
  return Status::kOk;
}

Status OrderedQueue::put_many(ThreadContext& me, std::span<const Item> items, Deadline deadline,
                              std::uint64_t& done) const {
  done = 0;
  OrderedControl& control = *control_;
  const auto room_for_one = [&] { return has_room(); };
  SweepWaits waits(me, deadline);
  while (done != items.size()) {
    Status status = take_turn(me, control.changing, deadline, control.room, room_for_one);
    if (status != Status::kOk) return status;
    const Word count = own(control.count), room = control.limit - std::min<Word>(count, control.limit);
    const std::uint64_t now = std::min<std::uint64_t>({items.size() - done, room, kMostInOneStep});
    if (own(control.ended) != 0) {
      status = Status::kClosed;
    } else if (now != 0) {
      status = put_chain_locked(me, items.subspan(done, now), 0);
    }
    const bool put = status == Status::kOk && now != 0;
    end_turn(me, control.changing, [&] {
      if (put) open_gate(control.items, static_cast<int>(std::min<Word>(now, 1 << 20)), &control.changes);
      if (ends_in_vain(status)) pass_on(control.room, room_for_one);
    });
    if (waits.worth_another(status)) continue;
    if (status != Status::kOk) return status;
    if (put) done += now;
    if (done == items.size()) break;
    if (put ? now != kMostInOneStep && deadline.passed() : !wait_at(me, control.room, deadline, room_for_one)) {
      return Status::kTimedOut;
    }
  }
  return Status::kOk;
}

// ---- taking

// Fills `bulk` with the items that come first, at most `most`. kTimedOut: there is nothing. REQUIRES: the lock.
Status OrderedQueue::pick_locked(ThreadContext& me, OrderedBulk& bulk, std::uint64_t most) const {
  Heap memory = heap(me);
  const OrderedHeap order(segment(), memory, mode());
  bulk.clear();
  if (control_->redeliver != 0 && control_->returned.exchange(0, std::memory_order_acq_rel) != 0) {
    Status status = Status::kOk;
    std::size_t found_before = 0;
    do {  // as take_returned()
      found_before = bulk.picks().size();
      bulk.clear();
      each_flight(segment(), control_->flights, [&](Flight& flight) {
        if (status != Status::kOk || flight.owner.load(std::memory_order_acquire) != kReturned) return;
        status = bulk.pick_returned({own(flight.priority), own(flight.sequence), own(flight.box), &flight});
      });
    } while (status == Status::kOk && bulk.picks().size() != found_before);
    // For whoever comes next: those that are left over, or all when this attempt takes none.
    if (!bulk.picks().empty()) control_->returned.store(1, std::memory_order_release);
    if (status != Status::kOk) return status;
    bulk.keep_returned(order, most);
  }
  const Offset root = own(control_->root);
  if (root == 0 && own(control_->count) != 0) return Status::kCorrupt;
  if (bulk.picks().size() < most) {
    Status status = bulk.pick_first(order, segment(), root, most - bulk.picks().size());
    if (status != Status::kOk) return status;
  }
  return bulk.picks().empty() ? Status::kTimedOut : Status::kOk;
}

// A free flight for each pick that was not returned; kOutOfMemory: `most` gets how many picks have one.
// REQUIRES: the lock.
Status OrderedQueue::find_flights(ThreadContext& me, OrderedBulk& bulk, std::uint64_t& most) const {
  auto pick = bulk.picks().begin() + static_cast<std::ptrdiff_t>(bulk.returned());
  const auto end = bulk.picks().end();
  auto assign = [&](Flight& flight) {
    if (pick != end && flight.owner.load(std::memory_order_acquire) == 0) (pick++)->flight = &flight;
    return pick == end;
  };
  if (pick != end) (void)find_flight(segment(), control_->flights, assign);
  while (pick != end) {
    FlightPage* page = nullptr;
    Status status = add_flight_page(me, page);
    if (status != Status::kOk) {
      most = static_cast<std::uint64_t>(pick - bulk.picks().begin());
      return status;
    }
    for (Flight& flight : page->flights) {
      if (assign(flight)) break;
    }
  }
  return Status::kOk;
}

// Takes what was picked: by the store of the root, and each item that was returned by a store of its flight's owner,
// which a death undoes. REQUIRES: the lock.
void OrderedQueue::commit_picks(ThreadContext& me, OrderedBulk& bulk, Offset now) const {
  const bool redeliver = control_->redeliver != 0;
  Heap memory = heap(me);
  if (redeliver) {
    Word stamp = own(control_->takes);
    Word again = bulk.returned();
    for (OrderedBulk::Pick& pick : bulk.picks()) {
      pick.flight->box.store(pick.box, std::memory_order_relaxed);
      pick.flight->priority.store(pick.priority, std::memory_order_relaxed);
      pick.flight->sequence.store(pick.sequence, std::memory_order_relaxed);
      pick.flight->taken.store(stamp++ << 1 | (again != 0 ? kTakenAgain : 0), std::memory_order_relaxed);
      pick.flight->owner.store(me.owner(), std::memory_order_release);  // repair undoes it while root reaches the box
      if (again != 0) --again;
    }
  }
  commit_take(bulk.picks().size() - bulk.returned(), bulk.returned(), now);
  for (const OrderedBulk::Pick& pick : bulk.picks()) {
    if (!redeliver) OrderedHeap::free_box(segment(), memory, pick.box);
  }
  bulk.free_replaced(memory);
}

// Picks at most `most` items, shows them to show(picks), and takes them when that says kOk. Takes fewer where memory for
// more is missing; one can always be taken, but for a page of flights. REQUIRES: the lock.
template <typename Show>
Status OrderedQueue::take_many_locked(ThreadContext& me, OrderedBulk& bulk, std::uint64_t most, Show&& show) const {
  Heap memory = heap(me);
  const OrderedHeap order(segment(), memory, mode());
  for (;;) {
    Status status = pick_locked(me, bulk, most);
    if (status == Status::kOk) status = show(std::span<const OrderedBulk::Pick>(bulk.picks()));
    if (status != Status::kOk) return status;
    most = bulk.picks().size();
    if (control_->redeliver != 0) status = find_flights(me, bulk, most);
    if (status == Status::kOutOfMemory && most != 0) continue;
    Offset now = 0;
    if (status == Status::kOk && most != bulk.returned()) status = bulk.merge_rest(order, segment(), memory, now);
    if (status == Status::kOutOfMemory && most > 1) {
      most /= 2;
      continue;
    }
    if (status == Status::kOk) commit_picks(me, bulk, now);
    return status;
  }
}

// make_room(most) is called outside of the lock after show() said kRetry; it says how many to try next.
template <typename Show, typename MakeRoom>
Status OrderedQueue::take_many(ThreadContext& me, std::uint64_t most, Deadline deadline, Show&& show,
                               MakeRoom&& make_room) const {
  OrderedControl& control = *control_;
  if (control.redeliver != 0) me.record().took_items.store(1, std::memory_order_release);
  most = std::min(most, kMostInOneStep);
  OrderedBulk bulk;
  bulk.make_room(std::min(most, own(control.count)));
  SweepWaits waits(me, deadline);
  for (;;) {
    Status status = take_turn(me, control.changing, deadline, control.items, [&] { return has_items(); });
    if (status != Status::kOk) return status;
    const Word end = own(control.ended), before = own(control.count);
    status = end == kEndedNow  ? Status::kClosed
             : end > kEndedNow ? Status::kCorrupt
                               : take_many_locked(me, bulk, most, show);
    if (status == Status::kTimedOut && end != 0) status = Status::kClosed;
    const Word room = before - own(control.count);
    end_turn(me, control.changing, [&] {
      if (status == Status::kOk)
        open_gate(control.room, static_cast<int>(std::min<Word>(room, 1 << 20)), &control.changes);
      if (ends_in_vain(status)) pass_on_items();
    });
    if (status == Status::kRetry) {
      allocate_between_turns(*this, [&] {
        bulk.make_room(std::min(most, own(control.count)));
        most = make_room(most);
      });
    } else if (waits.worth_another(status)) {
      continue;
    } else if (status != Status::kTimedOut) {
      return status;
    } else if (!wait_at(me, control.items, deadline, [&] { return has_items(); })) {
      return status;
    }
  }
}

template <typename Items>
Status OrderedQueue::copy_picks(std::span<const OrderedBulk::Pick> picks, Items& items) const {
  std::uint64_t size = 0;
  ItemKind kind;
  Offset bytes;
  items.begin();
  for (const auto& pick : picks) {
    if (!OrderedHeap::find_box(segment(), pick.box, kind, bytes, size)) return Status::kCorrupt;
    items.need(size);
  }
  Status status = items.ready();
  if (status != Status::kOk) return status;
  for (const auto& pick : picks) {
    if (!OrderedHeap::find_box(segment(), pick.box, kind, bytes, size)) return Status::kCorrupt;
    items.add(kind, segment().at<std::byte>(bytes), size);
  }
  return items.count() == picks.size() ? Status::kOk : Status::kCorrupt;
}

Status OrderedQueue::get_many(ThreadContext& me, std::uint64_t most, std::vector<std::string>& items,
                              Deadline deadline) const {
  items.clear();
  if (most == 0) return Status::kOk;
  TakenTexts texts(std::min(most, size()));
  most = texts.make_room(most);
  Status status = take_many(
      me, most, deadline, [&](auto picks) { return copy_picks(picks, texts); },
      [&](std::uint64_t wanted) { return texts.make_room(wanted); });
  if (status == Status::kOk) items = texts.release();
  return status;
}

Status OrderedQueue::get_many_fixed(ThreadContext& me, void* items, std::uint64_t size, std::uint64_t most,
                                    std::uint64_t stride, Deadline deadline, std::uint64_t& got,
                                    std::uint64_t all) const {
  got = 0;
  if (most == 0) return Status::kOk;
  bool too_many = false;
  Status status = take_many(
      me, std::max(all, most), deadline,
      [&](auto picks) {
        too_many = picks.size() > most;
        got = picks.size();
        if (too_many) return Status::kExists;
        auto* to = static_cast<std::byte*>(items);
        for (const auto& pick : picks) {
          ItemKind kind;
          Offset bytes;
          std::uint64_t found;
          if (!OrderedHeap::find_box(segment(), pick.box, kind, bytes, found)) return Status::kCorrupt;
          if (found != size) return Status::kMismatch;
          read_words(to, segment().at<std::byte>(bytes), size);
          to += stride;
        }
        return Status::kOk;
      },
      [](std::uint64_t same) { return same; });
  if (status != Status::kOk && !too_many) got = 0;
  if (status == Status::kExists) pass_on_items();  // the caller may not come again
  return too_many && status == Status::kExists ? Status::kRetry : status;
}

Status OrderedQueue::peek_many(ThreadContext& me, std::uint64_t most, CopiedItems& items, Deadline deadline) const {
  items.clear();
  if (most == 0) return Status::kOk;
  Status status = take_many(
      me, most, deadline,
      [&](auto picks) {
        Status copied = copy_picks(picks, items);
        if (copied != Status::kOk) return copied;
        for (std::size_t i = 0; i < picks.size(); ++i) items.numbers[i] = picks[i].sequence;
        return Status::kExists;  // seen, and not taken
      },
      [&](std::uint64_t wanted) { return items.make_room(wanted); });
  return status == Status::kExists ? Status::kOk : status;
}

Status OrderedQueue::take_seen(ThreadContext& me, std::span<const Word> numbers, std::uint64_t& count) const {
  const std::uint64_t wanted = std::min(count, numbers.size());
  count = 0;
  if (wanted == 0) return Status::kOk;
  Status status = take_many(
      me, wanted, Deadline::already(),
      [&](auto picks) {
        // Fewer than wanted are there when others took some; or memory for more is missing (take_many_locked).
        for (std::size_t i = 0; i < picks.size(); ++i) {
          if (picks[i].sequence != numbers[i]) return Status::kMismatch;
        }
        count = picks.size();
        return Status::kOk;
      },
      [](std::uint64_t same) { return same; });
  if (status != Status::kOk) count = 0;
  return status == Status::kTimedOut || status == Status::kClosed ? Status::kMismatch : status;
}

}  // namespace commonhold::shm
