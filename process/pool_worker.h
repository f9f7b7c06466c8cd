// The process of a pool's worker, and what it and the pool say to each other.
//
// Each worker has a queue of tasks of its own, so that the pool knows, when one dies, which tasks were its: those still
// in the queue were not begun. All workers put their results into one queue. A task is a TaskHead and what its function
// reads; a result is a ResultHead and what `kind` says.
//
// A word says which task a worker is at: 0 between tasks. From there to the task's id the worker changes it, from the id to
// kDoomed + id the pool, which then kills the worker, and from the id to 0 the worker, before it puts the result: so a task
// is either ended by the pool or by the worker, and the pool kills nobody who is at another task.
#pragma once

#include <commonhold/detail/pool_calls.h>
#include <commonhold/process.h>
#include <commonhold/queue.h>
#include <commonhold/value.h>
#include <signal.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace commonhold::detail {

// The id of no task: the worker ends.
inline constexpr std::uint64_t kStop = 0;
// No task either: a ticket for a connection among the worker's results, which nobody will redeem, follows the head.
inline constexpr std::uint64_t kForget = ~std::uint64_t{0};

enum class ResultKind : std::uint64_t {
  kReady,       // the worker's initializer has returned
  kInitFailed,  // a TaskFailure; the worker ends
  kBegun,       // a task that has a limit
  kDone,        // the results
  kFailed,      // a TaskFailure
  kDied,        // from the pool itself: the worker has ended, and all that it put is before this
  kWake,        // from the pool itself: look around
};

inline constexpr std::uint64_t kDoomed = std::uint64_t{1} << 63;

struct ResultHead {
  std::uint64_t worker;  // its serial number
  std::uint64_t id;
  ResultKind kind;
  std::uint64_t sent = 0;  // so many bytes at the end name the shared objects and connections among the results
};

template <typename Head>
Head head_of(std::string_view bytes) {
  return TaskReader(bytes).raw<Head>();
}
std::string message_of(const ResultHead& head);

struct WorkerPlan {
  std::uint64_t serial = 0;
  std::function<void()> initializer;
  std::uint64_t most_tasks = 0;  // 0: no limit
  sigset_t signals;              // that are blocked in tasks
};

// What a worker does, in its own process.
class WorkerBody {
 public:
  WorkerBody(WorkerPlan plan, Queue<std::string> tasks, Value<std::uint64_t> at, Queue<std::string> results);
  void run() const;

 private:
  std::string result_of(std::string_view task) const;
  void put(std::string message) const;
  void begin_task(const TaskHead& head) const;
  void end_task(std::uint64_t id) const;

  WorkerPlan plan_;
  Queue<std::string> tasks_, results_;
  Value<std::uint64_t> at_;
};

class WorkerProcess : public Process {
 public:
  explicit WorkerProcess(ProcessOptions options) : Process(std::move(options)) {}
  explicit WorkerProcess(Process fresh) : Process(std::move(fresh)) {}
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;
  ~WorkerProcess() override { end_child(); }
  void begin() { start_quietly(); }
};

class ForkedWorker final : public WorkerProcess {
 public:
  ForkedWorker(ProcessOptions options, WorkerBody body) : WorkerProcess(std::move(options)), body_(std::move(body)) {}
  void run() override;

 private:
  WorkerBody body_;
};

// As a fresh image of the program. UsageError for an initializer that is no function.
std::unique_ptr<WorkerProcess> fresh_worker(ProcessOptions options, const WorkerPlan& plan, Queue<std::string> tasks,
                                            Value<std::uint64_t> at, Queue<std::string> results);
// For the pool's maker: throws UsageError when its workers cannot be fresh images.
void require_fresh_workers(const std::function<void()>& initializer);

}  // namespace commonhold::detail
