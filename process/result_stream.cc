#include "process/result_stream.h"

#include <commonhold/errors.h>

#include <utility>

#include "process/pool_core.h"

namespace commonhold::detail {

ResultStream::ResultStream(const std::shared_ptr<PoolCore>& pool, OpenStreams open, DrawTask draw, std::size_t ahead,
                           bool any_order)
    : pool_(pool),
      open_(std::move(open)),
      draw_(std::move(draw)),
      ahead_(ahead),
      any_order_(any_order),
      completions_(std::make_shared<Completions>()) {
  ++*open_;
}

ResultStream::~ResultStream() {
  let_pool_end();
}

// A closed pool waits for it.
void ResultStream::let_pool_end() {
  if (!std::exchange(holds_pool_, false)) return;
  --*open_;
  if (const auto pool = pool_.lock()) pool->look_around();
}

// An error of the source comes after the tasks before it.
void ResultStream::draw(std::size_t most) {
  while (may_draw_ && drawn_.size() < most) {
    JobPlan plan;
    try {
      may_draw_ = draw_(plan);
      if (may_draw_) drawn_.push_back(std::move(plan));
    } catch (...) {
      input_error_ = std::current_exception();
      may_draw_ = false;
    }
  }
}

void ResultStream::submit_drawn() {
  try {
    const auto pool = pool_.lock();
    if (pool == nullptr) throw PoolTerminated("the pool was terminated before all items were drawn");
    for (const auto& job : pool->submit(drawn_, true)) {
      jobs_.emplace(++last_number_, job);
      if (any_order_) job->tell(completions_, last_number_);
    }
  } catch (const PoolTerminated&) {
    if (may_draw_ || !drawn_.empty()) input_error_ = std::current_exception();
    may_draw_ = false;
  }
  drawn_.clear();
  if (!may_draw_) let_pool_end();
}

void ResultStream::begin() {
  std::scoped_lock guard(mutex_);
  if (const auto pool = pool_.lock()) (void)pool->submit(drawn_, false);  // of nothing: Closed, unless it runs
  draw(ahead_);
  submit_drawn();
}

bool ResultStream::draw_some() {
  std::scoped_lock guard(mutex_);
  if (!may_draw_) return false;
  draw(ahead_);
  submit_drawn();
  return may_draw_;
}

// More are drawn when half of those ahead are left, so that tasks are handed out several at a time.
std::optional<std::string> ResultStream::next(std::int64_t wait) {
  std::shared_ptr<Job> job, before;
  {
    std::scoped_lock guard(mutex_);
    before = std::move(given_);
    if (may_draw_ && jobs_.size() <= ahead_ / 2) {
      draw(ahead_ - jobs_.size());
      submit_drawn();
    }
    if (jobs_.empty()) {
      if (input_error_ == nullptr) return std::nullopt;
      std::rethrow_exception(std::exchange(input_error_, nullptr));
    }
    job = jobs_.begin()->second;
  }
  std::optional<std::size_t> number;
  if (any_order_) {
    number = completions_->next(wait);
  } else if (job->wait(wait)) {
    number = 0;
  }
  if (!number) throw TimeoutError("the next result was not there in time; it still comes");
  std::scoped_lock guard(mutex_);
  const auto at = any_order_ ? jobs_.find(*number) : jobs_.begin();
  given_ = at->second;
  jobs_.erase(at);
  return given_->take_result();
}

std::shared_ptr<ResultStream> open_stream(const std::shared_ptr<PoolCore>& pool, DrawTask draw, std::size_t ahead,
                                          bool any_order) {
  return pool->open_stream(std::move(draw), ahead, any_order);
}

std::optional<std::string> stream_next(ResultStream& stream, std::int64_t wait) {
  return stream.next(wait);
}

}  // namespace commonhold::detail
