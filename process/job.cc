#include "process/job.h"

#include <commonhold/errors.h>
#include <errno.h>
#include <sys/eventfd.h>

#include <atomic>
#include <utility>

#include "process/timed_wait.h"
#include "process/wire.h"

namespace commonhold::detail {

namespace {

std::atomic<std::uint64_t> jobs_done{0};

}  // namespace

Job::Job(JobPlan plan, std::size_t chunks)
    : results_(chunks),
      arrived_(chunks),
      chunks_(chunks),
      left_(chunks),
      kept_(std::move(plan.kept)),
      belongings_(std::move(plan.belongings)),
      results_name_(chunks),
      when_done_(std::move(plan.when_done)) {}

Job::~Job() {
  if (event_ >= 0) close_kept(event_, event_identity_);
}

bool Job::put(std::size_t chunk, Outcome outcome) {
  std::scoped_lock guard(mutex_);
  if (chunk >= chunks_ || arrived_[chunk]) return false;
  arrived_[chunk] = true;
  if (outcome.ok()) {
    results_[chunk] = std::move(outcome.bytes);
    results_name_[chunk] = std::move(outcome.belongings);
  } else {
    failures_.emplace_back(chunk, std::move(outcome));
  }
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
  done_as_ = ++jobs_done;
  changed_.notify_all();
  for (const Told& one : told_) {
    if (const auto completions = one.completions.lock()) completions->put(one.number);
  }
  told_.clear();
  if (event_ >= 0 && still_is(event_, event_identity_)) eventfd_write(event_, 1);
}

bool Job::wait(std::int64_t wait) const {
  std::unique_lock guard(mutex_);
  return wait_until(changed_, guard, wait, [this] { return done_; });
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

std::string Job::take_result() {
  if (const std::exception_ptr thrown = error()) std::rethrow_exception(thrown);
  return std::move(results_.at(0));
}

void Job::tell(const std::shared_ptr<Completions>& completions, std::size_t number) {
  std::scoped_lock guard(mutex_);
  if (done_) return completions->put(number);
  std::erase_if(told_, [](const Told& one) { return one.completions.expired(); });
  told_.push_back({completions, number});
}

std::uint64_t Job::done_as() const {
  std::scoped_lock guard(mutex_);
  return done_as_;
}

int Job::descriptor() {
  std::scoped_lock guard(mutex_);
  if (event_ < 0) {
    event_ = eventfd(0, EFD_CLOEXEC);
    if (event_ < 0) throw_wire_error("making a result's descriptor", errno);
    event_identity_ = identity_of(event_);
    if (done_) eventfd_write(event_, 1);
  } else if (!still_is(event_, event_identity_)) {
    throw Closed("fileno() of a result whose descriptor was closed behind its back");
  }
  return event_;
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
int job_descriptor(Job& job) {
  return job.descriptor();
}

}  // namespace commonhold::detail
