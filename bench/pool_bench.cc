// Pools and pipes beside Python's. Each measurement is a program of its own, so that its workers are forks of something
// small; two workers, the machine's two cores.
#include <commonhold/commonhold.h>
#include <fmt/format.h>

#include <numeric>

#include "bench/clock.h"
#include "bench/jobs.h"
#include "bench/workers.h"

namespace commonhold::bench {

namespace {

constexpr int kCount = 100'000;

int nothing(int n) {
  return n;
}

int map_in_chunks(std::size_t chunk, int repeats) {
  Pool pool(2);
  std::vector<int> numbers(kCount);
  std::iota(numbers.begin(), numbers.end(), 0);
  if (pool.map(nothing, numbers) != numbers) return 1;
  for (int i = 0; i < repeats; ++i) {
    const std::int64_t begun = now_ns();
    const auto results = pool.map(nothing, numbers, chunk);
    fmt::print("{:.6f}\n", kCount / seconds_since(begun) / 1e6);
    if (results.size() != kCount) return 1;
  }
  return 0;
}

int apply_one_by_one() {
  Pool pool(2);
  for (int round = 0; round < 8; ++round) {
    const std::int64_t begun = now_ns();
    for (int n = 0; n < 1000; ++n) {
      if (pool.apply(nothing, n) != n) return 1;
    }
    if (round != 0) fmt::print("{:.4f}\n", seconds_since(begun) / 1000 * 1e6);
  }
  return 0;
}

int pipe_there_and_back() {
  Pipe pipe;
  Process other([&] {
    pipe.first.close();
    try {
      for (;;) pipe.second.send(pipe.second.recv<int>());
    } catch (const EndOfFile&) {
    }
  });
  other.start();
  pipe.second.close();
  for (int round = 0; round < 8; ++round) {
    const std::int64_t begun = now_ns();
    for (int n = 0; n < 2000; ++n) {
      pipe.first.send(n);
      if (pipe.first.recv<int>() != n) return 1;
    }
    if (round != 0) fmt::print("{:.4f}\n", seconds_since(begun) / 2000 * 1e6);
  }
  pipe.first.close();
  return 0;
}

Contender job(const char* name) {
  return {"", [name](const Plan&) { return in_new_program({"/proc/self/exe", "--job", name}); }};
}

Contender python(const char* what) {
  return {"Python's multiprocessing", [what](const Plan&) {
            return in_new_program({"python3", std::string(COMMONHOLD_BENCH_PYTHON) + "/pool.py", what});
          }};
}

}  // namespace

int run_pool_job(const std::string& name) {
  if (name == kPoolMapJob) return map_in_chunks(0, 15);
  if (name == kPoolMapSinglyJob) return map_in_chunks(1, 5);
  if (name == kPoolApplyJob) return apply_one_by_one();
  if (name == kPipeJob) return pipe_there_and_back();
  return 2;
}

void add_pool_rows(Rows& rows) {
  rows.push_back({.family = "pool",
                  .name = "map 100k small integers, empty tasks",
                  .unit = "M/s",
                  .ours = job(kPoolMapJob),
                  .beside = {python("map")},
                  .least_ratio = 10});
  rows.push_back({.family = "pool",
                  .name = "map 100k small integers, one a task",
                  .unit = "M/s",
                  .ours = job(kPoolMapSinglyJob),
                  .beside = {python("map-1")},
                  .least_ratio = 10});
  rows.push_back({.family = "pool",
                  .name = "apply: there and back",
                  .unit = "us",
                  .better = Better::kLower,
                  .ours = job(kPoolApplyJob),
                  .beside = {python("apply")}});
  rows.push_back({.family = "pipe",
                  .name = "an integer there and back",
                  .unit = "us",
                  .better = Better::kLower,
                  .ours = job(kPipeJob),
                  .beside = {python("pipe")}});
}

}  // namespace commonhold::bench
