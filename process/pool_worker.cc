#include "process/pool_worker.h"

#include <commonhold/pool_callables.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <unordered_set>

#include "process/task_failure.h"

namespace commonhold::detail {

namespace {

std::atomic<std::uint64_t> inherited_so_far{0};
// In a worker: how many there were at its fork.
std::uint64_t inherited_at_fork = ~std::uint64_t{0};

// Of results that nobody will get.
void withdraw_offers(std::string_view sent) {
  for (TaskReader in(sent); !in.rest().empty();) withdraw_connection(in.sized());
}

// The pool's program may have loaded a library after this worker was forked.
void require_function(TaskFunction function) {
  static auto* known = new std::unordered_set<void*>;
  auto* address = reinterpret_cast<void*>(function);
  if (known->contains(address)) return;
  Dl_info info{};
  if (dladdr(address, &info) == 0) {
    throw UsageError(
        fmt::format("the task's function at {} is not in worker {}: its library was loaded after the pool "
                    "was made; make the pool later",
                    address, getpid()));
  }
  known->insert(address);
}

}  // namespace

std::uint64_t number_inherited() noexcept {
  return ++inherited_so_far;
}

void require_inherited(std::uint64_t number) {
  if (number <= inherited_at_fork) return;
  throw UsageError(
      "the task's callable was made inherited() after the pool's workers were forked; make the pool later");
}

std::string message_of(const ResultHead& head) {
  return std::string(reinterpret_cast<const char*>(&head), sizeof head);
}

WorkerProcess::WorkerProcess(std::string name, WorkerPlan plan, Queue<std::string> tasks, Value<std::uint64_t> at,
                             Queue<std::string> results)
    : Process({.name = std::move(name), .daemon = true}),
      plan_(std::move(plan)),
      tasks_(std::move(tasks)),
      results_(std::move(results)),
      at_(std::move(at)) {}

// A result is never lost for want of memory: it waits, or shrinks to the news that there is none.
void WorkerProcess::put(std::string message) const {
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

std::string WorkerProcess::result_of(std::string_view task) const {
  TaskReader in(task);
  const auto head = in.value<TaskHead>();
  const auto announce = [&](ResultKind kind) { return message_of({plan_.serial, head.id, kind}); };
  std::string message = announce(ResultKind::kDone), sent;
  try {
    require_function(head.function);
    TaskWriter out(message, sent);
    message.reserve(task.size());
    head.function(in, out);
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

void WorkerProcess::begin_task(const TaskHead& head) const {
  at_.store(head.id);
  if (head.announces != 0) put(message_of({plan_.serial, head.id, ResultKind::kBegun}));
}

void WorkerProcess::end_task(std::uint64_t id) const {
  if (at_.compare_exchange(id, 0)) return;
  for (;;) pause();  // the pool kills this process
}

void WorkerProcess::run() {
  inherited_at_fork = inherited_so_far;
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
      withdraw_connection(std::string_view(task).substr(sizeof(TaskHead)));
      continue;
    }
    begin_task(head);
    std::string result = result_of(task);
    end_task(head.id);
    put(std::move(result));
    ++done;
  }
}

}  // namespace commonhold::detail
