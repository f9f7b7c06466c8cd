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
  std::uint64_t function;       // a TaskFunction (portable_function.h)
  std::uint32_t announces = 0;  // 1: the worker says when it begins
  std::uint32_t may_run_again = 0;
};

// What is asked of a pool at once.
struct JobPlan {
  std::vector<std::string> tasks;  // each begins with a TaskHead that is filled in except for its id
  std::shared_ptr<void> kept;      // until the job is done
  Belongings belongings;           // likewise
  std::optional<int> retries;
  std::optional<std::int64_t> limit;  // ns, of each task
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
// Ends it with TaskCancelled. False: it was done.
COMMONHOLD_CALL bool job_cancel(const std::shared_ptr<Job>& job);
// Readable once it is done; the job's own.
COMMONHOLD_CALL int job_descriptor(Job& job);

// The numbers of jobs in the order in which they are done. Thread safety: any thread.
class Completions;  // process/completions.h
COMMONHOLD_CALL std::shared_ptr<Completions> completions_of(const std::vector<std::shared_ptr<Job>>& jobs);
// Nothing: not in time.
COMMONHOLD_CALL std::optional<std::size_t> next_completion(Completions& completions, std::int64_t wait);

// Tasks that are drawn when they are needed. draw(plan) fills in one task, or says false at the end, again and again; what
// it throws takes a task's place.
using DrawTask = std::function<bool(JobPlan& plan)>;
class ResultStream;  // process/result_stream.h
// `ahead`: so many tasks are drawn and not given yet; 0: some for each worker.
COMMONHOLD_CALL std::shared_ptr<ResultStream> open_stream(const std::shared_ptr<PoolCore>& pool, DrawTask draw,
                                                          std::size_t ahead, bool any_order);
// The bytes of the next task's results, in order or as they come. Nothing: the end. Throws TimeoutError; what the task
// threw, in its place.
COMMONHOLD_CALL std::optional<std::string> stream_next(ResultStream& stream, std::int64_t wait);

}  // namespace commonhold::detail
