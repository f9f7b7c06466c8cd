// AsyncResult: what a pool's task will have given. ResultIterator: many of them, one after the other.
//
// Thread safety: any thread; copies of an AsyncResult mean the same result. They stay usable when the pool is gone.
#pragma once

#include <chrono>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <commonhold/detail/pool_calls.h>
#include <commonhold/detail/present.h>
#include <commonhold/errors.h>

namespace commonhold {

namespace detail {

template <typename T>
inline constexpr bool kIsVector = false;
template <typename T>
inline constexpr bool kIsVector<std::vector<T>> = true;

// The results of one chunk, appended.
template <typename R>
void read_results(std::string_view bytes, std::vector<R>& to) {
  if constexpr (kCarriedAsIs<R> && std::is_default_constructible_v<R> && !std::is_same_v<R, bool>) {
    if (bytes.size() % sizeof(R) != 0) refuse_size(bytes.size(), sizeof(R));
    const std::size_t before = to.size();
    to.resize(before + bytes.size() / sizeof(R));
    if (!bytes.empty()) std::memcpy(static_cast<void*>(to.data() + before), bytes.data(), bytes.size());
  } else {
    for (TaskReader in(bytes); !in.rest().empty();) to.push_back(in.value<R>());
  }
}

// A job's value: of one task, or of all chunks of a map.
template <typename R, bool kMany>
R value_of(const Job& job) {
  const std::vector<std::string>& results = job_results(job);
  if constexpr (std::is_void_v<R>) {
    return;
  } else if constexpr (kMany) {
    R all;
    if constexpr (kCarriedAsIs<typename R::value_type>) {
      std::size_t bytes = 0;
      for (const std::string& chunk : results) bytes += chunk.size();
      all.reserve(bytes / sizeof(typename R::value_type));
    }
    for (const std::string& chunk : results) read_results(chunk, all);
    return all;
  } else {
    TaskReader in(results.at(0));
    return in.value<R>();
  }
}

struct JobAccess;

// Iterates over what from->next() gives, to its end.
template <typename From, typename T>
class NextCursor {
 public:
  using value_type = T;
  using difference_type = std::ptrdiff_t;
  explicit NextCursor(From* from) : from_(from) { ++*this; }
  const T& operator*() const { return *current_; }
  NextCursor& operator++() {
    current_ = from_->next();
    return *this;
  }
  void operator++(int) { ++*this; }
  bool operator==(std::default_sentinel_t) const { return !current_; }

 private:
  From* from_;
  std::optional<T> current_;
};

}  // namespace detail

template <typename R, bool kMany = false>
class AsyncResult {
 public:
  explicit AsyncResult(std::shared_ptr<detail::Job> job) : job_(std::move(job)) {}

  // Once it is ready, its callback has returned.
  bool ready() const { return detail::job_wait(job(), 0); }
  void wait() const { detail::job_wait(job(), detail::kForever); }
  template <typename Rep, typename Period>
  bool wait_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return detail::job_wait(job(), detail::to_wait(timeout));
  }
  // ValueError while it is not ready.
  bool successful() const {
    if (!ready()) throw ValueError("successful() of a result that is not ready; wait() for it first");
    return detail::job_succeeded(job());
  }
  // The value (a connection or descriptor: the first time), or throws what the task threw, each time. WorkerDied,
  // PoolTerminated, TaskCancelled, TaskTimeout.
  R get() const {
    wait();
    return detail::value_of<R, kMany>(job());
  }
  // TimeoutError when it is not ready in time.
  template <typename Rep, typename Period>
  R get(const std::chrono::duration<Rep, Period>& timeout) const {
    if (!wait_for(timeout)) throw TimeoutError("the task's result was not ready in time; it still comes");
    return detail::value_of<R, kMany>(job());
  }

  // Ends the task with TaskCancelled, at once. One that waits is never begun; one that runs is ended with its worker, which
  // is killed, and another one takes its place: other tasks do not notice. Of many tasks, those that have not ended. The
  // error callback is called by the calling thread. False: it was ready before.
  bool cancel() const {
    static_cast<void>(job());
    return detail::job_cancel(job_);
  }
  // A descriptor that poll, epoll and wait() find readable once the result is ready; it stays this result's.
  int fileno() const { return detail::job_descriptor(job()); }

 private:
  friend struct detail::JobAccess;
  // UsageError for one that was moved from.
  detail::Job& job() const { return detail::present(job_, "an AsyncResult"); }
  std::shared_ptr<detail::Job> job_;
};

namespace detail {
struct JobAccess {
  template <typename R, bool kMany>
  static const std::shared_ptr<Job>& job(const AsyncResult<R, kMany>& result) {
    static_cast<void>(result.job());
    return result.job_;
  }
};
}  // namespace detail

template <typename R>
using MapResult = AsyncResult<
    std::conditional_t<std::is_void_v<R>, void, std::vector<std::conditional_t<std::is_void_v<R>, char, R>>>, true>;

// The results of Pool::imap. Throws at the place of a failed chunk, and goes on with the next one. Each call draws more
// items, in the calling thread; when it goes, no more are drawn, and what was begun is finished.
//
// Thread safety: one thread at a time.
template <typename R>
class ResultIterator {
 public:
  explicit ResultIterator(std::shared_ptr<detail::ResultStream> stream) : stream_(std::move(stream)) {}

  // Nothing after the last one, each time.
  std::optional<R> next() { return next_within(detail::kForever); }
  // TimeoutError; the result is not lost.
  template <typename Rep, typename Period>
  std::optional<R> next(const std::chrono::duration<Rep, Period>& timeout) {
    return next_within(detail::to_wait(timeout));
  }

  // For `for (auto& result : pool.imap(...))`.
  using Cursor = detail::NextCursor<ResultIterator, R>;
  Cursor begin() { return Cursor(this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  std::optional<R> next_within(std::int64_t wait) {
    while (at_ == buffer_.size()) {
      const std::optional<std::string> bytes = detail::stream_next(detail::present(stream_, "a ResultIterator"), wait);
      if (!bytes) return std::nullopt;
      buffer_.clear();
      at_ = 0;
      detail::read_results(*bytes, buffer_);
    }
    return std::move(buffer_[at_++]);
  }

  std::shared_ptr<detail::ResultStream> stream_;
  std::size_t at_ = 0;
  std::vector<R> buffer_;
};

}  // namespace commonhold
