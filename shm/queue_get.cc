// Taking from a queue: one item or many, looked at first or not.
#include <algorithm>

#include "shm/queue.h"
#include "shm/queue_turn.h"
#include "shm/words.h"

namespace commonhold::shm {

// take(at, available, taken) copies items from `at` on, `wanted` of them where there are so many, moves `at` behind
// them and says how many it took.
template <typename Take>
Status Queue::get_with(ThreadContext& me, std::uint64_t wanted, Deadline deadline, Take&& take) const {
  if (!ring_.sound()) return Status::kCorrupt;
  QueueControl& control = ring_.control();
  for (;;) {
    // A look first, so that those who wait do not disturb those who take. At `tail` only where the copy says nothing:
    // each look takes its cache line away from the producers.
    if (own(control.tail_seen) == own(control.head) && !has_items() && !wait_for_items(me, deadline)) {
      return Status::kTimedOut;
    }
    Status status = take_turn(me, control.getting, deadline, control.items, [&] { return has_items(); });
    if (status != Status::kOk) return status;
    Word head = own(control.head);
    std::uint64_t available = own(control.tail_seen) - head;
    if (available < wanted) {
      // SYNC POINT: item put
      control.tail_seen.store(control.tail.load(std::memory_order_acquire), std::memory_order_relaxed);
      const bool was_empty = available == 0;
      available = own(control.tail_seen) - head;
      if (was_empty) control.pause.store(next_pause(own(control.pause), available), std::memory_order_relaxed);
    }
    std::uint64_t taken = 0;
    bool left_chunk = false;
    const Word end = own(control.ended);
    if (end >= kEndedNow || (end != 0 && available == 0)) [[unlikely]] {
      status = end > kEndedNow ? Status::kCorrupt : Status::kClosed;
    } else if (available != 0) {
      Offset from = cursor_at(own(control.get_cursor)), at = from;
      status = take(at, available, taken);
      if (status == Status::kOk) [[likely]] {
        control.head.store(head + taken, std::memory_order_release);  // SYNC POINT: item taken. The commit point
        control.get_cursor.store(cursor_word(at, head + taken), std::memory_order_release);  // SYNC POINT: chunk left
        left_chunk = ring_.chunk_of(from) != ring_.chunk_of(at);
      }
    }
    end_turn(me, control.getting, [&] {
      if (taken != 0) {
        open_gate(control.room, static_cast<int>(std::min<Word>(taken, 1 << 20)), &control.changes);
      } else if (ends_in_vain(status)) {
        pass_on_items();
      }
    });
    if (left_chunk && ring_.has_left_much()) help_reclaim(me);
    if (status != Status::kOk || taken != 0) return status;
    if (deadline.passed()) return Status::kTimedOut;
  }
}

Status Queue::get_fixed(ThreadContext& me, void* item, std::uint64_t size, Deadline deadline) const {
  bool large = false;
  Status status = get_with(me, 1, deadline, [&](Offset& at, std::uint64_t, std::uint64_t& taken) {
    ItemPlace place;
    Status found = ring_.find_item(at, place);
    if (found != Status::kOk) return found;
    if (place.size != size) return Status::kMismatch;
    read_words(item, ring_.segment().at<std::byte>(place.at), size);
    at = place.after;
    large = place.large;
    taken = 1;
    return Status::kOk;
  });
  if (large) help_reclaim(me);
  return status;
}

Status Queue::get(ThreadContext& me, std::string& item, Deadline deadline) const {
  for (;;) {
    std::size_t need = 0;
    bool large = false;
    Status status = get_with(me, 1, deadline, [&](Offset& at, std::uint64_t, std::uint64_t& taken) {
      ItemPlace place;
      Status found = ring_.find_item(at, place);
      if (found != Status::kOk) return found;
      need = place.size;
      if (need > item.capacity()) return Status::kRetry;  // memory is allocated outside of the lock
      item.resize(need);
      read_words(item.data(), ring_.segment().at<std::byte>(place.at), place.size);
      at = place.after;
      large = place.large;
      taken = 1;
      return Status::kOk;
    });
    if (large) help_reclaim(me);
    if (status != Status::kRetry) return status;
    allocate_between_turns(*this, [&] { item.reserve(need); });
  }
}

// Copied into private memory of CopiedItems or TakenTexts, which is allocated outside of the lock. With `head` the
// items are only seen, and it gets how many were taken before them.
template <typename Items>
Status Queue::copy_many(ThreadContext& me, std::uint64_t most, Items& items, Deadline deadline, Word* head) const {
  if (most == 0) return Status::kOk;
  for (;;) {
    allocate_between_turns(*this, [&] { most = items.make_room(most); });
    bool large = false;
    Status status = get_with(me, most, deadline, [&](Offset& at, std::uint64_t available, std::uint64_t& taken) {
      const std::uint64_t count = std::min({available, most, kMostInOneStep});
      Offset next = at;
      auto each = [&](auto&& visit) {
        next = at;
        for (std::uint64_t i = 0; i < count; ++i) {
          ItemPlace place;
          Status found = ring_.find_item(next, place);
          if (found != Status::kOk) return found;
          visit(place);
          next = place.after;
        }
        return Status::kOk;
      };
      items.begin();
      Status found = each([&](const ItemPlace& place) { items.need(place.size); });
      if (found == Status::kOk) found = items.ready();
      if (found != Status::kOk) return found;
      found = each([&](const ItemPlace& place) {
        items.add(place.kind, ring_.segment().at<std::byte>(place.at), place.size);
        large = large || place.large;
      });
      if (found != Status::kOk || items.count() != count) return Status::kCorrupt;
      if (head != nullptr) {
        *head = own(ring_.control().head);
        return Status::kExists;  // seen, and not taken
      }
      at = next;
      taken = count;
      return Status::kOk;
    });
    if (large && head == nullptr) help_reclaim(me);
    if (status != Status::kRetry) return status == Status::kExists ? Status::kOk : status;
  }
}

Status Queue::get_many(ThreadContext& me, std::uint64_t most, std::vector<std::string>& items,
                       Deadline deadline) const {
  items.clear();
  TakenTexts texts(std::min(most, size()));
  Status status = copy_many(me, most, texts, deadline, nullptr);
  if (status == Status::kOk) items = texts.release();
  return status;
}

Status Queue::peek_many(ThreadContext& me, std::uint64_t most, CopiedItems& items, Deadline deadline) const {
  items.clear();
  Word head = 0;
  Status status = copy_many(me, most, items, deadline, &head);
  if (status == Status::kOk && most != 0) items.numbers[0] = head;
  return status;
}

Status Queue::take_seen(ThreadContext& me, std::span<const Word> numbers, std::uint64_t& count) const {
  const std::uint64_t wanted = std::min(count, numbers.size());
  count = 0;
  if (wanted == 0) return Status::kOk;
  bool large = false;
  Status status =
      get_with(me, wanted, Deadline::already(), [&](Offset& at, std::uint64_t available, std::uint64_t& taken) {
        if (own(ring_.control().head) != numbers[0] || available < wanted) return Status::kMismatch;
        Offset next = at;
        for (std::uint64_t i = 0; i < wanted; ++i) {
          ItemPlace place;
          Status found = ring_.find_item(next, place);
          if (found != Status::kOk) return found;
          next = place.after;
          large = large || place.large;
        }
        at = next;
        taken = count = wanted;
        return Status::kOk;
      });
  if (large) help_reclaim(me);
  return status == Status::kTimedOut || status == Status::kClosed ? Status::kMismatch : status;
}

Status Queue::peek(ThreadContext& me, ItemKind& kind, std::string& item, Deadline deadline) const {
  for (;;) {
    std::size_t need = 0;
    Status status = get_with(me, 1, deadline, [&](Offset& at, std::uint64_t, std::uint64_t&) {
      ItemPlace place;
      Status found = ring_.find_item(at, place);
      if (found != Status::kOk) return found;
      need = place.size;
      if (need > item.capacity()) return Status::kRetry;
      item.resize(need);
      read_words(item.data(), ring_.segment().at<std::byte>(place.at), place.size);
      kind = place.kind;
      return Status::kExists;  // seen, and not taken
    });
    if (status != Status::kRetry) return status == Status::kExists ? Status::kOk : status;
    allocate_between_turns(*this, [&] { item.reserve(need); });
  }
}

Status Queue::take_if_equal(ThreadContext& me, const Item& expected) const {
  Status status = get_with(me, 1, Deadline::already(), [&](Offset& at, std::uint64_t, std::uint64_t& taken) {
    ItemPlace place;
    Status found = ring_.find_item(at, place);
    if (found != Status::kOk) return found;
    auto* bytes = ring_.segment().at<std::byte>(place.at);
    if (place.size != expected.size || place.kind != expected.kind || !equal_words(bytes, expected.data, place.size)) {
      return Status::kMismatch;
    }
    at = place.after;
    taken = 1;
    return Status::kOk;
  });
  return status == Status::kTimedOut || status == Status::kClosed ? Status::kMismatch : status;
}

Status Queue::take_fixed_run(Offset& at, std::byte* to, std::uint64_t count, std::uint64_t stride) const {
  const std::uint64_t size = ring_.item_bytes(), step = ring_.stride();
  while (count != 0) {
    ItemPlace place;
    Status found = ring_.find_item(at, place);
    if (found != Status::kOk) return found;
    std::uint64_t fit = std::min(count, (ring_.end_of(place.at) - place.at) / step);
    if (fit == 0) return Status::kCorrupt;
    auto* from = ring_.segment().at<std::byte>(place.at);
    if (size == stride && size == step) {
      read_words(to, from, fit * size);
    } else {
      for (std::uint64_t i = 0; i < fit; ++i) read_words(to + i * stride, from + i * step, size);
    }
    at = place.at + fit * step;
    to += fit * stride;
    count -= fit;
  }
  return Status::kOk;
}

Status Queue::get_many_fixed(ThreadContext& me, void* items, std::uint64_t size, std::uint64_t most,
                             std::uint64_t stride, Deadline deadline, std::uint64_t& got, std::uint64_t all) const {
  got = 0;
  if (most == 0) return Status::kOk;
  if (ring_.item_bytes() != size) return Status::kMismatch;
  all = std::max(all, most);
  const Status result = get_with(me, all, deadline, [&](Offset& at, std::uint64_t available, std::uint64_t& taken) {
    std::uint64_t count = std::min({available, all, kMostInOneStep});
    if (count > most) {
      got = count;
      return Status::kRetry;
    }
    Status status = take_fixed_run(at, static_cast<std::byte*>(items), count, stride);
    if (status == Status::kOk) taken = got = count;
    return status;
  });
  if (result == Status::kRetry) pass_on_items();  // the caller may not come again
  return result;
}

// A consumer's favour to producers, who may not come by for long: memory goes back while it costs nobody anything.
void Queue::help_reclaim(ThreadContext& me) const {
  QueueControl& control = ring_.control();
  if (!try_lock(me, control.putting)) return;
  (void)ring_.reclaim(me);
  (void)unlock(me, control.putting);
}

// ---- waiting

bool Queue::has_items() const {
  QueueControl& control = ring_.control();
  return control.tail.load(std::memory_order_seq_cst) != control.head.load(std::memory_order_relaxed) ||
         control.ended.load(std::memory_order_relaxed) != 0;
}

void Queue::pass_on_items() const {
  pass_on(ring_.control().items, [&] { return has_items(); });
}

bool Queue::wait_for_items(ThreadContext& me, Deadline deadline) const {
  QueueControl& control = ring_.control();
  std::uint64_t pause = std::clamp(own(control.pause), kLookEvery, 8 * kLookEvery);
  return wait_at(
      me, control.items, deadline, [&] { return has_items(); }, pause);
}

}  // namespace commonhold::shm
