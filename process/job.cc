#include "process/job.h"

#include <commonhold/errors.h>

#include <algorithm>
#include <utility>

namespace commonhold::detail {

Job::Job(JobPlan plan, std::size_t chunks)
    : results_(chunks),
      arrived_(chunks),
      chunks_(chunks),
      left_(chunks),
      kept_(std::move(plan.kept)),
      belongings_(std::move(plan.belongings)),
      results_name_(chunks),
      // NOLINTNEXTLINE(bugprone-throw-keyword-missing): kept until the results are asked for
      input_error_(std::move(plan.input_error)),
      when_done_(std::move(plan.when_done)) {}

bool Job::put(std::size_t chunk, Outcome outcome) {
  std::scoped_lock guard(mutex_);
  if (chunk >= chunks_ || arrived_[chunk]) return false;
  arrived_[chunk] = true;
  order_.push_back(chunk);
  if (outcome.ok()) {
    results_[chunk] = std::move(outcome.bytes);
    results_name_[chunk] = std::move(outcome.belongings);
  } else {
    failures_.emplace_back(chunk, std::move(outcome));
  }
  changed_.notify_all();
  return --left_ == 0;
}

void Job::finish() {
  if (when_done_) when_done_(*this);
  Belongings belongings;  // end without the mutex
  std::scoped_lock guard(mutex_);
  std::swap(belongings, belongings_);
  when_done_ = nullptr;
  kept_ = nullptr;
  done_ = true;
  changed_.notify_all();
}

template <typename Ready>
bool Job::wait_until(std::unique_lock<std::mutex>& guard, std::int64_t wait, Ready ready) const {
  if (wait == kForever) {
    changed_.wait(guard, ready);
    return true;
  }
  return changed_.wait_until(guard, std::chrono::steady_clock::now() + std::chrono::nanoseconds(wait), ready);
}

bool Job::wait(std::int64_t wait) const {
  std::unique_lock guard(mutex_);
  return wait_until(guard, wait, [this] { return done_; });
}

bool Job::succeeded() const {
  std::scoped_lock guard(mutex_);
  return failures_.empty();
}

std::exception_ptr Job::error() const {
  std::scoped_lock guard(mutex_);
  return failures_.empty() ? nullptr : failures_.front().second.exception();
}

const std::vector<std::string>& Job::results() const {
  if (const std::exception_ptr thrown = error()) std::rethrow_exception(thrown);
  return results_;
}

std::optional<std::string> Job::next(std::size_t place, bool any_order, std::int64_t wait, bool& failed) {
  Belongings given;  // ends without the mutex
  std::unique_lock guard(mutex_);
  if (place == chunks_ && input_error_ != nullptr) {
    failed = true;
    std::rethrow_exception(input_error_);
  }
  if (place >= chunks_) return std::nullopt;
  const auto is_there = [&] { return any_order ? order_.size() > place : arrived_[place]; };
  if (!wait_until(guard, wait, is_there)) throw TimeoutError("the next result was not there in time; it still comes");
  const std::size_t chunk = any_order ? order_[place] : place;
  const auto failure =
      std::find_if(failures_.begin(), failures_.end(), [chunk](const auto& one) { return one.first == chunk; });
  if (failure != failures_.end()) {
    failed = true;
    std::rethrow_exception(failure->second.exception());
  }
  given = std::exchange(given_name_, std::move(results_name_[chunk]));
  return std::move(results_[chunk]);  // given once
}

bool job_wait(const Job& job, std::int64_t wait) {
  return job.wait(wait);
}
bool job_succeeded(const Job& job) {
  return job.succeeded();
}
const std::vector<std::string>& job_results(const Job& job) {
  return job.results();
}
std::exception_ptr job_error(const Job& job) {
  return job.error();
}
std::optional<std::string> job_next(Job& job, std::size_t place, bool any_order, std::int64_t wait, bool& failed) {
  return job.next(place, any_order, wait, failed);
}

}  // namespace commonhold::detail
