#include "shm/queue.h"

#include <algorithm>

#include "shm/idle_memory.h"
#include "shm/liveness.h"
#include "shm/planted_fault.h"
#include "shm/queue_turn.h"
#include "shm/words.h"

namespace commonhold::shm {

// ---- putting

// Puts `count` items: append(at, n) writes n more from `at` on.
template <typename Append>
Status Queue::put_with(ThreadContext& me, std::uint64_t count, Deadline deadline, std::uint64_t& done,
                       Append&& append) const {
  done = 0;
  if (!ring_.sound()) return Status::kCorrupt;
  QueueControl& control = ring_.control();
  SweepWaits waits(me, deadline);
  for (;;) {
    Status status = take_turn(me, control.putting, deadline, control.room, [&] { return has_room(); });
    if (status != Status::kOk) return status;
    Word tail = own(control.tail);
    std::uint64_t room = ring_.limit() - (tail - own(control.head_seen));
    if (room < count - done) [[unlikely]] {
      // SYNC POINT: item taken
      control.head_seen.store(control.head.load(std::memory_order_acquire), std::memory_order_relaxed);
      room = ring_.limit() - std::min(ring_.limit(), tail - own(control.head_seen));
    }
    std::uint64_t now = std::min({count - done, room, kMostInOneStep});
    if (own(control.ended) != 0) [[unlikely]] {
      status = Status::kClosed;
    } else if (now != 0) {
      Offset at = cursor_at(own(control.put_cursor));
      status = ring_.is_position(at) ? append(at, now) : Status::kCorrupt;
      if (status == Status::kOk) [[likely]] {
        if (planted(PlantedFault::kWakeBeforeChange)) open_gate(control.items, 1, &control.changes);
        control.tail.store(tail + now, std::memory_order_release);  // SYNC POINT: item put. The commit point
        control.put_cursor.store(cursor_word(at, tail + now), std::memory_order_release);
        done += now;
      }
    }
    end_turn(me, control.putting, [&] {
      if (status != Status::kOk || now == 0) {
        if (ends_in_vain(status)) pass_on(control.room, [&] { return has_room(); });
        return;
      }
      if (planted(PlantedFault::kWakeBeforeChange)) return;
      open_gate(control.items, static_cast<int>(std::min<Word>(now, 1 << 20)), &control.changes);
    });
    if (waits.worth_another(status)) [[unlikely]]
      continue;
    if (status != Status::kOk || done == count) return status;
    // Also where consumers make room all the time; a step that took as many as it may is not out of room.
    if (now == 0 ? !wait_for_room(me, deadline) : now != kMostInOneStep && deadline.passed()) return Status::kTimedOut;
  }
}

Status Queue::put(ThreadContext& me, const Item& item, Deadline deadline) const {
  std::uint64_t done;
  return put_with(me, 1, deadline, done, [&](Offset& at, std::uint64_t) { return ring_.append(me, at, item); });
}

Status Queue::put_many(ThreadContext& me, std::span<const Item> items, Deadline deadline, std::uint64_t& done) const {
  return put_with(me, items.size(), deadline, done, [&](Offset& at, std::uint64_t count) {
    Offset from = at;
    for (std::uint64_t i = 0; i < count; ++i) {
      Status status = ring_.append(me, at, items[done + i]);
      if (status == Status::kOk) continue;
      ring_.undo_append(me, from, i);
      return status;
    }
    return Status::kOk;
  });
}

Status Queue::put_fixed(ThreadContext& me, const void* items, std::uint64_t count, std::uint64_t stride,
                        Deadline deadline, std::uint64_t& done) const {
  auto* source = static_cast<const std::byte*>(items);
  const std::uint64_t size = ring_.item_bytes(), step = ring_.stride();
  return put_with(me, count, deadline, done, [&](Offset& at, std::uint64_t left) {
    if (size == 0) return Status::kMismatch;
    ring_.fetch_ahead(at);
    const std::byte* from = source + done * stride;
    for (;;) {
      std::uint64_t fit = std::min(left, (ring_.end_of(at) - at) / step);
      auto* to = ring_.segment().at<std::byte>(at);
      if (size == stride && size == step) {
        write_words(to, from, fit * size);
      } else {
        for (std::uint64_t i = 0; i < fit; ++i) write_words(to + i * step, from + i * stride, size);
      }
      at += fit * step;
      left -= fit;
      if (left == 0) return Status::kOk;
      from += fit * stride;
      Status status = ring_.next_chunk(me, at);
      if (status != Status::kOk) return status;
    }
  });
}

bool Queue::has_room() const {
  QueueControl& control = ring_.control();
  Word taken = control.head.load(std::memory_order_seq_cst);
  return own(control.tail) - taken < ring_.limit() || own(control.ended) != 0;
}

bool Queue::wait_for_room(ThreadContext& me, Deadline deadline) const {
  return wait_at(me, ring_.control().room, deadline, [&] { return has_room(); });
}

// ---- the rest

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
    if (!wait_at(me, control.all_done, deadline, finished)) return Status::kTimedOut;
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

}  // namespace commonhold::shm
