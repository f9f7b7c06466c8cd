// Which of several jobs are done, in the order in which they were.
//
// Thread safety: any thread. The mutex is held for moments, also under a job's.
#pragma once

#include <commonhold/detail/pool_calls.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

namespace commonhold::detail {

class Completions {
 public:
  void put(std::size_t number);
  std::optional<std::size_t> next(std::int64_t wait);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::size_t> done_;
};

}  // namespace commonhold::detail
