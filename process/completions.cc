#include "process/completions.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "process/job.h"
#include "process/timed_wait.h"

namespace commonhold::detail {

void Completions::put(std::size_t number) {
  {
    std::scoped_lock guard(mutex_);
    done_.push_back(number);
  }
  changed_.notify_one();
}

std::optional<std::size_t> Completions::next(std::int64_t wait) {
  std::unique_lock guard(mutex_);
  if (!wait_until(changed_, guard, wait, [this] { return !done_.empty(); })) return std::nullopt;
  const std::size_t number = done_.front();
  done_.pop_front();
  return number;
}

std::shared_ptr<Completions> completions_of(const std::vector<std::shared_ptr<Job>>& jobs) {
  auto completions = std::make_shared<Completions>();
  // Those that are done in the order in which they were; whoever is done meanwhile was so after these.
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  for (std::size_t i = 0; i < jobs.size(); ++i) order.emplace_back(jobs[i]->done_as() - 1, i);  // not done: the last
  std::sort(order.begin(), order.end());
  for (const auto& [done_as, i] : order) jobs[i]->tell(completions, i);
  return completions;
}

std::optional<std::size_t> next_completion(Completions& completions, std::int64_t wait) {
  return completions.next(wait);
}

}  // namespace commonhold::detail
