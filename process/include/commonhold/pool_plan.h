// What is asked of a task beside its result.
//
//   pool.apply_async(then([](int n) { ... }, [](std::exception_ptr error) { ... }), square, 7);
//   pool.map_async(then([](const std::vector<int>& all) { ... }).retried(3), square, numbers);
//   pool.apply_async(retried(3), square, 7);
//   pool.apply_async(limited(2s), render, page).get();       // TaskTimeout when it runs for longer
//
// Exactly one of the two callbacks is called, in the calling program, in a thread of the pool's or in that of who cancels
// the task or terminates the pool, before the result is ready. What a callback throws is printed on standard error and
// changes nothing. A callback must not wait for a result of the same pool.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <commonhold/detail/lock_calls.h>

namespace commonhold {

struct NoCallback {};

template <typename OnValue = NoCallback, typename OnError = NoCallback>
class Plan {
 public:
  explicit Plan(OnValue value_callback = {}, OnError error_callback = {})
      : on_value(std::make_shared<OnValue>(std::move(value_callback))),
        on_error(std::make_shared<OnError>(std::move(error_callback))) {}
  // The task may be run `times` times more when its worker dies.
  Plan retried(int times) && {
    retries = times;
    return std::move(*this);
  }

  // A task, or a chunk of many, may run for so long; its worker is killed then, and another one takes its place.
  // ValueError for no time at all.
  template <typename Rep, typename Period>
  Plan limited(const std::chrono::duration<Rep, Period>& time) && {
    limit = detail::to_wait(time);
    return std::move(*this);
  }

  // What is submitted with one plan shares them.
  std::shared_ptr<OnValue> on_value;
  std::shared_ptr<OnError> on_error;
  std::optional<int> retries;
  std::optional<std::int64_t> limit;  // ns
};

template <typename OnValue, typename OnError = NoCallback>
Plan<std::decay_t<OnValue>, std::decay_t<OnError>> then(OnValue&& on_value, OnError&& on_error = {}) {
  return Plan<std::decay_t<OnValue>, std::decay_t<OnError>>(std::forward<OnValue>(on_value),
                                                            std::forward<OnError>(on_error));
}
inline Plan<> retried(int times) {
  return Plan<>().retried(times);
}

template <typename Rep, typename Period>
Plan<> limited(const std::chrono::duration<Rep, Period>& time) {
  return Plan<>().limited(time);
}

template <typename T>
inline constexpr bool kIsPlan = false;
template <typename V, typename E>
inline constexpr bool kIsPlan<Plan<V, E>> = true;
template <typename T>
concept IsPlan = kIsPlan<T>;

}  // namespace commonhold
