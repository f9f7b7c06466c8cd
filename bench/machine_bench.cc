// What the machine itself does: without it the other figures say little.
#include "bench/workers.h"

namespace commonhold::bench {

namespace {

// A word that two pinned processes hand to each other; nanoseconds each way.
std::vector<double> hand_over(const Plan& plan) {
  Shared<std::atomic<std::uint64_t>> ball;
  std::vector<Work> work = run_workers(2, plan, [&](Worker& worker) {
    constexpr std::uint64_t kTurns = 100'000;
    worker.meet();
    std::int64_t start = now_ns();
    for (std::uint64_t turn = static_cast<std::uint64_t>(worker.index()); turn < kTurns; turn += 2) {
      while (ball->load() != turn) {
      }
      ball->store(turn + 1);
    }
    worker.record({kTurns, seconds_since(start)});
  });
  return {work[0].seconds / work[0].operations * 1e9};
}

}  // namespace

void add_machine_rows(Rows& rows) {
  if (usable_cores() < 2) return;
  rows.push_back({.family = "machine",
                  .name = "a cache line from core to core",
                  .unit = "ns",
                  .better = Better::kLower,
                  .ours = {"", hand_over}});
}

}  // namespace commonhold::bench
