#include "shm/ordered_queue.h"

#include <utility>

#include "shm/control_block.h"
#include "shm/extents.h"
#include "shm/idle_memory.h"
#include "shm/liveness.h"
#include "shm/lock_word.h"
#include "shm/queue_turn.h"
#include "shm/spin.h"
#include "shm/words.h"

namespace commonhold::shm {

// ---- putting

// REQUIRES: the lock.
Status OrderedQueue::put_locked(ThreadContext& me, const Item& item, Word priority) const {
  if (item.size > kMaxItemBytes) return Status::kTooLarge;
  note_links(segment(), where_.object, item);
  Heap memory = heap(me);
  Offset box = OrderedHeap::make_box(segment(), memory, item);
  if (box == 0) return Status::kOutOfMemory;
  Word sequence = own(control_->puts);
  OrderedHeap items(segment(), memory, mode());
  Offset now;
  Status status = items.with(own(control_->root), {0, 0, 1, priority, sequence, box}, now);
  // Who takes must not need memory: taking is what gives it back.
  if (status == Status::kOk) status = items.reserve_for_take(now);
  if (status != Status::kOk) {
    items.undo();
    memory.give(box, box_bytes_for(item.size));
    return status;
  }
  control_->root.store(now, std::memory_order_release);  // the commit point
  control_->count.store(own(control_->count) + 1, std::memory_order_release);
  control_->puts.store(sequence + 1, std::memory_order_release);
  items.free_replaced();
  return Status::kOk;
}

Status OrderedQueue::put(ThreadContext& me, const Item& item, Word priority, Deadline deadline) const {
  OrderedControl& control = *control_;
  const auto room_for_one = [&] { return has_room(); };
  SweepWaits waits(me, deadline);
  for (;;) {
    Status status = take_turn(me, control.changing, deadline, control.room, room_for_one);
    if (status != Status::kOk) return status;
    bool room = own(control.count) < control.limit;
    status = own(control.ended) != 0 ? Status::kClosed : room ? put_locked(me, item, priority) : Status::kTimedOut;
    end_turn(me, control.changing, [&] {
      if (status == Status::kOk) open_gate(control.items, 1, &control.changes);
      if (ends_in_vain(status)) pass_on(control.room, room_for_one);
    });
    if (waits.worth_another(status)) continue;
    if (status != Status::kTimedOut) return status;
    if (!wait_at(me, control.room, deadline, room_for_one)) return Status::kTimedOut;
  }
}

// ---- taking

// Gives what a box holds to copy(kind, bytes, size), which says whether it is taken.
template <typename Copy>
Status OrderedQueue::copy_out(Offset box, Copy&& copy) const {
  ItemKind kind;
  Offset bytes;
  std::uint64_t size;
  if (!OrderedHeap::find_box(segment(), box, kind, bytes, size)) return Status::kCorrupt;
  return copy(kind, segment().at<std::byte>(bytes), size);
}

Status OrderedQueue::add_flight_page(ThreadContext& me, FlightPage*& added) const {
  Offset page = 0;
  Status status = take_chunk(me, ChunkOwner(where_.object, kFlightArena), sizeof(FlightPage), page);
  if (status != Status::kOk) return status;
  zero_words(segment().at<std::byte>(page), sizeof(FlightPage));
  added = segment().at<FlightPage>(page);
  added->next.store(own(control_->flights), std::memory_order_release);
  control_->flights.store(page, std::memory_order_release);
  return Status::kOk;
}

// A free flight, in a new page where there is none.
Status OrderedQueue::free_flight(ThreadContext& me, Flight*& found) const {
  found = nullptr;
  if (find_flight(segment(), control_->flights, [&](Flight& flight) {
        found = &flight;
        return flight.owner.load(std::memory_order_acquire) == 0;
      })) {
    return Status::kOk;
  }
  FlightPage* page = nullptr;
  Status status = add_flight_page(me, page);
  if (status == Status::kOk) found = &page->flights[0];
  return status;
}

// An item whose consumer died: the one that comes first among them. kNotFound. More may come back during a look, of which
// it overlooks some and finds others: what two looks in a row found were all, when the second began.
template <typename Copy>
Status OrderedQueue::take_returned(ThreadContext& me, Word* priority, Copy&& copy) const {
  if (control_->returned.exchange(0, std::memory_order_acq_rel) == 0) return Status::kNotFound;
  Flight* first = nullptr;
  Word found = 0, found_before = 0;
  Heap memory = heap(me);
  OrderedHeap order(segment(), memory, mode());
  do {
    found_before = std::exchange(found, 0);
    each_flight(segment(), control_->flights, [&](Flight& flight) {
      if (flight.owner.load(std::memory_order_acquire) != kReturned) return;
      ++found;
      if (first == nullptr ||
          order.before(own(flight.priority), own(flight.sequence), own(first->priority), own(first->sequence))) {
        first = &flight;
      }
    });
  } while (found != found_before);
  if (first == nullptr) return Status::kNotFound;
  Status status = copy_out(own(first->box), copy);
  if (found > 1 || status != Status::kOk) control_->returned.store(1, std::memory_order_release);
  if (status != Status::kOk) return status;
  if (priority != nullptr) *priority = own(first->priority);
  first->taken.store(own(control_->takes) << 1 | kTakenAgain, std::memory_order_relaxed);
  first->owner.store(me.owner(), std::memory_order_release);  // the commit point
  commit_take(0, 1, 0);
  return Status::kOk;
}

// What a take stores after its flights. `now`: the root without the items that were below it. REQUIRES: the lock.
void OrderedQueue::commit_take(Word from_root, Word returned, Offset now) const {
  OrderedControl& control = *control_;
  const bool redeliver = control.redeliver != 0;
  const Word count = own(control.count) - from_root, takes = own(control.takes) + from_root + returned;
  if (redeliver) {
    control.new_count.store(count, std::memory_order_relaxed);
    control.new_takes.store(takes, std::memory_order_release);
  }
  if (from_root != 0) control.root.store(now, std::memory_order_release);  // the commit point of those below it
  if (redeliver) control.takes.store(takes, std::memory_order_release);    // the commit point for those who count
  if (from_root != 0) control.count.store(count, std::memory_order_release);
  if (redeliver) control.new_takes.store(0, std::memory_order_release);
  control.gets.store(own(control.gets) + from_root + returned, std::memory_order_release);
}

// REQUIRES: the lock. kTimedOut: there is nothing.
template <typename Copy>
Status OrderedQueue::take_locked(ThreadContext& me, Word* priority, Copy&& copy) const {
  const bool redeliver = control_->redeliver != 0;
  if (redeliver) {
    Status status = take_returned(me, priority, copy);
    if (status != Status::kNotFound) return status;
  }
  Offset root = own(control_->root);
  // A count without items would let every consumer look again at once, for ever.
  if (root == 0) return own(control_->count) == 0 ? Status::kTimedOut : Status::kCorrupt;
  Heap memory = heap(me);
  OrderedHeap items(segment(), memory, mode());
  const OrderedNode* found = items.node(root);
  if (found == nullptr) return Status::kCorrupt;
  const OrderedNode first = *found;
  Status status = copy_out(first.box, copy);
  if (status != Status::kOk) return status;
  Flight* flight = nullptr;
  if (redeliver && (status = free_flight(me, flight)) != Status::kOk) return status;
  Offset now;
  status = items.without_first(root, now);
  if (status != Status::kOk) return status;
  if (priority != nullptr) *priority = first.priority;
  if (flight != nullptr) {
    flight->box.store(first.box, std::memory_order_relaxed);
    flight->priority.store(first.priority, std::memory_order_relaxed);
    flight->sequence.store(first.sequence, std::memory_order_relaxed);
    flight->taken.store(own(control_->takes) << 1, std::memory_order_relaxed);
    flight->owner.store(me.owner(), std::memory_order_release);  // repair undoes it while root still reaches the box
  }
  commit_take(1, 0, now);
  items.free_replaced();
  if (flight == nullptr) OrderedHeap::free_box(segment(), memory, first.box);
  return Status::kOk;
}

bool OrderedQueue::has_items() const {
  return control_->count.load(std::memory_order_seq_cst) != 0 ||
         (control_->redeliver != 0 && control_->returned.load(std::memory_order_seq_cst) != 0) ||
         own(control_->ended) != 0;
}

bool OrderedQueue::has_room() const {
  return control_->count.load(std::memory_order_seq_cst) < control_->limit || own(control_->ended) != 0;
}

void OrderedQueue::pass_on_items() const {
  pass_on(control_->items, [&] { return has_items(); });
}

template <typename Copy>
Status OrderedQueue::get_with(ThreadContext& me, Deadline deadline, Word* priority, Copy&& copy) const {
  OrderedControl& control = *control_;
  // Whom recovery looks for when this thread ends.
  if (control.redeliver != 0) me.record().took_items.store(1, std::memory_order_release);
  SweepWaits waits(me, deadline);
  for (;;) {
    Status status = take_turn(me, control.changing, deadline, control.items, [&] { return has_items(); });
    if (status != Status::kOk) return status;
    const Word end = own(control.ended);
    status = end == kEndedNow ? Status::kClosed : end > kEndedNow ? Status::kCorrupt : take_locked(me, priority, copy);
    if (status == Status::kTimedOut && end != 0) status = Status::kClosed;
    end_turn(me, control.changing, [&] {
      if (status == Status::kOk) open_gate(control.room, 1, &control.changes);
      if (ends_in_vain(status)) pass_on_items();
    });
    if (waits.worth_another(status)) continue;
    if (status != Status::kTimedOut) return status;
    if (!wait_at(me, control.items, deadline, [&] { return has_items(); })) return status;
  }
}

Status OrderedQueue::get(ThreadContext& me, std::string& taken, Word* priority, Deadline deadline) const {
  for (std::uint64_t need = 0;;) {
    Status status = get_with(me, deadline, priority, [&](ItemKind, const std::byte* bytes, std::uint64_t size) {
      need = size;
      if (size > taken.capacity()) return Status::kRetry;  // memory is allocated outside of the lock
      taken.resize(size);
      read_words(taken.data(), bytes, size);
      return Status::kOk;
    });
    if (status != Status::kRetry) return status;
    allocate_between_turns(*this, [&] { taken.reserve(need); });
  }
}

Status OrderedQueue::get_fixed(ThreadContext& me, void* taken, std::uint64_t size, Word* priority,
                               Deadline deadline) const {
  return get_with(me, deadline, priority, [&](ItemKind, const std::byte* bytes, std::uint64_t found) {
    if (found != size) return Status::kMismatch;
    read_words(taken, bytes, size);
    return Status::kOk;
  });
}

Status OrderedQueue::peek(ThreadContext& me, ItemKind& kind, std::string& item, Deadline deadline) const {
  for (std::uint64_t need = 0;;) {
    Status status = get_with(me, deadline, nullptr, [&](ItemKind found, const std::byte* bytes, std::uint64_t size) {
      need = size;
      if (size > item.capacity()) return Status::kRetry;
      item.resize(size);
      read_words(item.data(), bytes, size);
      kind = found;
      return Status::kExists;  // seen, and not taken
    });
    if (status != Status::kRetry) return status == Status::kExists ? Status::kOk : status;
    allocate_between_turns(*this, [&] { item.reserve(need); });
  }
}

Status OrderedQueue::take_if_equal(ThreadContext& me, const Item& expected, Word* priority) const {
  Status status =
      get_with(me, Deadline::already(), priority, [&](ItemKind kind, const std::byte* bytes, std::uint64_t size) {
        bool equal = kind == expected.kind && size == expected.size && equal_words(bytes, expected.data, size);
        return equal ? Status::kOk : Status::kMismatch;
      });
  return status == Status::kTimedOut || status == Status::kClosed ? Status::kMismatch : status;
}

// ---- tasks

// REQUIRES: the lock.
Status OrderedQueue::finish_flight(ThreadContext& me, WhichFlight which) const {
  Flight *mine = nullptr, *ours = nullptr;
  const Word session = index_of(me.session()) + 1;
  auto comes_before = [which](Flight& flight, Flight* other) {
    return other == nullptr || (own(flight.taken) < own(other->taken)) == (which == WhichFlight::kOldest);
  };
  each_flight(segment(), control_->flights, [&](Flight& flight) {
    Word owner = flight.owner.load(std::memory_order_acquire);
    if (owner == kReturned) return;
    if (owner == me.owner() && comes_before(flight, mine)) mine = &flight;
    std::uint32_t thread = lock_owner_thread(static_cast<std::uint32_t>(owner));
    if (thread >= kMaxThreads) return;
    Word claim = segment().thread(thread).claim.load(std::memory_order_relaxed);
    bool same = (claim & 0xffff'ffff) == session &&
                (claim >> 32 & kLockGenerationMask) == lock_owner_generation(static_cast<std::uint32_t>(owner));
    if (same && comes_before(flight, ours)) ours = &flight;
  });
  Flight* done = mine != nullptr ? mine : ours;
  if (done == nullptr) return Status::kNotHeld;
  Offset box = own(done->box);
  // The commit point. Another thread's flight may be returned at this very moment, because that thread ends.
  Word owner = done->owner.load(std::memory_order_acquire);
  if (owner == kReturned || !done->owner.compare_exchange_strong(owner, 0)) return Status::kNotHeld;
  Heap memory = heap(me);
  OrderedHeap::free_box(segment(), memory, box);
  return Status::kOk;
}

Status OrderedQueue::task_done(ThreadContext& me, WhichFlight which) const {
  OrderedControl& control = *control_;
  Status status = take_turn(me, control.changing, Deadline::never());
  if (status != Status::kOk) return status;
  if (control.redeliver != 0) {
    status = finish_flight(me, which);
  } else if (own(control.done) >= own(control.puts)) {
    status = Status::kNotHeld;
  } else {
    control.done.store(own(control.done) + 1, std::memory_order_release);
  }
  end_turn(me, control.changing, [&] {
    if (status == Status::kOk && all_done()) open_gate(control.all_done, 1 << 20);
  });
  return status;
}

// Without redelivery.
std::uint64_t OrderedQueue::puts_not_done() const {
  for (;;) {
    const Word puts = control_->puts.load(std::memory_order_seq_cst),
               done = control_->done.load(std::memory_order_seq_cst);
    if (control_->puts.load(std::memory_order_seq_cst) == puts) return puts - done;
  }
}

bool OrderedQueue::all_done() const {
  if (control_->redeliver == 0) return puts_not_done() == 0;
  const Counts found = count_items();
  return found.at_one_moment && found.open == 0;
}

Status OrderedQueue::join(ThreadContext& me, Deadline deadline) const {
  const auto finished = [&] { return all_done(); };
  while (!finished()) {
    if (!wait_at(me, control_->all_done, deadline, finished)) return Status::kTimedOut;
  }
  return Status::kOk;
}

// ---- the rest

// A put commits, for those who count, by the store of `count`; a take by that of `takes`. Each raises `puts` or `gets`
// afterwards: when they stay, and `takes`, there was at most one change meanwhile, before or after its commit point.
OrderedQueue::Counts OrderedQueue::count_items(bool flights_too) const {
  OrderedControl& control = *control_;
  const auto look = [](const AtomicWord& word) { return word.load(std::memory_order_seq_cst); };
  Counts found;
  if (control.redeliver == 0) {
    found.below_root = found.here = look(control.count);
    found.at_one_moment = true;
    return found;
  }
  constexpr int kMostLooks = 1'000;  // when others never pause, a change may be half counted in the end
  for (int i = 0; i < kMostLooks && !found.at_one_moment; ++i) {
    const Word puts = look(control.puts), gets = look(control.gets), takes = look(control.takes);
    const Word new_takes = look(control.new_takes);
    found.below_root = new_takes != 0 && new_takes == takes ? look(control.new_count) : look(control.count);
    found.here = found.open = found.below_root;
    const auto count_flight = [&](const Flight& flight) {
      const Word owner = look(flight.owner), taken = look(flight.taken);
      const bool about_to_be_taken = owner != kReturned && taken >> 1 >= takes;
      if (about_to_be_taken && (taken & kTakenAgain) == 0) return;  // it is below the root still
      ++found.open;
      found.here += owner == kReturned || about_to_be_taken;
    };
    if (flights_too) each_flight(segment(), control.flights, count_flight);
    found.at_one_moment = look(control.puts) == puts && look(control.gets) == gets && look(control.takes) == takes;
  }
  return found;
}

Status OrderedQueue::shut_down(ThreadContext& me, bool now) const {
  HeldLock held(me, control_->changing);
  auto end = static_cast<Word>(now ? QueueEnd::kNow : QueueEnd::kDraining);
  if (own(control_->ended) < end) control_->ended.store(end, std::memory_order_seq_cst);
  wake(where_);  // under the lock: a death before it is seen by recovery, which wakes as well
  return Status::kOk;
}

std::uint32_t OrderedQueue::holder_pid() const {
  std::uint32_t owner = control_->changing.state.load(std::memory_order_acquire) & ~kLockWaiters;
  return owner == 0 ? 0 : owner_pid(segment(), owner);
}

}  // namespace commonhold::shm
