#include <commonhold/detail/queue_calls.h>

#include <fmt/format.h>

#include <ostream>

#include <commonhold/errors.h>

#include "proxy/errors.h"
#include "proxy/items.h"
#include "proxy/object.h"
#include "proxy/queue_object.h"
#include "proxy/waiting.h"
#include "proxy/watch_hub.h"

namespace commonhold::detail {

using shm::Status;

namespace {

// What the next get allocates before it takes the lock.
constexpr std::uint32_t kLongestHint = 4096;

shm::QueueEnd end_of(Object& queue) {
  return queue_of(queue).visit([](auto& structure) { return structure.ended(); });
}

[[noreturn]] void throw_closed(Object& queue) {
  const shm::QueueEnd end = end_of(queue);
  if (end == shm::QueueEnd::kOpen) {
    throw Closed(
        fmt::format("{} is closed: this process called close() and puts and takes no more", description_of(queue)));
  }
  throw Closed(fmt::format("{} is closed: it was shut down{}", description_of(queue),
                           end == shm::QueueEnd::kNow ? "" : ", and nothing is left in it"));
}

// The queue, unless this process closed it.
const shm::AnyQueue& open_queue(Object& queue) {
  const shm::AnyQueue& structure = queue_of(queue);
  if (aside_of(queue).closed.set.load(std::memory_order_relaxed)) [[unlikely]]
    throw_closed(queue);
  return structure;
}

// A wait's deadline, which has passed too once this process closed the queue.
shm::Deadline open_until(Object& queue, std::int64_t wait) {
  return deadline_after(wait, &aside_of(queue).closed);
}

// True for kOk, false when the time passed.
bool in_time(Status status, std::int64_t wait, Object& queue, const char* operation) {
  if (status == Status::kOk) [[likely]]
    return true;
  if (status == Status::kTimedOut && aside_of(queue).closed.set.load(std::memory_order_relaxed)) throw_closed(queue);
  if (status == Status::kTimedOut) return out_of_time(wait, queue, operation);
  if (status == Status::kClosed) throw_closed(queue);
  throw_status(status, queue, operation);
}

// When a process that was stopped holds the queue, its being full or empty is not the reason.
std::string holder_of(Object& queue, bool putting) {
  const shm::AnyQueue& structure = queue_of(queue);
  const std::uint32_t pid =
      structure.is_ring() ? structure.ring().holder_pid(putting) : structure.ordered().holder_pid();
  return pid == 0 ? "" : fmt::format("; process {} holds it just now, which may be stopped", pid);
}

}  // namespace

bool queue_put(Object& queue, const Item& item, std::int64_t wait, Word priority) {
  const shm::AnyQueue& structure = open_queue(queue);
  const Status status = structure.is_ring()
                            ? structure.ring().put(here(queue), to_shm(item), open_until(queue, wait))
                            : structure.ordered().put(here(queue), to_shm(item), priority, open_until(queue, wait));
  return in_time(status, wait, queue, "put into");
}

std::uint64_t queue_put_many(Object& queue, std::span<const Item> items, std::int64_t wait) {
  std::uint64_t done = 0;
  const std::vector<shm::Item> all = to_shm(items);
  const Status status = open_queue(queue).visit(
      [&](auto& found) { return found.put_many(here(queue), all, open_until(queue, wait), done); });
  (void)in_time(status, wait, queue, "put into");
  return done;
}

std::uint64_t queue_put_many_fixed(Object& queue, const void* items, std::uint64_t count, std::uint64_t stride,
                                   std::int64_t wait, ItemKind kind) {
  const shm::AnyQueue& structure = open_queue(queue);
  if (structure.is_ring()) {
    std::uint64_t done = 0;
    const Status status = structure.ring().put_fixed(here(queue), items, count, stride, open_until(queue, wait), done);
    (void)in_time(status, wait, queue, "put into");
    return done;
  }
  std::vector<Item> all(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    all[i] = {kind, static_cast<const std::byte*>(items) + i * stride, stride};
  }
  return queue_put_many(queue, all, wait);
}

bool queue_get(Object& queue, std::string& item, std::int64_t wait, Word* priority) {
  const shm::AnyQueue& structure = open_queue(queue);
  auto& hint = aside_of(queue).usual_size;
  item.reserve(hint.load(std::memory_order_relaxed));
  const Status status = structure.is_ring()
                            ? structure.ring().get(here(queue), item, open_until(queue, wait))
                            : structure.ordered().get(here(queue), item, priority, open_until(queue, wait));
  if (!in_time(status, wait, queue, "take from")) return false;
  if (item.size() > hint.load(std::memory_order_relaxed) && item.size() <= kLongestHint) {
    hint.store(static_cast<std::uint32_t>(item.size()), std::memory_order_relaxed);
  }
  return true;
}

bool queue_get_fixed(Object& queue, void* item, std::size_t size, std::int64_t wait, Word* priority) {
  const shm::AnyQueue& structure = open_queue(queue);
  const Status status = structure.is_ring()
                            ? structure.ring().get_fixed(here(queue), item, size, open_until(queue, wait))
                            : structure.ordered().get_fixed(here(queue), item, size, priority, open_until(queue, wait));
  return in_time(status, wait, queue, "take from");
}

bool queue_peek(Object& queue, StoredItem& item, std::int64_t wait) {
  const shm::AnyQueue& structure = open_queue(queue);
  shm::ItemKind kind = shm::ItemKind::kNull;
  const Status status =
      structure.visit([&](auto& found) { return found.peek(here(queue), kind, item.bytes, open_until(queue, wait)); });
  item.kind = static_cast<ItemKind>(kind);
  return in_time(status, wait, queue, "take from");
}

bool queue_take_if_equal(Object& queue, const Item& expected, Word* priority) {
  const shm::AnyQueue& structure = open_queue(queue);
  const Status status = structure.is_ring()
                            ? structure.ring().take_if_equal(here(queue), to_shm(expected))
                            : structure.ordered().take_if_equal(here(queue), to_shm(expected), priority);
  if (status == Status::kMismatch) return false;
  if (!in_time(status, 0, queue, "take from")) return false;
  tell_of_removal(queue);
  return true;
}

void queue_leave(Object& queue) {
  queue_of(queue).visit([](auto& structure) { structure.pass_on_items(); });
}

std::vector<std::string> queue_get_many(Object& queue, std::uint64_t most, std::int64_t wait) {
  std::vector<std::string> items;
  const Status status = open_queue(queue).visit(
      [&](auto& found) { return found.get_many(here(queue), most, items, open_until(queue, wait)); });
  (void)in_time(status, wait, queue, "take from");
  return items;
}

std::uint64_t queue_get_many_fixed(Object& queue, void* items, std::size_t size, std::uint64_t room,
                                   std::uint64_t stride, std::int64_t wait, std::uint64_t most, bool& more) {
  std::uint64_t got = 0;
  const Status status = open_queue(queue).visit([&](auto& found) {
    return found.get_many_fixed(here(queue), items, size, room, stride, open_until(queue, wait), got, most);
  });
  more = status == Status::kRetry;
  if (!more) (void)in_time(status, wait, queue, "take from");
  return got;
}

SeenItems queue_peek_many(Object& queue, std::uint64_t most, std::int64_t wait) {
  shm::CopiedItems copied;
  const Status status = open_queue(queue).visit(
      [&](auto& found) { return found.peek_many(here(queue), most, copied, open_until(queue, wait)); });
  SeenItems seen;
  if (!in_time(status, wait, queue, "take from")) return seen;
  try {
    seen.items.reserve(copied.count());
    for (std::uint64_t i = 0; i < copied.count(); ++i) {
      seen.items.push_back({static_cast<ItemKind>(copied.kind(i)), copied.bytes(i)});
    }
  } catch (...) {
    queue_leave(queue);
    throw;
  }
  seen.numbers = std::move(copied.numbers);
  return seen;
}

std::uint64_t queue_take_seen(Object& queue, const SeenItems& seen, std::uint64_t count) {
  const Status status =
      open_queue(queue).visit([&](auto& found) { return found.take_seen(here(queue), seen.numbers, count); });
  if (status == Status::kMismatch) return 0;
  if (!in_time(status, 0, queue, "take from")) return 0;
  if (count != 0) tell_of_removal(queue);
  return count;
}

std::uint64_t queue_size(Object& queue) {
  return queue_of(queue).visit([](auto& structure) { return structure.size(); });
}

std::uint64_t queue_limit(Object& queue) {
  const std::uint64_t limit = queue_of(queue).visit([](auto& structure) { return structure.limit(); });
  return limit == ~std::uint64_t{0} ? 0 : limit;
}

bool queue_is_full(Object& queue) {
  return queue_of(queue).visit([](auto& structure) { return structure.full(); });
}

bool queue_is_empty(Object& queue) {
  (void)open_queue(queue);
  return queue_size(queue) == 0;
}

std::ostream& print_queue(std::ostream& out, Object& queue) {
  const std::uint64_t size = queue_size(queue);
  return out << '<' << description_of(queue) << " with " << size << (size == 1 ? " item>" : " items>");
}

void queue_task_done(Object& queue) {
  const Status status = queue_of(queue).visit([&](auto& structure) { return structure.task_done(here(queue)); });
  if (status == Status::kOk) [[likely]]
    return;
  if (status == Status::kNotHeld) {
    throw ValueError(fmt::format("task_done of {}, which has no unfinished item{}: call it once for each item taken",
                                 description_of(queue), queue_unfinished(queue) == 0 ? "" : " of this process"));
  }
  throw_status(status, queue, "mark an item done in");
}

void queue_drop_taken(Object& queue) {
  const shm::AnyQueue& structure = queue_of(queue);
  const Status status = structure.is_ring() ? structure.ring().task_done(here(queue))
                                            : structure.ordered().task_done(here(queue), shm::WhichFlight::kNewest);
  if (status != Status::kOk && status != Status::kNotHeld) throw_status(status, queue, "mark an item done in");
}

std::uint64_t queue_unfinished(Object& queue) {
  return queue_of(queue).visit([](auto& structure) { return structure.unfinished(); });
}

bool queue_join(Object& queue, std::int64_t wait) {
  const Status status =
      queue_of(queue).visit([&](auto& structure) { return structure.join(here(queue), deadline_after(wait)); });
  return in_time(status, wait, queue, "join");
}

void queue_close(Object& queue) {
  (void)queue_of(queue);
  // SYNC POINT: wait cancelled. The wake-up reaches waiters of other processes too, which look and sleep on.
  if (aside_of(queue).closed.set.exchange(true, std::memory_order_seq_cst)) return;
  shm::AnyQueue::wake(queue.address());
  WatchHub::instance().kick();  // descriptors of watches
}

bool queue_is_closed(Object& queue) {
  return end_of(queue) != shm::QueueEnd::kOpen || aside_of(queue).closed.set.load(std::memory_order_relaxed);
}

void queue_shut_down(Object& queue, bool now) {
  (void)in_time(queue_of(queue).visit([&](auto& structure) { return structure.shut_down(here(queue), now); }), 0, queue,
                "shut down");
}

void throw_full(Object& queue) {
  throw Full(fmt::format("{} is full: it holds {} of at most {} items{}", description_of(queue), queue_size(queue),
                         queue_limit(queue), holder_of(queue, true)));
}

void throw_nothing_to_get(Object& queue) {
  throw Empty(fmt::format("{} is empty: nothing was put in time{}", description_of(queue), holder_of(queue, false)));
}

}  // namespace commonhold::detail
