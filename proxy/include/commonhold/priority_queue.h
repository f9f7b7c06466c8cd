// PriorityQueue<T, P>: the item with the lowest priority comes out first; of equal ones the one put first.
//
//   auto jobs = manager.priority_queue<std::string>();
//   jobs.put(5, "sweep");
//   jobs.put(1, "fire!");
//   auto [priority, job] = jobs.get();                     // 1, "fire!"
//
// P is a number. Everything else as Queue: limits, waits, tasks, redelivery (a redelivered item comes before all
// others), the end, and what a death leaves. A put or a take costs some hundred nanoseconds more, by the logarithm of
// the size.
//
// Thread safety: any thread of any process.
#pragma once

#include <bit>
#include <concepts>
#include <limits>

#include <commonhold/queue.h>

namespace commonhold {

namespace detail {

template <typename P>
concept Priority = std::is_arithmetic_v<P> && !std::is_same_v<P, bool> && sizeof(P) <= 8;

// A word that is less when the priority is less.
template <Priority P>
constexpr Word ordered_word(P priority) {
  constexpr Word kSign = Word{1} << 63;
  if constexpr (std::is_floating_point_v<P>) {
    const auto bits = std::bit_cast<Word>(static_cast<double>(priority) + 0.0);  // -0.0 is 0.0
    return (bits & kSign) != 0 ? ~bits : bits | kSign;
  } else if constexpr (std::is_signed_v<P>) {
    return static_cast<Word>(static_cast<std::int64_t>(priority)) ^ kSign;
  } else {
    return priority;
  }
}
template <Priority P>
constexpr P priority_of(Word word) {
  constexpr Word kSign = Word{1} << 63;
  if constexpr (std::is_floating_point_v<P>) {
    return static_cast<P>(std::bit_cast<double>((word & kSign) != 0 ? word ^ kSign : ~word));
  } else if constexpr (std::is_signed_v<P>) {
    return static_cast<P>(static_cast<std::int64_t>(word ^ kSign));
  } else {
    return static_cast<P>(word);
  }
}

}  // namespace detail

template <typename T, detail::Priority P = std::int64_t>
class PriorityQueue {
  static_assert(sizeof(detail::RequireStorable<T>) != 0);

 public:
  struct Entry {
    P priority;
    T value;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  using value_type = Entry;
  using size_type = std::size_t;
  using ValueArg = detail::Argument<T>;

  void put(P priority, ValueArg value) const { (void)put_within(priority, value, detail::kForever); }
  template <typename Rep, typename Period>
  void put(P priority, ValueArg value, const std::chrono::duration<Rep, Period>& timeout) const {
    if (!put_within(priority, value, detail::to_wait(timeout))) detail::throw_full(*handle_);
  }
  void put_nowait(P priority, ValueArg value) const {
    if (!put_within(priority, value, 0)) detail::throw_full(*handle_);
  }
  bool try_put(P priority, ValueArg value) const { return put_within(priority, value, 0); }
  template <typename Rep, typename Period>
  bool try_put_for(P priority, ValueArg value, const std::chrono::duration<Rep, Period>& timeout) const {
    return put_within(priority, value, detail::to_wait(timeout));
  }
  template <typename Clock, typename Duration>
  bool try_put_until(P priority, ValueArg value, const std::chrono::time_point<Clock, Duration>& when) const {
    return put_within(priority, value, detail::to_wait(when));
  }

  Entry get() const { return *get_within(detail::kForever); }
  template <typename Rep, typename Period>
  Entry get(const std::chrono::duration<Rep, Period>& timeout) const {
    return or_empty(get_within(detail::to_wait(timeout)));
  }
  Entry get_nowait() const { return or_empty(get_within(0)); }
  std::optional<Entry> try_get() const { return get_within(0); }
  template <typename Rep, typename Period>
  std::optional<Entry> try_get_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return get_within(detail::to_wait(timeout));
  }
  template <typename Clock, typename Duration>
  std::optional<Entry> try_get_until(const std::chrono::time_point<Clock, Duration>& when) const {
    return get_within(detail::to_wait(when));
  }

  size_type size() const { return detail::queue_size(*handle_); }
  size_type qsize() const { return size(); }
  bool empty() const { return detail::queue_is_empty(*handle_); }
  bool full() const { return detail::queue_is_full(*handle_); }
  size_type maxsize() const { return detail::queue_limit(*handle_); }

  void task_done() const { detail::queue_task_done(*handle_); }
  void join() const { (void)detail::queue_join(*handle_, detail::kForever); }
  template <typename Rep, typename Period>
  bool join(const std::chrono::duration<Rep, Period>& timeout) const {
    return detail::queue_join(*handle_, detail::to_wait(timeout));
  }
  size_type unfinished() const { return detail::queue_unfinished(*handle_); }

  void close() const { detail::queue_close(*handle_); }
  bool closed() const { return detail::queue_is_closed(*handle_); }
  void shutdown(bool immediate = false) const { detail::queue_shut_down(*handle_, immediate); }

  // As Queue's.
  Watch watch_items() const { return detail::watch(handle_, nullptr, detail::WatchedSide::kItems); }
  Watch watch_room() const { return detail::watch(handle_, nullptr, detail::WatchedSide::kRoom); }
  Watch watch() const { return detail::watch(handle_); }

  // <priority_queue<text,int64> "orders" with 3 items>
  friend std::ostream& operator<<(std::ostream& out, const PriorityQueue& queue) {
    return detail::print_queue(out, *queue.handle_);
  }
  friend bool operator==(const PriorityQueue& a, const PriorityQueue& b) { return a.handle_ == b.handle_; }
  bool same_as(const PriorityQueue& other) const { return *this == other; }
  static constexpr bool kComparedByIdentity = true;  // so std::hash and < are there, too (identity.h)

  std::string name() const { return detail::name_of(*handle_); }
  std::string token() const { return detail::token_of(*handle_); }
  QueueOptions options() const { return detail::queue_options(*handle_); }
  static detail::ObjectRequest request(const QueueOptions& options) { return detail::with_options(request(), options); }
  static detail::ObjectRequest request() {
    return {detail::ObjectKind::kPriorityQueue,
            detail::fitted_signature(
                detail::joined({"priority_queue<", detail::type_name<T>(), ",", detail::type_name<P>(), ">"})),
            {0, 0, static_cast<std::uint64_t>(detail::QueueOrder::kPriority)}};
  }

 private:
  friend struct detail::Access;
  explicit PriorityQueue(detail::ObjectHandle handle) : handle_(std::move(handle)) {}

  bool put_within(P priority, ValueArg value, std::int64_t wait) const {
    return detail::stored_in<T>(*handle_, value, [&](const detail::Item& item) {
      return detail::queue_put(*handle_, item, wait, detail::ordered_word(priority));
    });
  }
  std::optional<Entry> get_within(std::int64_t wait) const {
    detail::Word priority = 0;
    auto value = detail::take_value<T>(*handle_, wait, &priority);
    if (!value) return std::nullopt;
    return Entry{detail::priority_of<P>(priority), *std::move(value)};
  }
  Entry or_empty(std::optional<Entry> entry) const {
    if (!entry) detail::throw_nothing_to_get(*handle_);
    return *std::move(entry);
  }

  detail::ObjectHandle handle_;
};

}  // namespace commonhold
