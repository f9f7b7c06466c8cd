// Results of a pool's tasks as they come.
//
//   std::vector<AsyncResult<Page>> pages;
//   for (const std::string& url : urls) pages.push_back(pool.apply_async(fetch, url));
//   for (const auto& page : as_completed(pages)) show(page.get());
//
//   switch (wait_any(quick, thorough)) {  // which was ready first: 0 or 1
//     ...
//   }
//
// Thread safety: an iteration is for one thread at a time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

#include <commonhold/async_result.h>

namespace commonhold {

namespace detail {

template <typename T>
inline constexpr bool kIsResult = false;
template <typename R, bool kMany>
inline constexpr bool kIsResult<AsyncResult<R, kMany>> = true;

template <typename Results>
concept ResultRange = std::ranges::input_range<Results> && kIsResult<std::ranges::range_value_t<Results>>;

template <typename Results>
std::vector<std::shared_ptr<Job>> jobs_of(Results& results) {
  std::vector<std::shared_ptr<Job>> jobs;
  for (const auto& result : results) jobs.push_back(JobAccess::job(result));
  return jobs;
}

template <typename Results>
auto vector_of(Results& results) {
  std::vector<std::ranges::range_value_t<Results>> all;
  for (const auto& result : results) all.push_back(result);
  return all;
}

}  // namespace detail

// The results, each once, in the order in which they are ready. What is ready already comes first.
template <typename Result>
class Completed {
 public:
  Completed(std::vector<Result> results, std::int64_t wait)
      : results_(std::move(results)),
        completions_(detail::completions_of(detail::jobs_of(results_))),
        wait_(wait),
        begin_(std::chrono::steady_clock::now()) {}

  // Nothing after the last one. TimeoutError when the time for all is over.
  std::optional<Result> next() {
    if (given_ == results_.size()) return std::nullopt;
    std::int64_t left = wait_;
    if (wait_ != detail::kForever) {
      left =
          std::max<std::int64_t>(0, wait_ - (std::chrono::steady_clock::now() - begin_) / std::chrono::nanoseconds(1));
    }
    const std::optional<std::size_t> place = detail::next_completion(*completions_, left);
    if (!place) throw TimeoutError("not all results were ready in time; they still come");
    ++given_;
    return results_[*place];
  }

  using Cursor = detail::NextCursor<Completed, Result>;
  Cursor begin() { return Cursor(this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  std::vector<Result> results_;
  std::shared_ptr<detail::Completions> completions_;
  std::int64_t wait_;
  std::chrono::steady_clock::time_point begin_;
  std::size_t given_ = 0;
};

template <detail::ResultRange Results>
auto as_completed(Results&& results) {
  return Completed(detail::vector_of(results), detail::kForever);
}
template <typename R, bool kMany>
auto as_completed(std::initializer_list<AsyncResult<R, kMany>> results) {
  return Completed(detail::vector_of(results), detail::kForever);
}
// `timeout` from now on, for all of them.
template <detail::ResultRange Results, typename Rep, typename Period>
auto as_completed(Results&& results, const std::chrono::duration<Rep, Period>& timeout) {
  return Completed(detail::vector_of(results), detail::to_wait(timeout));
}

// The place of one that is ready, the first that was. ValueError for no results.
template <detail::ResultRange Results>
std::size_t wait_any(Results&& results) {
  const std::vector<std::shared_ptr<detail::Job>> jobs = detail::jobs_of(results);
  if (jobs.empty()) throw ValueError("wait_any() of no results");
  return *detail::next_completion(*detail::completions_of(jobs), detail::kForever);
}
template <typename... R, bool... kMany>
requires(sizeof...(R) != 0) std::size_t wait_any(const AsyncResult<R, kMany>&... results) {
  return *detail::next_completion(*detail::completions_of({detail::JobAccess::job(results)...}), detail::kForever);
}
// Nothing: none was ready in time.
template <detail::ResultRange Results, typename Rep, typename Period>
std::optional<std::size_t> wait_any_for(Results&& results, const std::chrono::duration<Rep, Period>& timeout) {
  return detail::next_completion(*detail::completions_of(detail::jobs_of(results)), detail::to_wait(timeout));
}

}  // namespace commonhold
