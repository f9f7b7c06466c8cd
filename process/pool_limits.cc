// Tasks that are ended before they end themselves: cancelled ones, and those that run for longer than they may.
#include <fmt/format.h>

#include <algorithm>

#include "process/pool_core.h"

namespace commonhold::detail {

namespace {

using namespace std::chrono_literals;

constexpr auto kNextTry = 10ms;

}  // namespace

// Whether the worker was at that task. REQUIRES: the task has its outcome, or gets it now.
bool PoolCore::kill_in_task(Worker& worker, std::uint64_t id) {
  if (!worker.alive || !worker.at.compare_exchange(id, kDoomed | id)) return false;
  worker.told_to_stop = true;  // it gets no more tasks
  worker.process->kill();
  return true;
}

// Gives the task its outcome, and sees to it that nobody runs it. REQUIRES: it is in tasks_.
void PoolCore::end_early(std::uint64_t id, Outcome outcome, Finished& finished) {
  end_task(id, std::move(outcome), finished);  // so that dispatch() drops it where it is pending
  for (const Worker& worker : workers_) {
    if (!worker.alive || std::find(worker.assigned.begin(), worker.assigned.end(), id) == worker.assigned.end())
      continue;
    const Doomed doomed{worker.serial, id};
    if (!end_doomed(doomed)) doomed_.push_back(doomed);
  }
}

// Whether nobody runs the task any more. False: its worker has just taken it, or its queue is held; look again.
bool PoolCore::end_doomed(const Doomed& doomed) {
  Worker* worker = worker_of(doomed.worker);
  if (worker == nullptr || !worker->alive) return true;
  if (std::find(worker->assigned.begin(), worker->assigned.end(), doomed.id) == worker->assigned.end()) return true;
  // It may be in the queue: whose tasks are handed out anew, but for this one.
  std::vector<std::uint64_t> back;
  bool found = false;
  try {
    if (kill_in_task(*worker, doomed.id)) return true;
    while (!found) {
      auto bytes = worker->tasks.try_get();
      if (!bytes) break;
      const auto id = head_of<TaskHead>(*bytes).id;
      found = id == doomed.id;
      if (id == kForget) offers_->put_back({{worker->serial, bytes->substr(sizeof(TaskHead))}});
      if (id == kStop) worker->told_to_stop = false;
      std::erase(worker->assigned, id);
      const auto task = tasks_.find(id);
      if (task == tasks_.end()) continue;
      task->second.bytes = std::move(*bytes);
      back.push_back(id);
    }
  } catch (const Error&) {
    // The queue says so again when its worker is looked after.
  }
  pending_.insert(pending_.begin(), back.begin(), back.end());
  return found;
}

void PoolCore::end_all_doomed() {
  std::erase_if(doomed_, [this](const Doomed& one) { return end_doomed(one); });
}

bool PoolCore::cancel(const std::shared_ptr<Job>& job) {
  require_mine("cancel()");
  Finished finished;
  bool some = false;
  {
    std::scoped_lock guard(mutex_);
    Outcome outcome;
    outcome.error = std::make_exception_ptr(TaskCancelled("the task was cancelled"));
    for (std::uint64_t id = job->first_task(); id != job->first_task() + job->tasks(); ++id) {
      if (!tasks_.contains(id)) continue;
      end_early(id, outcome, finished);
      some = true;
    }
    dispatch(finished);
  }
  finish(finished);
  if (some) wake();
  return some;
}

bool job_cancel(const std::shared_ptr<Job>& job) {
  const auto pool = job->pool();
  return pool != nullptr && pool->cancel(job);
}

// ---- limits

void PoolCore::add_deadline(const ResultHead& begun) {
  const auto task = tasks_.find(begun.id);
  if (task == tasks_.end() || task->second.limit == kForever) return;
  std::erase_if(deadlines_, [&](const auto& one) { return one.second.id == begun.id; });  // it is run again
  deadlines_.emplace(Clock::now() + std::chrono::nanoseconds(task->second.limit), Doomed{begun.worker, begun.id});
}

// Who is not at its task any more has ended it in time: the result is on its way.
void PoolCore::end_overdue_tasks(Finished& finished) {
  for (const auto now = Clock::now(); !deadlines_.empty() && deadlines_.begin()->first <= now;) {
    const Doomed late = deadlines_.begin()->second;
    deadlines_.erase(deadlines_.begin());
    const auto task = tasks_.find(late.id);
    Worker* worker = worker_of(late.worker);
    if (task == tasks_.end() || worker == nullptr || !kill_in_task(*worker, late.id)) continue;
    const auto limit = std::chrono::duration<double>(std::chrono::nanoseconds(task->second.limit));
    Outcome outcome;
    outcome.error = std::make_exception_ptr(TaskTimeout(fmt::format(
        "the task ran for longer than its limit of {} s, in worker {}", limit.count(), *worker->process->pid())));
    end_task(late.id, std::move(outcome), finished);
  }
}

// Until the collector has to look again, in nanoseconds.
std::int64_t PoolCore::next_look() const {
  std::int64_t next = doomed_.empty() ? kForever : std::chrono::nanoseconds(kNextTry).count();
  if (!deadlines_.empty()) {
    const auto left = std::chrono::nanoseconds(deadlines_.begin()->first - Clock::now()).count();
    next = std::min(next, std::max<std::int64_t>(left, 0));
  }
  return next;
}

}  // namespace commonhold::detail
