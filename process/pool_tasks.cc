// Which worker gets which task.
#include <fmt/format.h>
#include <string.h>

#include <algorithm>

#include "process/pool_core.h"

namespace commonhold::detail {

namespace {

using namespace std::chrono_literals;

// Tasks that a worker has at once, so that it need not wait for the pool between short ones. An idle worker gets some
// of a busy one's.
constexpr std::size_t kDepth = 64;
constexpr auto kHeldUpFor = 1s;

}  // namespace

std::vector<std::shared_ptr<Job>> PoolCore::submit(std::vector<JobPlan>& plans, bool accepted_before) {
  require_mine("a task");
  for (const JobPlan& plan : plans) {
    if (plan.limit.value_or(1) <= 0) throw ValueError("limited() to no time at all; a task needs some");
  }
  std::vector<std::shared_ptr<Job>> jobs;
  Finished finished;
  {
    std::scoped_lock guard(mutex_);
    if ((state_ == State::kTerminated || ended_) && accepted_before) {
      throw PoolTerminated("the pool was terminated before all items were drawn");
    }
    if (state_ == State::kTerminated || (state_ == State::kClosed && !accepted_before)) {
      throw Closed(fmt::format("Pool not running: it was {}", state_ == State::kClosed ? "closed" : "terminated"));
    }
    for (JobPlan& plan : plans) {
      std::vector<std::string> given = std::move(plan.tasks);
      const int retries = plan.retries.value_or(options_.retries);
      const std::int64_t limit = plan.limit.value_or(kForever);
      const auto& job = jobs.emplace_back(std::make_shared<Job>(std::move(plan), given.size()));
      job->belongs_to(weak_from_this(), last_id_ + 1);
      if (given.empty()) finished.push_back(job);
      tasks_.reserve(tasks_.size() + given.size());
      for (std::size_t chunk = 0; chunk < given.size(); ++chunk) {
        auto head = head_of<TaskHead>(given[chunk]);
        head.id = ++last_id_;
        head.announces = limit != kForever ? 1 : 0;
        head.may_run_again = retries > 0 ? 1 : 0;
        memcpy(given[chunk].data(), &head, sizeof head);
        tasks_.emplace(head.id, Task{job, chunk, retries, limit, std::move(given[chunk])});
        pending_.push_back(head.id);
      }
    }
    if (broken_) end_all_tasks(*broken_, finished);
    dispatch(finished);
  }
  finish(finished);
  return jobs;
}

// A pool that is closed later goes on with it.
std::shared_ptr<ResultStream> PoolCore::open_stream(DrawTask draw, std::size_t ahead, bool any_order) {
  auto stream = std::make_shared<ResultStream>(shared_from_this(), open_streams_, std::move(draw),
                                               ahead == 0 ? size_ * kDepth : ahead, any_order);
  stream->begin();
  std::scoped_lock guard(mutex_);
  std::erase_if(streams_, [](const auto& one) { return one.expired(); });
  streams_.push_back(stream);
  return stream;
}

std::size_t PoolCore::room_of(const Worker& worker) const {
  if (!worker.alive || worker.told_to_stop || worker.held_up_until > Clock::now()) return 0;
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
    const auto task = tasks_.find(id);
    if (task == tasks_.end()) continue;  // it was cancelled
    to->ids.push_back(id);
    to->tasks.push_back(task->second.retries > 0 ? task->second.bytes : std::move(task->second.bytes));
  }
  for (Share& share : shares) give(*share.worker, share.ids, std::move(share.tasks), finished);
}

void PoolCore::give(Worker& worker, const std::vector<std::uint64_t>& ids, std::vector<std::string> tasks,
                    Finished& finished) {
  if (ids.empty()) return;
  try {
    const auto given = static_cast<std::ptrdiff_t>(worker.tasks.put_many(tasks, 0s));
    worker.assigned.insert(worker.assigned.end(), ids.begin(), ids.begin() + given);
    if (given == std::ssize(ids)) return;
    worker.held_up_until = Clock::now() + kHeldUpFor;
    for (std::size_t i = static_cast<std::size_t>(given); i < ids.size(); ++i) {
      tasks_.at(ids[i]).bytes = std::move(tasks[i]);
    }
    pending_.insert(pending_.begin(), ids.begin() + given, ids.end());
  } catch (const Error&) {
    Outcome outcome;
    outcome.error = std::current_exception();
    for (const std::uint64_t id : ids) end_task(id, outcome, finished);
  }
}

// False: there is no memory, or its queue is held; the collector comes by again.
bool PoolCore::tell_to_stop(Worker& worker) {
  const TaskHead stop{kStop, 0};
  try {
    return worker.tasks.try_put(std::string(reinterpret_cast<const char*>(&stop), sizeof stop));
  } catch (const Error&) {
    return false;
  }
}

// Workers are told which connections among their results nobody will take: those results were dropped. Who cannot be
// told now is told when the collector comes by again; a worker that is not there any more has no offers.
void PoolCore::forget_dropped_offers() {
  std::list<KeptOffers::Offer> left = offers_->take_dropped();
  for (auto offer = left.begin(); offer != left.end();) {
    Worker* worker = worker_of(offer->worker);
    bool told = worker == nullptr || !worker->alive;
    if (!told && worker->held_up_until <= Clock::now()) {
      try {
        const TaskHead head{kForget, 0};
        told = worker->tasks.try_put(std::string(reinterpret_cast<const char*>(&head), sizeof head) + offer->ticket);
      } catch (const Error&) {
      }
      if (!told) worker->held_up_until = Clock::now() + kHeldUpFor;
    }
    offer = told ? left.erase(offer) : std::next(offer);
  }
  offers_->put_back(std::move(left));
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
        if (id == kForget) offers_->put_back({{busy.serial, bytes->substr(sizeof(TaskHead))}});
        std::erase(busy.assigned, id);
        if (!tasks_.contains(id)) continue;
        ids.push_back(id);
        tasks.push_back(std::move(*bytes));
      }
    } catch (const Error&) {
      // The queue says so again when its worker is looked after.
    }
    give(idle, ids, std::move(tasks), finished);
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

}  // namespace commonhold::detail
