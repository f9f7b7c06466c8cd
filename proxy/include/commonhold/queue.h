// Queue<T>: items that some processes put and others take, first in, first out.
//
//   auto orders = manager.queue<std::string>(100);        // at most 100 at a time; 0: as many as memory holds
//   orders.put("tea");                                     // waits while it is full
//   std::string order = orders.get();                      // waits while it is empty
//   if (auto next = orders.try_get_for(50ms)) ...          // or nothing
//
// A Queue is a reference: copies mean the same shared queue. codec.h says what T can be. Every process sees one order:
// an item is there for everybody when put() returned, and each item goes to one taker. size(), empty() and full() are
// exact at their moment.
//
// put and get wait as long as it takes; with a duration they throw Full or Empty when it has passed; the _nowait forms
// try once; the try_ forms tell instead of throwing. put_many and get_many move many items at once, which is several
// times faster, and are atomic: everybody sees all of what they put or took, or none of it, deaths included.
//
// An item that cannot be decoded, because a Codec throws or memory is short, stays where it is.
//
// Tasks: a producer can wait for its items to be not only taken but worked off. Each consumer calls task_done() after
// each item; join() returns when it was called as often as items were put.
//
// The end: close() ends this process's use of the queue; shutdown() ends everybody's: no more items can be put, and
// when the last one is taken get() throws Closed.
//
// watch_items() and watch_room() wait for changes, also in an event loop (watch.h).
//
// When a process dies: an item was put when its put() had returned, and at some moment shortly before; it is taken when
// get() is about to return. A producer that dies puts its item or does not; a consumer that dies between taking an item
// and task_done() takes it with it, unless the queue was made with {.redeliver = true}: then it is given to the next
// consumer, before all others. Nobody else is held up.
//
// Thread safety: any thread of any process. Every call may throw OutOfMemory where it stores, LimitReached, ObjectGone
// and CorruptSegment (errors.h); Closed after close() or shutdown().
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <commonhold/detail/encoded.h>
#include <commonhold/detail/encoded_batch.h>
#include <commonhold/detail/object_handle.h>
#include <commonhold/detail/queue_calls.h>
#include <commonhold/detail/signature.h>
#include <commonhold/detail/tickets.h>
#include <commonhold/errors.h>
#include <commonhold/watch.h>

namespace commonhold {

struct QueueOptions {
  std::int64_t maxsize = 0;  // 0 or less: as many items as memory holds
  // An item whose consumer dies before it called task_done() is delivered again. A consumer is a thread. Items in
  // flight and those that come again take no room: size() can be above maxsize by as many.
  bool redeliver = false;
};

namespace detail {
constexpr std::uint32_t kQueueOptions = 1u << 1 | 1u << 3;
inline QueueOptions queue_options(Object& queue) {
  return {.maxsize = static_cast<std::int64_t>(argument_of(queue, 1)), .redeliver = argument_of(queue, 3) != 0};
}
inline ObjectRequest with_options(ObjectRequest request, const QueueOptions& options) {
  request.arguments[1] = options.maxsize > 0 ? static_cast<std::uint64_t>(options.maxsize) : 0;
  request.arguments[3] = options.redeliver;
  request.compared = kQueueOptions;
  return request;
}
// queue_inline.h
template <typename T>
std::optional<T> take_value(Object& queue, std::int64_t wait, Word* priority = nullptr);
}  // namespace detail

// What Queue, LifoQueue and SimpleQueue share; their order differs.
template <typename T, detail::QueueOrder kOrder, bool kSimple>
class BasicQueue {
  static_assert(sizeof(detail::RequireStorable<T>) != 0);

 public:
  using value_type = T;
  using size_type = std::size_t;
  using ValueArg = detail::Argument<T>;

  // ---- putting; Full when there is no room in time

  void put(ValueArg value) const { (void)put_within(value, detail::kForever); }
  template <typename Rep, typename Period>
  void put(ValueArg value, const std::chrono::duration<Rep, Period>& timeout) const {
    if (!put_within(value, detail::to_wait(timeout))) detail::throw_full(*handle_);
  }
  void put_nowait(ValueArg value) const {
    if (!put_within(value, 0)) detail::throw_full(*handle_);
  }
  bool try_put(ValueArg value) const { return put_within(value, 0); }
  template <typename Rep, typename Period>
  bool try_put_for(ValueArg value, const std::chrono::duration<Rep, Period>& timeout) const {
    return put_within(value, detail::to_wait(timeout));
  }
  template <typename Clock, typename Duration>
  bool try_put_until(ValueArg value, const std::chrono::time_point<Clock, Duration>& when) const {
    return put_within(value, detail::to_wait(when));
  }
  // All of them in their order: atomically where they fit at once (up to 4 million), else as room comes, each part
  // atomically.
  template <std::ranges::input_range Values = std::initializer_list<T>>
  void put_many(Values&& values) const {
    (void)put_all(values, detail::kForever);
  }
  // As many as find room in time: how many of the first ones were put.
  template <std::ranges::input_range Values = std::initializer_list<T>, typename Rep, typename Period>
  size_type put_many(Values&& values, const std::chrono::duration<Rep, Period>& timeout) const {
    return put_all(values, detail::to_wait(timeout));
  }

  // ---- taking; Empty when nothing comes in time

  T get() const { return *get_within(detail::kForever); }
  template <typename Rep, typename Period>
  T get(const std::chrono::duration<Rep, Period>& timeout) const {
    return or_empty(get_within(detail::to_wait(timeout)));
  }
  T get_nowait() const { return or_empty(get_within(0)); }
  std::optional<T> try_get() const { return get_within(0); }
  template <typename Rep, typename Period>
  std::optional<T> try_get_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return get_within(detail::to_wait(timeout));
  }
  template <typename Clock, typename Duration>
  std::optional<T> try_get_until(const std::chrono::time_point<Clock, Duration>& when) const {
    return get_within(detail::to_wait(when));
  }
  // Waits for one item, then takes what is there, at most `most` (and 4 million), atomically. With a timeout it may be
  // nothing. Fewer than are there: memory for taking more at once is missing, the next one cannot be decoded, or others
  // change the queue all the time. std::bad_alloc takes nothing.
  std::vector<T> get_many(size_type most) const { return get_all(most, detail::kForever); }
  template <typename Rep, typename Period>
  std::vector<T> get_many(size_type most, const std::chrono::duration<Rep, Period>& timeout) const {
    return get_all(most, detail::to_wait(timeout));
  }

  // ---- what it holds

  size_type size() const { return detail::queue_size(*handle_); }
  size_type qsize() const { return size(); }
  bool empty() const { return detail::queue_is_empty(*handle_); }
  bool full() const { return detail::queue_is_full(*handle_); }        // put would wait
  size_type maxsize() const { return detail::queue_limit(*handle_); }  // 0: no limit

  // ---- tasks

  // For an item that was taken: it is worked off. ValueError when called more often than items were put.
  void task_done() const requires(!kSimple) {
    detail::queue_task_done(*handle_);
    if constexpr (detail::kHasTickets<T>) detail::end_oldest_tickets(*handle_);
  }
  // Waits until every item that was put is worked off.
  void join() const requires(!kSimple) { (void)detail::queue_join(*handle_, detail::kForever); }
  template <typename Rep, typename Period>
  bool join(const std::chrono::duration<Rep, Period>& timeout) const requires(!kSimple) {
    return detail::queue_join(*handle_, detail::to_wait(timeout));
  }
  size_type unfinished() const requires(!kSimple) { return detail::queue_unfinished(*handle_); }

  // ---- the end

  // This process puts and takes no more: put, get and empty throw Closed, those of its threads that wait already, too.
  // Other processes go on; size() and full() do, too.
  void close() const { detail::queue_close(*handle_); }
  bool closed() const { return detail::queue_is_closed(*handle_); }
  // Nobody puts any more; what is left can be taken, or with `immediate` nothing. Wakes all who wait.
  void shutdown(bool immediate = false) const { detail::queue_shut_down(*handle_, immediate); }

  // ---- waiting for changes (watch.h); several may end one wait

  // For a consumer with an event loop: items were put, or come again, or the queue was shut down. Then take until
  // try_get() gives nothing.
  Watch watch_items() const { return detail::watch(handle_, nullptr, detail::WatchedSide::kItems); }
  // For a producer: items were taken, or the queue was shut down.
  Watch watch_room() const { return detail::watch(handle_, nullptr, detail::WatchedSide::kRoom); }
  // Any of it.
  Watch watch() const { return detail::watch(handle_); }

  // <queue<text> "orders" with 3 items>
  friend std::ostream& operator<<(std::ostream& out, const BasicQueue& queue) {
    return detail::print_queue(out, *queue.handle_);
  }
  friend bool operator==(const BasicQueue& a, const BasicQueue& b) { return a.handle_ == b.handle_; }
  bool same_as(const BasicQueue& other) const { return *this == other; }
  static constexpr bool kComparedByIdentity = true;  // so std::hash and < are there, too (identity.h)

  // ---- the object

  std::string name() const { return detail::name_of(*handle_); }
  std::string token() const { return detail::token_of(*handle_); }
  // What it was made with.
  QueueOptions options() const { return detail::queue_options(*handle_); }
  static detail::ObjectRequest request(const QueueOptions& options) { return detail::with_options(request(), options); }
  static detail::ObjectRequest request() {
    constexpr const char* kPrefix = kSimple                               ? "simple_queue<"
                                    : kOrder == detail::QueueOrder::kLifo ? "lifo_queue<"
                                                                          : "queue<";
    return {detail::ObjectKind::kQueue,
            detail::fitted_signature(detail::joined({kPrefix, detail::type_name<T>(), ">"})),
            {kFixedBytes, 0, static_cast<std::uint64_t>(kOrder)}};
  }

 private:
  friend struct detail::Access;
  explicit BasicQueue(detail::ObjectHandle handle) : handle_(std::move(handle)) {}

  static constexpr std::size_t fixed_bytes() {
    if constexpr (detail::kIsFixed<T> && !detail::kMayLink<T>) {
      constexpr std::size_t kBytes = detail::FixedBuffer<T>::size();
      return kBytes <= detail::kMostFixedQueueItem ? kBytes : 0;
    } else {
      return 0;
    }
  }
  static constexpr std::size_t kFixedBytes = fixed_bytes();
  // A T in memory is what the queue stores.
  static constexpr bool kStoredAsIs =
      kFixedBytes == sizeof(T) && std::has_unique_object_representations_v<T> && !std::is_same_v<T, bool>;

  bool put_within(ValueArg value, std::int64_t wait) const {
    return detail::stored_in<T>(*handle_, value,
                                [&](const detail::Item& item) { return detail::queue_put(*handle_, item, wait); });
  }
  template <typename Values>
  size_type put_all(const Values& values, std::int64_t wait) const;
  std::optional<T> get_within(std::int64_t wait) const { return detail::take_value<T>(*handle_, wait); }
  std::vector<T> get_all(size_type most, std::int64_t wait) const;
  T or_empty(std::optional<T> value) const {
    if (!value) detail::throw_nothing_to_get(*handle_);
    return *std::move(value);
  }

  detail::ObjectHandle handle_;
};

template <typename T>
using Queue = BasicQueue<T, detail::QueueOrder::kFifo, false>;
// As in Python's manager: every queue can be joined.
template <typename T>
using JoinableQueue = Queue<T>;
// Last in, first out.
template <typename T>
using LifoQueue = BasicQueue<T, detail::QueueOrder::kLifo, false>;
// Without tasks.
template <typename T>
using SimpleQueue = BasicQueue<T, detail::QueueOrder::kFifo, true>;

}  // namespace commonhold

#include <commonhold/detail/queue_inline.h>
