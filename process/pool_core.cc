#include "process/pool_core.h"

#include <commonhold/detail/quiet_threads.h>
#include <errno.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <system_error>

#include "process/child.h"
#include "process/wire.h"

namespace commonhold::detail {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kBatch = 4096;
constexpr auto kTerminateTimeout = 1s;  // from SIGTERM to SIGKILL
constexpr auto kResultsTimeout = 1s;    // of one look for results
constexpr int kPoolPriority = 15;

std::size_t size_for(const PoolOptions& options) {
  const int count = options.processes.value_or(usable_cpu_count());
  if (count < 1) throw ValueError(fmt::format("a pool of {} processes; at least 1 is needed", count));
  if (options.max_tasks_per_child.value_or(1) < 1) {
    throw ValueError(fmt::format("max_tasks_per_child is {}; at least 1 is needed", *options.max_tasks_per_child));
  }
  if (options.retries < 0) throw ValueError(fmt::format("a pool with {} retries", options.retries));
  if (options.fresh) require_fresh_workers(options.initializer);
  return static_cast<std::size_t>(count);
}

}  // namespace

PoolCore::PoolCore(PoolOptions options)
    : made_by_(getpid()),
      options_(std::move(options)),
      size_(size_for(options_)),
      manager_(options_.manager ? *options_.manager : Manager()),
      results_(manager_.queue<std::string>()) {
  Descriptor epoll(epoll_create1(EPOLL_CLOEXEC)), stop(eventfd(0, EFD_CLOEXEC));
  if (epoll.fd < 0 || stop.fd < 0) throw_wire_error("making a pool", errno);
  epoll_ = epoll.fd;
  stop_watching_ = stop.fd;
  epoll_identity_ = identity_of(epoll_);
  stop_identity_ = identity_of(stop_watching_);
  epoll_event event{};
  event.events = EPOLLIN;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, stop_watching_, &event) != 0) throw_wire_error("making a pool", errno);

  const BlockedSignals blocked;
  signals_ = blocked.before();
  workers_.reserve(size_);
  // When one cannot be started, those before it end with their Process: they are daemons.
  for (std::size_t i = 0; i < size_; ++i) {
    workers_.emplace_back(manager_.queue<std::string>(), manager_.value<std::uint64_t>(0));
    start_worker(workers_.back());
  }
  try {
    watcher_ = std::thread([this] { watch(); });
    collector_ = std::thread([this] { collect(); });
  } catch (const std::system_error& refusal) {
    if (watcher_.joinable()) {
      if (still_is(stop_watching_, stop_identity_)) eventfd_write(stop_watching_, 1);
      watcher_.join();
    }
    throw_wire_error("starting a pool's thread", refusal.code().value());
  }
  finalizer_ = OwnProcesses::instance().add_finalizer(kPoolPriority, [this] {
    terminate();
    join();
  });
  epoll.release();
  stop.release();
}

PoolCore::~PoolCore() {
  OwnProcesses::instance().remove_finalizer(finalizer_);
  close_kept(epoll_, epoll_identity_);
  close_kept(stop_watching_, stop_identity_);
}

bool PoolCore::is_mine() const {
  return made_by_ == getpid();
}

// In a forked child the mutex may be held by a thread that is not there.
void PoolCore::require_mine(const char* call) const {
  if (is_mine()) return;
  throw UsageError(fmt::format("{} of a pool of process {}; a forked process needs a pool of its own", call, made_by_));
}

std::vector<int> PoolCore::pids() const {
  require_mine("worker_pids()");
  std::scoped_lock guard(mutex_);
  std::vector<int> pids;
  for (const Worker& worker : workers_) {
    if (worker.alive) pids.push_back(*worker.process->pid());
  }
  return pids;
}

// ---- the threads

PoolCore::Worker* PoolCore::worker_of(std::uint64_t serial) {
  const auto found =
      std::find_if(workers_.begin(), workers_.end(), [&](const Worker& one) { return one.serial == serial; });
  return found == workers_.end() ? nullptr : &*found;
}

// What a message's results name, which goes off it. What is gone is found out by whoever reads them.
Belongings PoolCore::take_belongings(std::string& message) {
  Belongings belongings;
  const auto head = head_of<ResultHead>(message);
  if (head.sent == 0 || head.sent > message.size() - sizeof head) return belongings;
  const std::string names = message.substr(message.size() - head.sent);
  message.resize(message.size() - head.sent);
  for (TaskReader in(names); !in.rest().empty();) {
    const std::string_view name = in.sized();
    if (is_ticket(name)) {
      belongings.offers.push_back(offers_->keep({head.worker, std::string(name)}));
      continue;
    }
    try {
      belongings.objects.push_back(attach_token(name, {}));
    } catch (const Error&) {
    }
  }
  return belongings;
}

void PoolCore::take(const std::string& message, Belongings belongings, Finished& finished) {
  const auto head = head_of<ResultHead>(message);
  Worker* worker = worker_of(head.worker);
  const std::string_view rest = std::string_view(message).substr(sizeof head);
  Outcome outcome;
  switch (head.kind) {
    case ResultKind::kReady:
      early_deaths_ = 0;
      if (worker != nullptr) worker->ready = true;
      return;
    case ResultKind::kInitFailed:
      outcome.failure = TaskFailure::from(rest);
      return break_down(std::move(outcome), finished);
    case ResultKind::kBegun:
      return add_deadline(head);
    case ResultKind::kDone:
      outcome.bytes = rest;
      outcome.belongings = std::move(belongings);
      break;
    case ResultKind::kFailed:
      outcome.failure = TaskFailure::from(rest);
      break;
    case ResultKind::kDied:
      if (worker != nullptr && worker->alive) worker_died(*worker, finished);
      return;
    case ResultKind::kWake:
      return;
  }
  if (worker != nullptr) {
    ++worker->finished;
    const auto at = std::find(worker->assigned.begin(), worker->assigned.end(), head.id);
    if (at != worker->assigned.end()) worker->assigned.erase(at);
  }
  end_task(head.id, std::move(outcome), finished);
}

// Whether nothing is left to do; tells the workers of a closed pool to end.
bool PoolCore::has_ended() {
  if (state_ == State::kRunning) return false;
  if (state_ == State::kClosed && (!tasks_.empty() || *open_streams_ != 0)) return false;
  bool alive = false;
  for (Worker& worker : workers_) {
    if (!worker.alive) continue;
    alive = true;
    if (state_ == State::kTerminated) {
      if (Clock::now() > terminated_at_ + kTerminateTimeout) worker.process->kill();
    } else if (!worker.told_to_stop) {
      worker.told_to_stop = tell_to_stop(worker);
    }
  }
  ended_ = !alive;
  return ended_;
}

void PoolCore::collect() {
  for (bool ended = false; !ended;) {
    Finished finished;
    std::vector<std::string> messages;
    std::vector<Belongings> belongings;  // of each message, up to one that is damaged
    bool sound = true;
    std::chrono::nanoseconds timeout = kResultsTimeout;
    {
      std::scoped_lock guard(mutex_);
      timeout = std::min(timeout, std::chrono::nanoseconds(next_look()));
    }
    try {
      messages = results_.get_many(kBatch, timeout);
      belongings.reserve(messages.size());
      for (std::string& message : messages) belongings.push_back(take_belongings(message));
    } catch (const Error&) {
      sound = false;
    }
    {
      std::scoped_lock guard(mutex_);
      try {
        for (std::size_t i = 0; i < belongings.size(); ++i) take(messages[i], std::move(belongings[i]), finished);
      } catch (const Error&) {
        sound = false;
      }
      if (!sound) {
        // Its memory is corrupt or gone: nothing will ever come of any task.
        Outcome outcome;
        outcome.error = std::make_exception_ptr(TaskError("the pool's queue of results cannot be read any more"));
        break_down(std::move(outcome), finished);
        for (Worker& worker : workers_) {
          if (worker.alive && worker.process->join_for(0s)) worker.alive = false;
        }
      }
      end_overdue_tasks(finished);
      end_all_doomed();
      start_missing_workers();
      forget_dropped_offers();
      dispatch(finished);
      balance(finished);
      ended = has_ended();
    }
    finish(finished);
    if (!sound) std::this_thread::sleep_for(10ms);
  }
  if (still_is(stop_watching_, stop_identity_)) eventfd_write(stop_watching_, 1);
}

void PoolCore::watch() {
  for (;;) {
    epoll_event events[64];
    const int count = epoll_wait(epoll_, events, 64, -1);
    for (int i = 0; i < count; ++i) {
      const std::uint64_t serial = events[i].data.u64;
      if (serial == 0) return;
      for (bool told = false; !told;) {
        try {
          results_.put(message_of({serial, 0, ResultKind::kDied}));
          told = true;
        } catch (const OutOfMemory&) {
          std::this_thread::sleep_for(10ms);
        } catch (const Error&) {
          told = true;  // the collector sees for itself
        }
      }
    }
  }
}

void PoolCore::wake() {
  try {
    (void)results_.try_put(message_of({0, 0, ResultKind::kWake}));
  } catch (const Error&) {
    // As when somebody holds the queue: the collector comes by every second.
  }
}

void PoolCore::finish(Finished& finished) {
  for (const auto& job : finished) job->finish();
}

// ---- the end

void PoolCore::close() {
  require_mine("close()");
  {
    std::scoped_lock guard(mutex_);
    if (state_ != State::kRunning) return;
    state_ = State::kClosed;
  }
  wake();
}

void PoolCore::terminate() {
  require_mine("terminate()");
  Finished finished;
  {
    std::scoped_lock guard(mutex_);
    if (state_ == State::kTerminated) return;
    state_ = State::kTerminated;
    terminated_at_ = Clock::now();
    Outcome outcome;
    outcome.error = std::make_exception_ptr(PoolTerminated("the pool was terminated before the task had ended"));
    end_all_tasks(outcome, finished);
    for (Worker& worker : workers_) {
      if (worker.alive) worker.process->terminate();
    }
  }
  finish(finished);
  wake();
}

void PoolCore::join() {
  require_mine("join()");
  std::vector<std::weak_ptr<ResultStream>> streams;
  {
    std::scoped_lock guard(mutex_);
    if (state_ == State::kRunning) throw UsageError("join() of a pool that runs; close() or terminate() it first");
    streams = streams_;
  }
  // One that goes meanwhile draws no more: it is kept for one step only.
  for (const auto& one : streams) {
    for (bool more = true; more;) {
      const auto stream = one.lock();
      more = stream != nullptr && stream->draw_some();
    }
  }
  std::scoped_lock guard(join_mutex_);
  if (collector_.joinable()) collector_.join();
  if (watcher_.joinable()) watcher_.join();
}

std::shared_ptr<Job> submit(PoolCore& pool, JobPlan plan) {
  std::vector<JobPlan> plans;
  plans.push_back(std::move(plan));
  return pool.submit(plans).front();
}

std::size_t worker_count(const PoolCore& pool) {
  return pool.size();
}

}  // namespace commonhold::detail
