// Three operations on an event, a condition, a barrier, a queue or a value: a waker, a sleeper and a sleeper that times out.
#include "interleave/triple_fixture.h"
#include "interleave/value_pair_fixture.h"
#include "interleave/waits.h"
#include "shm/barrier.h"
#include "shm/condition.h"
#include "shm/event.h"
#include "shm/queue.h"
#include "support/queue_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::Status;
using shm::ThreadContext;

namespace {

// The sleepers may sleep already.
const std::vector<std::string> kAsleep{"", "B*", "B* C*"};

}  // namespace

TEST_CASE("an event's waker and two sleepers, one with a deadline, interrupted anywhere, come in an order") {
  KillStage stage;
  const shm::Event event(stage.segment.make({shm::ObjectKind::kEvent, "", "event"}));
  const Operation set{"set", [&](ThreadContext& me) {
                        event.set(me);
                        return std::string("set");
                      }};
  const Operation wait{"wait", [&](ThreadContext&) { return word_of(event.wait(Deadline::never())); }};
  const Operation soon{"wait in time", [&](ThreadContext&) { return word_of(event.wait(Deadline::after(kShortWait))); },
                       kShortWaitAtMost};
  const Observation observation{[&] { return std::string(event.is_set() ? "set" : "clear"); },
                                [] { return std::string(); }};
  explore_and_check(stage, {"event: waker, sleeper, one in time", {set, wait, soon}, observation, kAsleep});
}

TEST_CASE("a condition's waker and two sleepers, one with a deadline, interrupted anywhere, come in an order") {
  KillStage stage;
  const shm::Condition condition(stage.segment.make({shm::ObjectKind::kCondition, "", "condition", {}}));
  const Call acquire = [&](ThreadContext& me) { return word_of(condition.acquire(me)); };
  const Call release = [&](ThreadContext& me) { return word_of(condition.release(me)); };
  const Call wait = [&](ThreadContext& me) { return word_of(condition.wait(me)); };
  const Call soon = [&](ThreadContext& me) { return word_of(condition.wait(me, Deadline::after(kShortWait))); };
  const Call one = [&](ThreadContext& me) { return word_of(condition.notify(me, 1)); };
  const Call all = [&](ThreadContext& me) { return word_of(condition.notify(me, ~std::uint64_t{0})); };
  const Operation sleeper{"wait", {acquire, wait, release}}, in_time{"wait in time", {acquire, soon, release}};
  const Observation observation{[&] { return fmt::format("{} wait", condition.waiting()); },
                                [] { return std::string(); }};
  explore_and_check(stage, {"condition: waker of one, sleeper, one in time",
                            {{"notify one", {acquire, one, release}}, sleeper, in_time},
                            observation,
                            kAsleep});
  explore_and_check(stage, {"condition: waker of all, sleeper, one in time",
                            {{"notify all", {acquire, all, release}}, sleeper, in_time},
                            observation,
                            kAsleep});
}

TEST_CASE("three parties of a barrier, one with a deadline, interrupted anywhere, come in an order") {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kBarrier, "", "barrier", {3}});
  const shm::Barrier barrier(where);
  const auto wait = [&](ThreadContext& me, Deadline deadline) {
    shm::Barrier::Arrival arrival;
    const Status status = barrier.wait(me, deadline, false, arrival);
    return word_of(status) + (status == Status::kOk ? fmt::format(" {}", arrival.index) : "");
  };
  const Operation party{"wait", [&](ThreadContext& me) { return wait(me, Deadline::never()); }};
  const Operation soon{"wait in time", [&](ThreadContext& me) { return wait(me, Deadline::after(kShortWait)); },
                       kShortWaitAtMost};
  explore_and_check(
      stage, {"barrier: three, one in time",
              {party, party, soon},
              {[&] { return fmt::format("{} inside, {}", barrier.waiting(), barrier.broken() ? "broken" : "whole"); },
               [&] { return shm::Barrier::audit(stage.me(), where); }},
              {"", "A*", "A* C*"}});
}

TEST_CASE("a queue's producer and two consumers, one with a deadline, interrupted anywhere, come in an order") {
  const NoLookingByItself nobody_looks;
  KillStage stage;
  const shm::Queue queue(make_queue(stage.segment, 0, 2));
  const auto get = [&queue](ThreadContext& me, Deadline deadline) {
    std::string item;
    const Status status = queue.get(me, item, deadline);
    return status == Status::kOk ? fmt::format("{} {}", word_of(status), shown(item)) : word_of(status);
  };
  const Operation put{"put", [&](ThreadContext& me) { return word_of(queue.put(me, text("new"), Deadline::never())); }};
  const Operation take{"get", [=](ThreadContext& me) { return get(me, Deadline::never()); }};
  const Operation soon{"get in time", [=](ThreadContext& me) { return get(me, Deadline::after(kShortWait)); },
                       kShortWaitAtMost};
  const Observation observation{[&] { return state_of(queue); }, [&] { return what_is_wrong(stage.segment, queue); }};
  explore_and_check(stage, {"queue: producer, consumer, one in time", {put, take, soon}, observation, kAsleep});
  explore_and_check(stage, {"queue: two producers, consumer", {put, take, put}, observation, {"", "B*"}});
}

TEST_CASE("the last task_done of a queue and two who join it, one with a deadline, interrupted anywhere") {
  const NoLookingByItself nobody_looks;
  KillStage stage;
  const shm::Queue queue(make_queue(stage.segment, 0, 2));
  std::string item;
  REQUIRE(queue.put(stage.me(), text("task"), Deadline::already()) == Status::kOk);
  REQUIRE(queue.get(stage.me(), item, Deadline::already()) == Status::kOk);
  const Operation done{"task done", [&](ThreadContext& me) { return word_of(queue.task_done(me)); }};
  const Operation join{"join", [&](ThreadContext& me) { return word_of(queue.join(me, Deadline::never())); }};
  const Operation soon{"join in time",
                       [&](ThreadContext& me) { return word_of(queue.join(me, Deadline::after(kShortWait))); },
                       kShortWaitAtMost};
  const Observation observation{[&] { return fmt::format("{} {}", state_of(queue), queue.unfinished()); },
                                [&] { return what_is_wrong(stage.segment, queue); }};
  explore_and_check(stage, {"queue: last task done, two join, one in time", {done, join, soon}, observation, kAsleep});
}

TEST_CASE("a value's writer and two who wait for a change, one with a deadline, interrupted anywhere") {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kValue, "", "value", {8}});
  const auto value = proxy_of<Value<std::int64_t>, shm::Value>(stage.segment, where);
  std::vector<Operation> operations{
      {"store",
       [&](ThreadContext&) {
         value.store(1);
         return std::string("stored");
       }},
      {"wait", [&](ThreadContext&) { return printed(value.wait(0)); }},
      {"wait in time", [&](ThreadContext&) { return fmt::format("{}", value.wait_for(0, kShortWait)); },
       kShortWaitAtMost}};
  refer_to(stage.segment, where, operations);
  const Observation observation{[&] { return printed(value.load()); }, [] { return std::string(); }};
  explore_and_check(
      stage,
      {"value: writer, waiter, one in time", {operations[0], operations[1], operations[2]}, observation, kAsleep});
}
