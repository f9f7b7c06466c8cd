#include "process/pool_core.h"

#include <errno.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "process/child.h"
#include "process/wire.h"

namespace commonhold::detail {

namespace {

using namespace std::chrono_literals;

// Tasks that a worker has at once, so that it need not wait for the pool between short ones. An idle worker gets some
// of a busy one's.
constexpr std::size_t kDepth = 64;
constexpr std::size_t kBatch = 4096;
constexpr auto kPatience = 1s;
// So many workers that die in the initializer, with no success between, are its fault.
constexpr int kMostEarlyDeaths = 10;
constexpr int kPoolPriority = 15;

std::size_t size_for(const PoolOptions& options) {
  const int count = options.processes.value_or(usable_cpu_count());
  if (count < 1) throw ValueError(fmt::format("a pool of {} processes; at least 1 is needed", count));
  if (options.max_tasks_per_child.value_or(1) < 1) {
    throw ValueError(fmt::format("max_tasks_per_child is {}; at least 1 is needed", *options.max_tasks_per_child));
  }
  if (options.retries < 0) throw ValueError(fmt::format("a pool with {} retries", options.retries));
  return static_cast<std::size_t>(count);
}

std::exception_ptr death_of(const WorkerProcess& worker, std::optional<int> code, const char* when) {
  const int pid = worker.pid().value_or(0);
  const int signal = code && *code < 0 ? -*code : 0;
  const int status = code && *code >= 0 ? *code : 0;
  std::string how = signal != 0 ? fmt::format("was killed by signal {} ({})", signal, strsignal(signal))
                    : code      ? fmt::format("ended with status {}", status)
                                : std::string("ended");
  return std::make_exception_ptr(
      WorkerDied(pid, signal, status, fmt::format("worker {} of the pool {} {}", pid, how, when)));
}

class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~AllSignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;
  const sigset_t& before() const { return before_; }

 private:
  sigset_t before_;
};

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
  epoll_event event{};
  event.events = EPOLLIN;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, stop_watching_, &event) != 0) throw_wire_error("making a pool", errno);

  const AllSignalsBlocked blocked;
  signals_ = blocked.before();
  workers_.reserve(size_);
  // When one cannot be started, those before it end with their Process: they are daemons.
  for (std::size_t i = 0; i < size_; ++i) {
    workers_.emplace_back(manager_.queue<std::string>());
    start_worker(workers_.back());
  }
  watcher_ = std::thread([this] { watch(); });
  try {
    collector_ = std::thread([this] { collect(); });
  } catch (...) {
    eventfd_write(stop_watching_, 1);
    watcher_.join();
    throw;
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
  if (epoll_ >= 0) ::close(epoll_);
  if (stop_watching_ >= 0) ::close(stop_watching_);
}

bool PoolCore::is_mine() const {
  return made_by_ == getpid();
}

std::vector<int> PoolCore::pids() const {
  std::scoped_lock guard(mutex_);
  std::vector<int> pids;
  for (const Worker& worker : workers_) {
    if (worker.alive) pids.push_back(*worker.process->pid());
  }
  return pids;
}

// ---- workers

void PoolCore::start_worker(Worker& worker) {
  worker.process.reset();
  worker.serial = ++last_serial_;
  worker.alive = worker.ready = worker.told_to_stop = false;
  worker.finished = 0;
  WorkerPlan plan{worker.serial, options_.initializer,
                  static_cast<std::uint64_t>(options_.max_tasks_per_child.value_or(0)), signals_};
  auto process = std::make_unique<WorkerProcess>(fmt::format("PoolWorker-{}", worker.serial), std::move(plan),
                                                 worker.tasks, results_);
  process->begin();
  epoll_event event{};
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.u64 = worker.serial;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, process->sentinel(), &event) != 0) throw_wire_error("watching a worker", errno);
  worker.process = std::move(process);
  worker.alive = true;
}

void PoolCore::start_missing_workers() {
  const bool needed = state_ == State::kRunning || (state_ == State::kClosed && !tasks_.empty());
  if (!needed || broken_) return;
  for (Worker& worker : workers_) {
    if (worker.alive) continue;
    try {
      start_worker(worker);
    } catch (const Error&) {
      return;  // no room for another process: the collector comes by again
    }
  }
}

void PoolCore::worker_died(Worker& worker, Finished& finished) {
  worker.process->join();
  const std::optional<int> code = worker.process->exitcode();
  worker.alive = false;
  take_back(worker, finished);
  // What it had taken and not ended.
  for (const std::uint64_t id : std::exchange(worker.assigned, {})) {
    const auto found = tasks_.find(id);
    if (found == tasks_.end()) continue;
    if (found->second.retries > 0 && state_ != State::kTerminated) {
      --found->second.retries;
      pending_.push_front(id);
    } else {
      Outcome outcome;
      outcome.error = death_of(*worker.process, code, "while it had the task");
      end_task(id, std::move(outcome), finished);
    }
  }
  if (!worker.ready && options_.initializer && ++early_deaths_ >= kMostEarlyDeaths) {
    Outcome outcome;
    outcome.error = death_of(*worker.process, code, "in the pool's initializer, as others before it");
    break_down(std::move(outcome), finished);
  }
}

// The tasks that it did not take are pending again, in their order.
void PoolCore::take_back(Worker& worker, Finished& finished) {
  std::vector<std::uint64_t> back;
  try {
    while (auto bytes = worker.tasks.try_get()) {
      const auto id = head_of<TaskHead>(*bytes).id;
      const auto found = tasks_.find(id);
      if (found == tasks_.end()) continue;
      found->second.bytes = std::move(*bytes);
      std::erase(worker.assigned, id);
      back.push_back(id);
    }
  } catch (const Error&) {
    Outcome outcome;
    outcome.error = std::current_exception();
    break_down(std::move(outcome), finished);
  }
  pending_.insert(pending_.begin(), back.begin(), back.end());
}

// ---- tasks

std::shared_ptr<Job> PoolCore::submit(JobPlan plan) {
  if (!is_mine()) {
    throw UsageError(
        fmt::format("a task for a pool of process {}; a forked process needs a pool of its own", made_by_));
  }
  std::vector<std::string> given = std::move(plan.tasks);
  const int retries = plan.retries.value_or(options_.retries);
  auto job = std::make_shared<Job>(std::move(plan), given.size());
  Finished finished;
  if (given.empty()) finished.push_back(job);
  {
    std::scoped_lock guard(mutex_);
    if (state_ != State::kRunning) {
      throw Closed(fmt::format("Pool not running: it was {}", state_ == State::kClosed ? "closed" : "terminated"));
    }
    tasks_.reserve(tasks_.size() + given.size());
    for (std::size_t chunk = 0; chunk < given.size(); ++chunk) {
      const std::uint64_t id = ++last_id_;
      memcpy(given[chunk].data() + offsetof(TaskHead, id), &id, sizeof id);
      tasks_.emplace(id, Task{job, chunk, retries, std::move(given[chunk])});
      pending_.push_back(id);
    }
    if (broken_) end_all_tasks(*broken_, finished);
    dispatch(finished);
  }
  finish(finished);
  return job;
}

std::size_t PoolCore::room_of(const Worker& worker) const {
  if (!worker.alive || worker.told_to_stop) return 0;
  std::size_t room = kDepth;
  if (options_.max_tasks_per_child) {
    const auto most = static_cast<std::uint64_t>(*options_.max_tasks_per_child);
    room = std::min<std::size_t>(room, most - std::min(most, worker.finished));
  }
  return room - std::min(room, worker.assigned.size());
}

// Each pending task goes to the worker that has the fewest.
void PoolCore::dispatch(Finished& finished) {
  if (pending_.empty() || state_ == State::kTerminated) return;
  struct Share {
    Worker* worker;
    std::size_t room;
    std::vector<std::uint64_t> ids;
    std::vector<std::string> tasks;
    std::size_t load() const { return worker->assigned.size() + ids.size(); }
  };
  std::vector<Share> shares;
  for (Worker& worker : workers_) {
    if (const std::size_t room = room_of(worker); room != 0) shares.push_back({&worker, room, {}, {}});
  }
  while (!pending_.empty() && !shares.empty()) {
    const auto to = std::min_element(shares.begin(), shares.end(), [](const Share& a, const Share& b) {
      return std::pair(a.ids.size() == a.room, a.load()) < std::pair(b.ids.size() == b.room, b.load());
    });
    if (to->ids.size() == to->room) break;
    const std::uint64_t id = pending_.front();
    pending_.pop_front();
    Task& task = tasks_.at(id);
    to->ids.push_back(id);
    to->tasks.push_back(task.retries > 0 ? task.bytes : std::move(task.bytes));
  }
  for (const Share& share : shares) give(*share.worker, share.ids, share.tasks, finished);
}

void PoolCore::give(Worker& worker, const std::vector<std::uint64_t>& ids, const std::vector<std::string>& tasks,
                    Finished& finished) {
  if (ids.empty()) return;
  try {
    worker.tasks.put_many(tasks);
    worker.assigned.insert(worker.assigned.end(), ids.begin(), ids.end());
  } catch (const Error&) {
    Outcome outcome;
    outcome.error = std::current_exception();
    for (const std::uint64_t id : ids) end_task(id, outcome, finished);
  }
}

// A worker without tasks gets half of those that the busiest one has not begun.
void PoolCore::balance(Finished& finished) {
  if (!pending_.empty() || tasks_.size() < 2) return;
  for (Worker& idle : workers_) {
    if (!idle.assigned.empty() || !idle.ready || room_of(idle) == 0) continue;
    Worker& busy = *std::max_element(workers_.begin(), workers_.end(), [](const Worker& a, const Worker& b) {
      return a.assigned.size() < b.assigned.size();
    });
    const std::size_t wanted = std::min(busy.assigned.size() / 2, room_of(idle));
    std::vector<std::uint64_t> ids;
    std::vector<std::string> tasks;
    try {
      while (ids.size() < wanted) {
        auto bytes = busy.tasks.try_get();
        if (!bytes) break;
        const auto id = head_of<TaskHead>(*bytes).id;
        std::erase(busy.assigned, id);
        if (!tasks_.contains(id)) continue;
        ids.push_back(id);
        tasks.push_back(std::move(*bytes));
      }
    } catch (const Error&) {
      // The queue says so again when its worker is looked after.
    }
    give(idle, ids, tasks, finished);
  }
}

void PoolCore::end_task(std::uint64_t id, Outcome outcome, Finished& finished) {
  const auto found = tasks_.find(id);
  if (found == tasks_.end()) return;
  if (found->second.job->put(found->second.chunk, std::move(outcome))) {
    finished.push_back(std::move(found->second.job));
  }
  tasks_.erase(found);
}

void PoolCore::end_all_tasks(const Outcome& outcome, Finished& finished) {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, task] : tasks_) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  for (const std::uint64_t id : ids) end_task(id, outcome, finished);
  pending_.clear();
}

void PoolCore::break_down(Outcome outcome, Finished& finished) {
  if (!broken_) broken_ = std::move(outcome);
  end_all_tasks(*broken_, finished);
}

// ---- the threads

PoolCore::Worker* PoolCore::worker_of(std::uint64_t serial) {
  const auto found =
      std::find_if(workers_.begin(), workers_.end(), [&](const Worker& one) { return one.serial == serial; });
  return found == workers_.end() ? nullptr : &*found;
}

void PoolCore::take(const std::string& message, Finished& finished) {
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
    case ResultKind::kDone:
      outcome.bytes = rest;
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
  if (state_ == State::kRunning || (state_ == State::kClosed && !tasks_.empty())) return false;
  bool alive = false;
  for (Worker& worker : workers_) {
    if (!worker.alive) continue;
    alive = true;
    if (state_ == State::kTerminated) {
      if (Clock::now() > terminated_at_ + kPatience) worker.process->kill();
    } else if (!worker.told_to_stop) {
      const TaskHead stop{kStop, nullptr};
      worker.told_to_stop = worker.tasks.try_put(std::string(reinterpret_cast<const char*>(&stop), sizeof stop));
    }
  }
  return !alive;
}

void PoolCore::collect() {
  for (bool ended = false; !ended;) {
    Finished finished;
    std::vector<std::string> messages;
    bool sound = true;
    try {
      messages = results_.get_many(kBatch, kPatience);
    } catch (const Error&) {
      sound = false;
    }
    {
      std::scoped_lock guard(mutex_);
      for (const std::string& message : messages) take(message, finished);
      if (!sound) {
        // Its memory is corrupt or gone: nothing will ever come of any task.
        Outcome outcome;
        outcome.error = std::make_exception_ptr(TaskError("the pool's queue of results cannot be read any more"));
        break_down(std::move(outcome), finished);
        for (Worker& worker : workers_) {
          if (worker.alive && worker.process->join_for(0s)) worker.alive = false;
        }
      }
      start_missing_workers();
      dispatch(finished);
      balance(finished);
      ended = has_ended();
    }
    finish(finished);
    if (!sound) std::this_thread::sleep_for(10ms);
  }
  eventfd_write(stop_watching_, 1);
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
    results_.put(message_of({0, 0, ResultKind::kWake}));
  } catch (const Error&) {
    // The collector comes by every second.
  }
}

void PoolCore::finish(Finished& finished) {
  for (const auto& job : finished) job->finish();
}

// ---- the end

void PoolCore::close() {
  {
    std::scoped_lock guard(mutex_);
    if (state_ != State::kRunning) return;
    state_ = State::kClosed;
  }
  wake();
}

void PoolCore::terminate() {
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
  {
    std::scoped_lock guard(mutex_);
    if (state_ == State::kRunning) throw UsageError("join() of a pool that runs; close() or terminate() it first");
  }
  std::scoped_lock guard(join_mutex_);
  if (collector_.joinable()) collector_.join();
  if (watcher_.joinable()) watcher_.join();
}

std::shared_ptr<Job> submit(PoolCore& pool, JobPlan plan) {
  return pool.submit(std::move(plan));
}

std::size_t worker_count(const PoolCore& pool) {
  return pool.size();
}

}  // namespace commonhold::detail
