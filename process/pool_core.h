// The pool in the program that made it: which task is whose, and what happens when a worker dies.
//
// Two threads: the collector takes results, hands out tasks and replaces workers; the watcher tells it of deaths. Both
// block all signals, which are for the program's own threads.
//
// A worker may be stopped at any moment, also one that holds a queue just then: nothing is done under mutex_ that waits
// for ever.
//
// INVARIANT, under mutex_: a task is in tasks_ from its submission until its job has its outcome; it is then either in
// pending_ or in the `assigned` of one worker, and its bytes are in that worker's queue, in the worker's hands, or,
// when it may be run again, in the task as well.
#pragma once

#include <commonhold/detail/kept_descriptor.h>
#include <commonhold/manager.h>
#include <commonhold/pool.h>
#include <commonhold/value.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "process/job.h"
#include "process/kept_offers.h"
#include "process/pool_worker.h"
#include "process/result_stream.h"

namespace commonhold::detail {

class PoolCore : public std::enable_shared_from_this<PoolCore> {
 public:
  explicit PoolCore(PoolOptions options);
  // REQUIRES: terminated and joined.
  ~PoolCore();

  // One job for each plan, which it takes. Closed: it runs no more; PoolTerminated: not even what was accepted before.
  std::vector<std::shared_ptr<Job>> submit(std::vector<JobPlan>& plans, bool accepted_before = false);
  std::shared_ptr<ResultStream> open_stream(DrawTask draw, std::size_t ahead, bool any_order);
  bool cancel(const std::shared_ptr<Job>& job);
  // The collector does so soon.
  void look_around() { wake(); }
  void close();
  void terminate();
  void join();
  bool is_mine() const;
  std::size_t size() const { return size_; }
  std::vector<int> pids() const;

 private:
  using Clock = std::chrono::steady_clock;
  using Finished = std::vector<std::shared_ptr<Job>>;
  enum class State { kRunning, kClosed, kTerminated };

  struct Task {
    std::shared_ptr<Job> job;
    std::size_t chunk;
    int retries;
    std::int64_t limit;  // ns, kForever for none
    std::string bytes;
  };
  // A task that has its outcome and may run still, or be run: its worker is to be ended in it.
  struct Doomed {
    std::uint64_t worker, id;
  };
  struct Worker {
    Worker(Queue<std::string> queue, Value<std::uint64_t> at) : tasks(std::move(queue)), at(std::move(at)) {}
    Queue<std::string> tasks;
    Value<std::uint64_t> at;                 // pool_worker.h
    std::unique_ptr<WorkerProcess> process;  // none: it could not be started
    std::uint64_t serial = 0;
    std::deque<std::uint64_t> assigned;
    std::uint64_t finished = 0;
    Clock::time_point held_up_until{};  // its queue was held, maybe by itself, stopped: it gets no tasks before
    bool alive = false, ready = false, told_to_stop = false;
  };

  void require_mine(const char* call) const;
  void collect();
  void watch();
  void wake();
  // REQUIRES, of the rest: mutex_ is held. Jobs whose last chunk came go into `finished`, for finish() without it.
  void start_worker(Worker& worker);
  void start_missing_workers();
  Belongings take_belongings(std::string& message);  // without the mutex
  void take(const std::string& message, Belongings belongings, Finished& finished);
  void forget_dropped_offers();
  void worker_died(Worker& worker, Finished& finished);
  void take_back(Worker& worker, Finished& finished);
  void dispatch(Finished& finished);
  void balance(Finished& finished);
  void give(Worker& worker, const std::vector<std::uint64_t>& ids, std::vector<std::string> tasks, Finished& finished);
  bool tell_to_stop(Worker& worker);
  void end_task(std::uint64_t id, Outcome outcome, Finished& finished);
  void end_all_tasks(const Outcome& outcome, Finished& finished);
  // pool_limits.cc
  void add_deadline(const ResultHead& begun);
  void end_overdue_tasks(Finished& finished);
  void end_early(std::uint64_t id, Outcome outcome, Finished& finished);
  bool kill_in_task(Worker& worker, std::uint64_t id);
  bool end_doomed(const Doomed& doomed);
  void end_all_doomed();
  std::int64_t next_look() const;
  void break_down(Outcome outcome, Finished& finished);
  std::size_t room_of(const Worker& worker) const;
  bool has_ended();
  Worker* worker_of(std::uint64_t serial);
  static void finish(Finished& finished);

  const pid_t made_by_;
  const PoolOptions options_;
  const std::size_t size_;
  Manager manager_;
  Queue<std::string> results_;
  const std::shared_ptr<KeptOffers> offers_ = std::make_shared<KeptOffers>();  // among the results
  sigset_t signals_;
  int epoll_ = -1, stop_watching_ = -1;
  KeptIdentity epoll_identity_, stop_identity_;
  std::uint64_t finalizer_ = 0;

  mutable std::mutex mutex_;
  State state_ = State::kRunning;
  bool ended_ = false;  // nobody looks after tasks any more
  Clock::time_point terminated_at_;
  std::vector<Worker> workers_;
  std::unordered_map<std::uint64_t, Task> tasks_;
  std::deque<std::uint64_t> pending_;
  std::uint64_t last_id_ = kStop, last_serial_ = 0;
  std::multimap<Clock::time_point, Doomed> deadlines_;  // of tasks that run
  std::vector<Doomed> doomed_;
  std::vector<std::weak_ptr<ResultStream>> streams_;
  const OpenStreams open_streams_ = std::make_shared<std::atomic<int>>(0);
  std::optional<Outcome> broken_;  // what every task ends with, after a failed initializer
  int early_deaths_ = 0;

  std::mutex join_mutex_;
  std::thread collector_, watcher_;
};

}  // namespace commonhold::detail
