// The results of tasks that are drawn from a source when they are needed: a bounded number is ahead of what was given.
//
// The source is called by whoever asks for a result, and by who joins the closed pool, which draws all that is left.
//
// Thread safety: next() for one thread at a time, draw_some() for any.
#pragma once

#include <commonhold/detail/pool_calls.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "process/completions.h"
#include "process/job.h"

namespace commonhold::detail {

// How many streams of a pool may draw more tasks.
using OpenStreams = std::shared_ptr<std::atomic<int>>;

class ResultStream {
 public:
  ResultStream(const std::shared_ptr<PoolCore>& pool, OpenStreams open, DrawTask draw, std::size_t ahead,
               bool any_order);
  ~ResultStream();
  ResultStream(const ResultStream&) = delete;
  ResultStream& operator=(const ResultStream&) = delete;

  // Draws the first tasks. Closed: the pool takes none.
  void begin();
  std::optional<std::string> next(std::int64_t wait);
  // Draws a number of tasks, whatever is ahead. False: there are no more.
  bool draw_some();

 private:
  // REQUIRES: the mutex.
  void draw(std::size_t most);
  void submit_drawn();
  void let_pool_end();
  std::shared_ptr<Job> first_job() const;

  std::weak_ptr<PoolCore> pool_;
  const OpenStreams open_;
  const DrawTask draw_;
  const std::size_t ahead_;
  const bool any_order_;
  std::shared_ptr<Completions> completions_;  // with any_order

  std::mutex mutex_;
  std::vector<JobPlan> drawn_;                        // and not submitted
  std::map<std::size_t, std::shared_ptr<Job>> jobs_;  // by number, submitted and not given
  std::size_t last_number_ = 0;
  bool may_draw_ = true;
  bool holds_pool_ = true;  // counts among open_: until the last task that was drawn is submitted
  std::exception_ptr input_error_;
  std::shared_ptr<Job> given_;  // whose results are being read
};

}  // namespace commonhold::detail
