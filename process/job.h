// What was asked of a pool at once, and what came of it.
//
// Thread safety: any thread. The mutex is held for moments; under it that of Completions alone is taken.
#pragma once

#include <commonhold/detail/kept_descriptor.h>
#include <commonhold/detail/pool_calls.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <vector>

#include "process/completions.h"
#include "process/task_failure.h"

namespace commonhold::detail {

// What a chunk ended with.
struct Outcome {
  std::string bytes;                   // its results
  Belongings belongings;               // what they name, so that it lives until the results are read
  std::optional<TaskFailure> failure;  // what a worker threw
  std::exception_ptr error;            // what this program made: WorkerDied, PoolTerminated, an error of the input
  bool ok() const { return !failure && error == nullptr; }
  std::exception_ptr exception() const { return failure ? failure->exception() : error; }
};

class Job {
 public:
  Job(JobPlan plan, std::size_t chunks);
  ~Job();

  // Each chunk once; later ones of the same chunk are dropped. True for the last one: then finish() is to be called,
  // without a lock.
  bool put(std::size_t chunk, Outcome outcome);
  void finish();

  bool wait(std::int64_t wait) const;
  bool succeeded() const;
  const std::vector<std::string>& results() const;
  std::exception_ptr error() const;
  // As results(), of one chunk, which is given once.
  std::string take_result();

  // The completions get this number when it is done.
  void tell(const std::shared_ptr<Completions>& completions, std::size_t number);
  int descriptor();
  // 0 while it is not done; else higher than that of every job that was done before it.
  std::uint64_t done_as() const;
  // Whose it is, and the id of its first task, which those of the others follow: set once, before anybody has the job.
  void belongs_to(std::weak_ptr<PoolCore> pool, std::uint64_t first_task) {
    pool_ = std::move(pool);
    first_task_ = first_task;
  }
  std::shared_ptr<PoolCore> pool() const { return pool_.lock(); }
  std::uint64_t first_task() const { return first_task_; }
  std::size_t tasks() const { return chunks_; }

 private:
  struct Told {
    std::weak_ptr<Completions> completions;
    std::size_t number;
  };

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::weak_ptr<PoolCore> pool_;
  std::uint64_t first_task_ = 0;
  std::vector<std::string> results_;                       // by chunk
  std::vector<bool> arrived_;                              // by chunk
  std::vector<std::pair<std::size_t, Outcome>> failures_;  // as they arrived
  std::size_t chunks_, left_;
  bool done_ = false;
  std::uint64_t done_as_ = 0;
  std::shared_ptr<void> kept_;
  Belongings belongings_;                 // of the tasks, until all are done
  std::vector<Belongings> results_name_;  // what the results name, by chunk
  std::function<void(const Job&)> when_done_;
  std::vector<Told> told_;
  int event_ = -1;  // an eventfd, once somebody asked for it
  KeptIdentity event_identity_;
};

}  // namespace commonhold::detail
