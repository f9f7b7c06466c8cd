// The queue operations that the library does for the templates in queue.h. Waits as in lock_calls.h. False, or 0: no
// room, or no item, came in time. They throw Closed and what errors.h names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <span>
#include <string>
#include <vector>

#include <commonhold/detail/call.h>
#include <commonhold/detail/item.h>
#include <commonhold/detail/lock_calls.h>
#include <commonhold/detail/object_handle.h>

namespace commonhold::detail {

// How a queue orders its items; the second word of a request's arguments is its limit, 0 for none.
enum class QueueOrder : std::uint8_t { kFifo = 0, kLifo = 2, kPriority = 3 };

// Items of a fixed size up to this many bytes lie in the queue one behind the other, without a header.
inline constexpr std::size_t kMostFixedQueueItem = 2048;

// What this thread took last cannot be had: it counts as worked off.
COMMONHOLD_CALL void queue_drop_taken(Object& queue);
COMMONHOLD_CALL bool queue_put(Object& queue, const Item& item, std::int64_t wait, Word priority = 0);
COMMONHOLD_CALL std::uint64_t queue_put_many(Object& queue, std::span<const Item> items, std::int64_t wait);
COMMONHOLD_CALL std::uint64_t queue_put_many_fixed(Object& queue, const void* items, std::uint64_t count,
                                                   std::uint64_t stride, std::int64_t wait, ItemKind kind);

COMMONHOLD_CALL bool queue_get(Object& queue, std::string& item, std::int64_t wait, Word* priority = nullptr);
COMMONHOLD_CALL bool queue_get_fixed(Object& queue, void* item, std::size_t size, std::int64_t wait,
                                     Word* priority = nullptr);
// For items that refer to objects, and those whose decoding may fail: the first one, which stays until it is taken as
// it is. False: it is another by now.
COMMONHOLD_CALL bool queue_peek(Object& queue, StoredItem& item, std::int64_t wait);
COMMONHOLD_CALL bool queue_take_if_equal(Object& queue, const Item& expected, Word* priority = nullptr);
// For a consumer that has seen items and does not take them: wakes another waiter.
COMMONHOLD_CALL void queue_leave(Object& queue);
COMMONHOLD_CALL std::vector<std::string> queue_get_many(Object& queue, std::uint64_t most, std::int64_t wait);
// Into room for so many. `more`: nothing was taken, because so many could be, of up to `most`.
COMMONHOLD_CALL std::uint64_t queue_get_many_fixed(Object& queue, void* items, std::size_t size, std::uint64_t room,
                                                   std::uint64_t stride, std::int64_t wait, std::uint64_t most,
                                                   bool& more);

// As queue_peek() and queue_take_if_equal(), for many.
struct SeenItems {
  std::vector<StoredItem> items;
  std::vector<Word> numbers;
};
COMMONHOLD_CALL SeenItems queue_peek_many(Object& queue, std::uint64_t most, std::int64_t wait);
// Takes the first `count` of them, or fewer; 0: they are not the first by now.
COMMONHOLD_CALL std::uint64_t queue_take_seen(Object& queue, const SeenItems& seen, std::uint64_t count);

COMMONHOLD_CALL std::uint64_t queue_size(Object& queue);
COMMONHOLD_CALL std::uint64_t queue_limit(Object& queue);  // 0 for none
COMMONHOLD_CALL bool queue_is_full(Object& queue);
COMMONHOLD_CALL bool queue_is_empty(Object& queue);  // throws Closed in a process that closed it

std::ostream& print_queue(std::ostream& out, Object& queue);

COMMONHOLD_CALL void queue_task_done(Object& queue);  // throws ValueError
COMMONHOLD_CALL std::uint64_t queue_unfinished(Object& queue);
COMMONHOLD_CALL bool queue_join(Object& queue, std::int64_t wait);

COMMONHOLD_CALL void queue_close(Object& queue);  // for this process
COMMONHOLD_CALL bool queue_is_closed(Object& queue);
COMMONHOLD_CALL void queue_shut_down(Object& queue, bool now);  // for everybody

[[noreturn]] void throw_full(Object& queue);
[[noreturn]] void throw_nothing_to_get(Object& queue);

}  // namespace commonhold::detail
