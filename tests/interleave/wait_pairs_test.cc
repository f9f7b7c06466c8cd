// Each two operations on an event, a condition and a barrier, one interrupted anywhere by the other.
#include <memory>
#include <optional>

#include "interleave/each_access.h"
#include "interleave/waits.h"
#include "shm/barrier.h"
#include "shm/condition.h"
#include "shm/event.h"
#include "support/further_operations.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::Status;
using shm::ThreadContext;

namespace {

Operation abort_of(const shm::Barrier& barrier) {
  return {"abort", [&](ThreadContext& me) {
            barrier.abort(me);
            return std::string("aborted");
          }};
}

Operation reset_of(const shm::Barrier& barrier) {
  return {"reset", [&](ThreadContext& me) { return word_of(barrier.reset(me)); }};
}

Observation observation_of(const KillStage& stage, const shm::ObjectAddress& where, const shm::Barrier& barrier) {
  return {[&] { return fmt::format("{} inside, {}", barrier.waiting(), barrier.broken() ? "broken" : "whole"); },
          [&] { return shm::Barrier::audit(stage.me(), where); }, [&] { return works(barrier, stage.me()); }};
}

}  // namespace

TEST_CASE("two operations on an event, one of them interrupted anywhere, are done one after the other") {
  KillStage stage;
  const shm::Event event(stage.segment.make({shm::ObjectKind::kEvent, "", "event"}));
  const std::vector<Operation> operations{
      {"wait", [&](ThreadContext&) { return word_of(event.wait(Deadline::never())); }},
      {"wait in time", [&](ThreadContext&) { return word_of(event.wait(Deadline::after(kShortWait))); },
       kShortWaitAtMost},
      {"set",
       [&](ThreadContext& me) {
         event.set(me);
         return std::string("set");
       }},
      {"clear",
       [&](ThreadContext&) {
         event.clear();
         return std::string("cleared");
       }},
  };
  explore_all_pairs(stage, "event", operations,
                    {[&] { return std::string(event.is_set() ? "set" : "clear"); }, [] { return std::string(); },
                     [&] { return works(event, stage.me()); }});
}

TEST_CASE("two operations on a barrier, one of them interrupted anywhere, are done one after the other") {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kBarrier, "", "barrier", {2}});
  const shm::Barrier barrier(where);
  const auto wait = [&](ThreadContext& me, Deadline deadline) {
    shm::Barrier::Arrival arrival;
    const Status status = barrier.wait(me, deadline, false, arrival);
    return word_of(status) + (status == Status::kOk ? fmt::format(" {}", arrival.index) : "");
  };
  const std::vector<Operation> operations{
      {"wait", [&](ThreadContext& me) { return wait(me, Deadline::never()); }},
      {"wait in time", [&](ThreadContext& me) { return wait(me, Deadline::after(kShortWait)); }, kShortWaitAtMost},
      abort_of(barrier),
      reset_of(barrier),
  };
  explore_all_pairs(stage, "barrier", operations, observation_of(stage, where, barrier));
}

TEST_CASE("two operations on a condition, one of them interrupted anywhere, are done one after the other") {
  KillStage stage;
  const shm::Condition condition(stage.segment.make({shm::ObjectKind::kCondition, "", "condition", {}}));
  const Call acquire = [&](ThreadContext& me) { return word_of(condition.acquire(me)); };
  const Call release = [&](ThreadContext& me) { return word_of(condition.release(me)); };
  const Call wait = [&](ThreadContext& me) { return word_of(condition.wait(me)); };
  const Call wait_in_time = [&](ThreadContext& me) { return word_of(condition.wait(me, Deadline::after(kShortWait))); };
  const auto notify = [&](std::uint64_t most) {
    return [&, most](ThreadContext& me) { return word_of(condition.notify(me, most)); };
  };
  const std::vector<Operation> operations{
      {"wait", {acquire, wait, release}},
      {"notify one", {acquire, notify(1), release}},
      {"notify all", {acquire, notify(~std::uint64_t{0}), release}},
      {"acquire and release", {acquire, release}},
      // It has its lock again before it returns, and so waits longer for one that is stopped and holds the lock.
      {"wait in time", {acquire, wait_in_time, release}},
  };
  explore_all_pairs(stage, "condition", operations,
                    {[&] { return fmt::format("{} wait", condition.waiting()); }, [] { return std::string(); },
                     [&] { return works(condition, stage.me()); }, wait_in_vain});
}

TEST_CASE(
    "who waits in a condition gives its lock up at any depth, and does not touch the depth of the next who has it") {
  using Kind = Step::Kind;
  KillStage stage;
  const shm::Condition condition(stage.segment.make({shm::ObjectKind::kCondition, "", "condition", {}}));
  const Call acquire = [&](ThreadContext& me) { return word_of(condition.acquire(me)); };
  const Call release = [&](ThreadContext& me) { return word_of(condition.release(me)); };
  const Call wait = [&](ThreadContext& me) { return word_of(condition.wait(me)); };
  const Call notify = [&](ThreadContext& me) { return word_of(condition.notify(me, 1)); };
  const Observation observation{
      [&] { return fmt::format("{} wait, {}", condition.waiting(), condition.base().locked() ? "locked" : "free"); },
      [] { return std::string(); }, [&] { return works(condition, stage.me()); }};
  stage.save();
  const std::vector<Operation> operations{{"wait, deep", {acquire, acquire, wait, release, release}},
                                          {"notify, deep", {acquire, acquire, notify, release, release}}};
  PairTotals totals;
  explore_schedules(stage, "condition: wait, deep / notify, deep", operations, observation, totals,
                    [](Exploration& exploration) {
                      // The other has the lock as soon as it is free, while who begins to wait goes on until it sleeps.
                      for (const std::size_t point : exploration.actors().trace(0).switch_points()) {
                        if (!exploration.goes_on()) break;
                        (void)exploration.run({{0, Kind::kTo, point}, {1, Kind::kCall}, {0}, {1}});
                      }
                    });
  print_figures("condition, a deep lock: 1 pair", totals);
}

TEST_CASE("two parties of a barrier with an action, one of them interrupted anywhere, come one after the other") {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kBarrier, "", "barrier", {2}});
  const shm::Barrier barrier(where);
  // The last party runs the action between its two calls. While an action runs time does not matter, so a wait in time
  // may be long.
  const auto party = [&](const std::string& name, std::optional<std::chrono::nanoseconds> time, bool succeeds) {
    struct Came {
      Status status = Status::kOk;
      shm::Barrier::Arrival arrival;
    };
    const auto came = std::make_shared<Came>();
    return Operation{name,
                     {[&, came, time](ThreadContext& me) {
                        const Deadline deadline = time ? Deadline::after(*time) : Deadline::never();
                        came->status = barrier.wait(me, deadline, true, came->arrival);
                        const bool acts = came->status == Status::kOk && came->arrival.must_act;
                        return word_of(came->status) + (acts ? " to act" : "");
                      },
                      [&, came, succeeds](ThreadContext& me) {
                        const bool acts = came->status == Status::kOk && came->arrival.must_act;
                        return acts ? word_of(barrier.finish_action(me, came->arrival, succeeds)) : std::string("-");
                      }}};
  };
  const std::vector<Operation> operations{
      party("wait and act", {}, true),
      party("wait in time and act", kShortWait, true),
      party("wait and fail", {}, false),
      abort_of(barrier),
      reset_of(barrier),
  };
  explore_all_pairs(stage, "barrier with an action", operations, observation_of(stage, where, barrier), 6);
}
