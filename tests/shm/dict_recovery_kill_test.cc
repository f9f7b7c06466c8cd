// A second death while the first is being recovered; and recovery without a server, by whoever waits.
#include <catch2/catch.hpp>
#include <iostream>
#include <random>

#include "shm/dict_spread.h"
#include "shm/dict_staging.h"
#include "shm/recovery.h"
#include "support/dict_kill_cases.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

// A few of the kill points that come one after another: ever further apart, so that long operations get few more than
// short ones.
class FewOf {
 public:
  explicit FewOf(std::size_t first) : next_(first) {}
  bool take() {
    if (seen_++ < next_) return false;
    next_ += 1 + next_ / 2 + random_() % 3;
    return true;
  }

 private:
  std::size_t seen_ = 0, next_;
  std::minstd_rand random_{Catch::rngSeed()};
};

// In the middle of a step that recovery has to complete: a committed redo record, a split.
bool is_half_done(const DictKillStage& dict, std::uint64_t shards) {
  for (std::uint32_t t = 0; t < 16; ++t) {
    if (dict.stage.segment->thread(t).redo.load() != 0) return true;
  }
  auto& control = *dict.stage.segment->at<shm::DictControl>(dict.where.control);
  for (std::uint64_t i = 0; i < shards; ++i) {
    if (shm::dict_shard(control, i).unfinished != 0) return true;
  }
  const shm::DictShards first = shm::first_shard(*dict.stage.segment, control);
  return first.size() != 0 && first[0].unfinished != 0;
}

struct Totals {
  std::size_t plans = 0, instructions = 0, kills = 0, failures = 0;
};

// Recovers the dead one in a process that is killed everywhere; the caller then recovers both.
std::string kill_recoverers(DictKillStage& dict, Totals& totals) {
  test::SharedImage dead(dict.stage.ranges());
  std::string wrong = dict.stage.recover();
  if (wrong.empty()) wrong = dict.check();
  if (!wrong.empty()) return wrong;
  bool took_effect = dict.took_effect();

  KillPlan plan = dict.stage.plan(
      "recovery", [&](shm::ThreadContext& recoverer) { (void)shm::recover_all_dead(*dict.stage.segment, recoverer); });
  plan.prepare = [&] { dead.restore(); };
  plan.max_every = soaking() ? 20'000 : 100;  // the exhaustive run takes a quarter of an hour
  plan.sample = soaking() ? 25 : 8;
  plan.max_store_row = 2;
  plan.verify = [&](pid_t, std::size_t) {
    std::string broken = dict.stage.recover(1, 2);
    if (broken.empty()) broken = dict.check();
    if (broken.empty() && dict.took_effect() != took_effect) broken = "the second recovery decided otherwise";
    return broken;
  };
  KillReport report = run_kill_plan(plan);
  ++totals.plans;
  totals.instructions = std::max(totals.instructions, report.instructions);
  totals.kills += report.kills;
  totals.failures += report.failures.size();
  return report.ok() ? "" : report.line();
}

// A live process finds all in order although nobody recovers: it waits for the dead one's locks.
std::string use_without_recovery(DictKillStage& dict) {
  pid_t waiter = spawn([&] {
    alarm(20);
    std::vector<shm::DictEntryCopy> entries;
    (void)dict.dict->snapshot(dict.stage.me(), entries);
    // A reader may leave the dead one to others: writers wait for its locks.
    auto& control = *dict.stage.segment->at<shm::DictControl>(dict.where.control);
    if (const auto first = shm::first_shard(*dict.stage.segment, control); first.size() != 0) {
      shm::HeldLock held(dict.stage.me(), first[0].writing);
    }
    const shm::DictShards shards(*dict.stage.segment, control);
    for (std::uint64_t i = 0; i < shards.size(); ++i) shm::HeldLock held(dict.stage.me(), shards[i].writing);
    // Nobody but the next large batch needs to wait for what one had written.
    { const shm::DictStaging next(dict.stage.me(), dict.where, control, shards); }
    std::string wrong = dict.check();
    if (!wrong.empty()) throw std::runtime_error(wrong);
    dict.stage.segment->leave();
  });
  int status = wait_for(waiter);
  if (status == -SIGALRM) return "a process is stuck without a server";
  return status != 0 ? "a process without a server found the dict broken" : dict.stage.recover(0, 1);
}

void kill_sampled(const std::vector<DictCase>& cases,
                  const std::function<std::string(DictKillStage&, Totals&)>& verify) {
  for (const DictCase& dict_case : cases) {
    DictKillStage dict(dict_case);
    KillPlan plan = dict.plan();
    FewOf few(1 + Catch::rngSeed() % 4), few_half_done(1);
    Totals totals;
    plan.max_every = 0;
    plan.sample = 10;
    plan.max_store_row = soaking() ? 2 : 1;  // of a value's words only one end, or the test takes minutes more
    // The victim takes a session and a slot behind those that its recoverer gets: whoever recovers all in their order
    // comes to the recoverer first.
    plan.enter = [&dict, join = plan.enter] {
      auto& session = dict.stage.segment->session(1).state;
      auto& slot = dict.stage.segment->thread(1).claim;
      shm::Word free_session = session.exchange(1), free_slot = slot.exchange(1);
      join();
      session.store(free_session);
      slot.store(free_slot);
    };
    plan.verify = [&](pid_t, std::size_t) {
      bool take = is_half_done(dict, dict_case.shards) ? few_half_done.take() : few.take();
      return take ? verify(dict, totals) : std::string();
    };
    KillReport report = run_kill_plan(plan);
    INFO(report.line());
    CHECK(report.ok());
    std::cout << report.name << ": " << totals.plans << " states after a kill, recoveries of at most "
              << totals.instructions << " instructions, " << totals.kills << " kills in them, " << totals.failures
              << " failures\n"
              << std::flush;
  }
}

void kill_twice(const std::vector<DictCase>& cases) {
  kill_sampled(cases, kill_recoverers);
}

}  // namespace

TEST_CASE("a recoverer of an insertion may be killed anywhere") {
  kill_twice(dict_insertions());
}
TEST_CASE("a recoverer of a growing table may be killed anywhere") {
  kill_twice(dict_growth());
}
TEST_CASE("a recoverer of a dict that spreads may be killed anywhere") {
  kill_twice(dict_spreading());
}
TEST_CASE("a recoverer of an overwritten value may be killed anywhere") {
  kill_twice(dict_overwrites());
}
TEST_CASE("a recoverer of a large value may be killed anywhere") {
  kill_twice(dict_large_values());
}
TEST_CASE("a recoverer of an erasure may be killed anywhere") {
  kill_twice(dict_erasures());
}
TEST_CASE("a recoverer of several keys may be killed anywhere") {
  kill_twice(dict_batches());
}
TEST_CASE("a recoverer of a cleared dict may be killed anywhere") {
  kill_twice(dict_clearings());
}
TEST_CASE("a recoverer of recycled blocks may be killed anywhere") {
  kill_twice(dict_recycling());
}
TEST_CASE("a recoverer of pinned blocks may be killed anywhere") {
  kill_twice(dict_pins());
}

TEST_CASE("without a server, who waits for a dead writer's lock finds all in order") {
  for (auto cases : {dict_insertions(), dict_growth(), dict_spreading(), dict_overwrites(), dict_large_values(),
                     dict_erasures(), dict_batches(), dict_clearings(), dict_recycling()}) {
    kill_sampled(cases, [](DictKillStage& dict, Totals& totals) {
      ++totals.plans;
      return use_without_recovery(dict);
    });
  }
}
