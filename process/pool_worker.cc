#include "process/pool_worker.h"

#include <commonhold/detail/portable_function.h>
#include <commonhold/pool_callables.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "process/fresh.h"
#include "process/task_failure.h"

namespace commonhold::detail {

namespace {

std::atomic<std::uint64_t> inherited_so_far{0};
// In a worker: how many there were at its fork.
std::uint64_t inherited_at_fork = ~std::uint64_t{0};
bool is_fresh = false;

// Of results that nobody will get.
void withdraw_offers(std::string_view sent) {
  for (TaskReader in(sent); !in.rest().empty();) withdraw_offer(in.sized());
}

}  // namespace

std::uint64_t number_inherited() noexcept {
  return ++inherited_so_far;
}

void require_inherited(std::uint64_t number) {
  if (number <= inherited_at_fork) return;
  if (is_fresh) {
    throw UsageError(
        "the task's callable is inherited(), and this pool's workers are fresh images of the program, which inherit "
        "nothing; give the state as values with with_state(f, values...), or make the pool without .fresh");
  }
  throw UsageError(
      "the task's callable was made inherited() after the pool's workers were forked; make the pool later");
}

std::string message_of(const ResultHead& head) {
  return std::string(reinterpret_cast<const char*>(&head), sizeof head);
}

WorkerBody::WorkerBody(WorkerPlan plan, Queue<std::string> tasks, Value<std::uint64_t> at, Queue<std::string> results)
    : plan_(std::move(plan)), tasks_(std::move(tasks)), results_(std::move(results)), at_(std::move(at)) {}

// A result is never lost for want of memory: it waits, or shrinks to the news that there is none.
void WorkerBody::put(std::string message) const {
  for (bool first = true;; first = false) {
    try {
      return results_.put(message);
    } catch (const Error&) {
      if (first && message.size() > sizeof(ResultHead)) {
        auto head = head_of<ResultHead>(message);
        withdraw_offers(std::string_view(message).substr(message.size() - head.sent));
        head.kind = ResultKind::kFailed;
        head.sent = 0;
        message = message_of(head) + TaskFailure::of_current_exception().bytes();
      } else {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
    }
  }
}

std::string WorkerBody::result_of(std::string_view task) const {
  TaskReader in(task);
  const auto head = in.raw<TaskHead>();
  const auto announce = [&](ResultKind kind) { return message_of({plan_.serial, head.id, kind}); };
  std::string message = announce(ResultKind::kDone), sent;
  try {
    const auto function = reinterpret_cast<TaskFunction>(local_function(head.function));
    if (head.may_run_again != 0) in.leave_tickets();
    TaskWriter out(message, sent);
    message.reserve(task.size());
    function(in, out);
    auto result = head_of<ResultHead>(message);
    result.sent = sent.size();
    message.replace(0, sizeof result, message_of(result));
    message += sent;
  } catch (const Exit&) {
    throw;
  } catch (...) {
    withdraw_offers(sent);
    message = announce(ResultKind::kFailed) + TaskFailure::of_current_exception().bytes();
  }
  return message;
}

void WorkerBody::begin_task(const TaskHead& head) const {
  at_.store(head.id);
  if (head.announces != 0) put(message_of({plan_.serial, head.id, ResultKind::kBegun}));
}

void WorkerBody::end_task(std::uint64_t id) const {
  if (at_.compare_exchange(id, 0)) return;
  for (;;) pause();  // the pool kills this process
}

void WorkerBody::run() const {
  pthread_sigmask(SIG_SETMASK, &plan_.signals, nullptr);
  try {
    if (plan_.initializer) plan_.initializer();
  } catch (const Exit&) {
    throw;
  } catch (...) {
    put(message_of({plan_.serial, 0, ResultKind::kInitFailed}) + TaskFailure::of_current_exception().bytes());
    throw Exit(1);
  }
  put(message_of({plan_.serial, 0, ResultKind::kReady}));
  for (std::uint64_t done = 0; plan_.most_tasks == 0 || done < plan_.most_tasks;) {
    const std::string task = tasks_.get();
    const auto head = head_of<TaskHead>(task);
    if (head.id == kStop) return;
    if (head.id == kForget) {
      withdraw_offer(std::string_view(task).substr(sizeof(TaskHead)));
      continue;
    }
    begin_task(head);
    std::string result = result_of(task);
    end_task(head.id);
    put(std::move(result));
    ++done;
  }
}

void ForkedWorker::run() {
  inherited_at_fork = inherited_so_far;
  body_.run();
}

// ---- workers that are fresh images

namespace {

using Initializer = void (*)();

void run_fresh_worker(std::uint64_t serial, std::uint64_t initializer, std::uint64_t most_tasks, std::string signals,
                      Queue<std::string> tasks, Value<std::uint64_t> at, Queue<std::string> results) {
  inherited_at_fork = 0;
  is_fresh = true;
  WorkerPlan plan{serial, nullptr, most_tasks, {}};
  if (initializer != 0) plan.initializer = reinterpret_cast<Initializer>(local_function(initializer));
  std::memcpy(&plan.signals, signals.data(), std::min(signals.size(), sizeof plan.signals));
  WorkerBody(std::move(plan), std::move(tasks), std::move(at), std::move(results)).run();
}

}  // namespace

void require_fresh_workers(const std::function<void()>& initializer) {
  if (!can_start_fresh()) {
    throw UsageError(
        "a pool of fresh processes: main() must call commonhold::run_if_fresh() first, or each worker would run the "
        "whole program again");
  }
  if (initializer && initializer.target<Initializer>() == nullptr) {
    throw UsageError(
        "the initializer of a pool of fresh processes must be a function, or +[] { ... }: a callable with state cannot "
        "reach them");
  }
}

std::unique_ptr<WorkerProcess> fresh_worker(ProcessOptions options, const WorkerPlan& plan, Queue<std::string> tasks,
                                            Value<std::uint64_t> at, Queue<std::string> results) {
  const auto* initializer = plan.initializer ? plan.initializer.target<Initializer>() : nullptr;
  return std::make_unique<WorkerProcess>(Process::fresh<&run_fresh_worker>(
      std::move(options), plan.serial,
      initializer == nullptr ? 0 : portable_function(reinterpret_cast<std::uintptr_t>(*initializer)), plan.most_tasks,
      std::string(reinterpret_cast<const char*>(&plan.signals), sizeof plan.signals), tasks, at, results));
}

}  // namespace commonhold::detail
