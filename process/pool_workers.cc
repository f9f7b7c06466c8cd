// A pool's workers: how they start, and what becomes of a dead one's tasks.
#include <errno.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/epoll.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "process/pool_core.h"
#include "process/wire.h"

namespace commonhold::detail {

namespace {

using namespace std::chrono_literals;

constexpr auto kTaskTimeout = 1s;
// So many workers that die in the initializer, with no success between, are its fault.
constexpr int kMostEarlyDeaths = 10;

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

// What a dead worker left in its queue. It may have died holding the queue: then the wait is until that is repaired.
std::optional<std::string> next_left(const Queue<std::string>& tasks) {
  for (int tries = 0; tries < 10; ++tries) {
    if (auto bytes = tasks.try_get()) return bytes;
    if (tasks.size() == 0) return std::nullopt;
    if (auto bytes = tasks.try_get_for(kTaskTimeout)) return bytes;
  }
  return std::nullopt;
}

}  // namespace

void PoolCore::start_worker(Worker& worker) {
  worker.process.reset();
  worker.serial = ++last_serial_;
  worker.alive = worker.ready = worker.told_to_stop = false;
  worker.held_up_until = {};
  worker.finished = 0;
  worker.at.store(0);
  WorkerPlan plan{worker.serial, options_.initializer,
                  static_cast<std::uint64_t>(options_.max_tasks_per_child.value_or(0)), signals_};
  ProcessOptions options{.name = fmt::format("PoolWorker-{}", worker.serial), .daemon = true};
  auto process = options_.fresh
                     ? fresh_worker(std::move(options), plan, worker.tasks, worker.at, results_)
                     : std::make_unique<ForkedWorker>(std::move(options),
                                                      WorkerBody(std::move(plan), worker.tasks, worker.at, results_));
  process->begin();
  epoll_event event{};
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.u64 = worker.serial;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, process->sentinel(), &event) != 0) throw_wire_error("watching a worker", errno);
  worker.process = std::move(process);
  worker.alive = true;
}

void PoolCore::start_missing_workers() {
  const bool needed =
      state_ == State::kRunning || (state_ == State::kClosed && (!tasks_.empty() || *open_streams_ != 0));
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
    while (auto bytes = next_left(worker.tasks)) {
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

}  // namespace commonhold::detail
