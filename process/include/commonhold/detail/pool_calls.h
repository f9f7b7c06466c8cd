// What the library does for Pool and its results: jobs, of one task or of many chunks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <commonhold/detail/call.h>
#include <commonhold/detail/lock_calls.h>
#include <commonhold/detail/task_codec.h>

namespace commonhold::detail {

class PoolCore;  // process/pool_core.h
class Job;       // process/job.h

// Runs in the worker: the task's bytes behind its head, and where its result goes.
using TaskFunction = void (*)(TaskReader& in, TaskWriter& out);

// A task as it lies in a worker's queue: a head that the pool fills in, and what the function reads.
struct TaskHead {
  std::uint64_t id;
  TaskFunction function;
};

// What is asked of a pool at once.
struct JobPlan {
  std::vector<std::string> tasks;  // each begins with a TaskHead that is filled in except for its id
  std::shared_ptr<void> kept;      // until the job is done
  Belongings belongings;           // likewise
  std::exception_ptr input_error;  // after the tasks, in place of more of them
  std::optional<int> retries;
  // In the pool's own thread, when all tasks are done and before anybody learns of it.
  std::function<void(const Job&)> when_done;
};

COMMONHOLD_CALL std::shared_ptr<Job> submit(PoolCore& pool, JobPlan plan);
COMMONHOLD_CALL std::size_t worker_count(const PoolCore& pool);

// Waits as in lock_calls.h; false: not in time.
COMMONHOLD_CALL bool job_wait(const Job& job, std::int64_t wait);
// REQUIRES, of the next two: it is done, or being so (when_done).
COMMONHOLD_CALL bool job_succeeded(const Job& job);
// The bytes of every chunk in order; throws what was thrown first.
COMMONHOLD_CALL const std::vector<std::string>& job_results(const Job& job);
COMMONHOLD_CALL std::exception_ptr job_error(const Job& job);

// For iterators. The next chunk that is done: the one of this place, or with `any_order` the one that was done at this
// place. Nothing: the end. Throws TimeoutError; what the chunk threw, after it has set `failed`.
COMMONHOLD_CALL std::optional<std::string> job_next(Job& job, std::size_t place, bool any_order, std::int64_t wait,
                                                    bool& failed);

}  // namespace commonhold::detail
