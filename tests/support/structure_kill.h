// Kills an operation on an object at every instruction; after each death recovery must leave the state before the
// operation or the state after it, and every invariant whole. Now and then the recovery itself is killed everywhere
// too.
#pragma once

#include <catch2/catch.hpp>
#include <functional>
#include <string>

#include "shm/recovery.h"
#include "support/kill_stage.h"
#include "support/kill_stepper.h"
#include "support/segment_image.h"
#include "support/shared_image.h"
#include "support/test_segment.h"

namespace commonhold::test {

struct KillCase {
  std::string name;
  std::function<void()> op;              // what is killed
  std::function<std::string()> observe;  // the object's state as its users see it
  std::function<std::string()> audit;    // what is wrong inside, "" for nothing; takes every lock
  // Stores elsewhere are no kill points of their own: for operations that write much to fresh memory.
  std::uint64_t extents_watched = ~std::uint64_t{0};
  int kills_of_recovery = 2;  // at so many of the deaths
  int least_recovered = 1;    // 0: who is at something else may recover the dead one on the way
};

inline void kill_everywhere_in(const TestSegment& segment, const KillCase& one) {
  shm::ThreadContext& me = segment.me();
  SharedImage image(backed_ranges(*segment));
  std::string before = one.observe();
  one.op();
  REQUIRE(one.audit() == "");
  std::string after = one.observe();
  image.restore();

  std::vector<MemoryRange> watched = backed_ranges(*segment);
  watched.back().length =
      std::min<std::size_t>(watched.back().length, segment->header().data_at - segment->header().extents_at +
                                                       one.extents_watched * shm::kExtent);
  KillPlan plan;
  plan.name = one.name;
  plan.prepare = [&] { image.restore(); };
  plan.enter = [&] { (void)segment.me(); };
  plan.op = one.op;
  plan.shared = watched;
  plan.max_every = 20'000;
  plan.sample = soaking() ? 2'000 : 200;
  plan.seed = Catch::rngSeed();

  auto recover_and_check = [&]() -> std::string {
    if (int recovered = shm::recover_all_dead(*segment, me); recovered < one.least_recovered)
      return "no death was found";
    if (std::string wrong = one.audit(); !wrong.empty()) return wrong;
    std::string now = one.observe();
    return now == before || now == after ? "" : "the state is neither the one before nor the one after";
  };
  // The recovery as an operation: killed everywhere by itself, then done again by us.
  auto kill_recovery = [&](std::size_t k) -> std::string {
    SharedImage death(backed_ranges(*segment));
    KillPlan again = plan;
    again.name = one.name + ", recovery after " + std::to_string(k);
    // Every instruction of these would take a quarter of an hour: else they are killed around each store.
    again.max_every = soaking() ? 20'000 : 700;
    again.sample = soaking() ? 2'000 : 100;
    again.prepare = [&] { death.restore(); };
    again.op = [&] { (void)shm::recover_all_dead(*segment, segment.me()); };
    again.shared = death.ranges();
    again.verify = [&](pid_t, std::size_t) { return recover_and_check(); };
    KillReport report = run_kill_plan(again);
    death.restore();
    return report.ok() ? "" : report.line();
  };
  std::size_t deaths = 0, next = 20;
  int recoveries = 0;
  plan.verify = [&](pid_t, std::size_t k) -> std::string {
    if (++deaths >= next && recoveries < one.kills_of_recovery) {
      next = deaths * 4;
      ++recoveries;
      if (std::string wrong = kill_recovery(k); !wrong.empty()) return wrong;
    }
    return recover_and_check();
  };
  KillReport report = run_kill_plan(plan);
  if (soaking() || !report.ok()) WARN(report.line());
  image.restore();
  REQUIRE(report.ok());
}

}  // namespace commonhold::test
