// Operations of queues that look at several words, or change several, beside others that change them more than once
// meanwhile: counts, waits for all tasks, falling asleep, items that come back from a dead consumer.
#include <algorithm>
#include <set>

#include "interleave/queue_pair_fixture.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

constexpr std::size_t kFewPairs = 3;

}  // namespace

// Each of a count and a wait for the end of all tasks looks at several words, between which others may change them twice.
TEST_CASE("a count, and a wait for all tasks, beside two changes of a queue find what was there at one moment") {
  const NoLookingByItself nobody_looks;
  const auto explore = [](auto& pairs, const std::string& what) {
    pairs.fill({"a"});
    const std::vector<Operation> changes{then(pairs.get_without_wait(), pairs.put("new")),
                                         then(pairs.put("new"), pairs.get_without_wait()),
                                         then(pairs.put("new"), pairs.task_done())};
    explore_pairs(pairs.stage, what + ", changed twice", each_with({pairs.size(), pairs.join()}, changes),
                  pairs.observation(), kFewPairs);
  };
  QueuePairs<shm::Queue> ring{QueueKind{}};
  explore(ring, "queue");
  QueuePairs<shm::OrderedQueue> by_priority(kByPriority);
  explore(by_priority, "queue by priority");
  QueuePairs<shm::OrderedQueue> redelivering(kRedelivering);
  explore(redelivering, "queue that redelivers");
}

TEST_CASE("counts of a queue that redelivers, beside one that takes several, are those before or after it") {
  const NoLookingByItself nobody_looks;
  QueueKind kind = kRedelivering;
  kind.limit = 3;
  QueuePairs<shm::OrderedQueue> pairs(kind);
  pairs.fill({"taken", "b", "c"});
  pairs.take(1);
  explore_pairs(pairs.stage, "counts of a queue that redelivers",
                each_with({pairs.size(), pairs.unfinished(), pairs.full()},
                          {pairs.get_many(2), pairs.get_and_done(), then(pairs.put("new"), pairs.get_many(3)),
                           then(pairs.get_many(2), pairs.put_many({"new", "newer", "newest"})),
                           then(pairs.task_done(), pairs.get_many(2))}),
                pairs.observation(), kFewPairs);
}

// A process that is about to sleep says so, finds an item all the same, and then sleeps for the next one; the one that put
// the first and found nobody asleep must not say so for it.
TEST_CASE("a consumer that is about to sleep beside a put that wakes somebody is woken by the next put") {
  const NoLookingByItself nobody_looks;
  constexpr std::size_t kConsumer = 0, kProducer = 1, kLastPoints = 8;
  using Kind = Step::Kind;
  QueuePairs<shm::Queue> pairs{QueueKind{}};
  pairs.stage.save();
  const Observation observation = pairs.observation();
  Actors actors(pairs.stage, {then(pairs.get(), pairs.get()), then(pairs.put("a"), pairs.put("b"))}, observation);
  std::size_t schedules = 0;
  const auto run = [&](std::size_t consumer, std::size_t producer) {
    const Schedule schedule{
        {kConsumer, Kind::kTo, consumer}, {kProducer, Kind::kAccess, producer}, {kConsumer}, {kProducer}};
    const Outcome outcome = actors.run(schedule);
    INFO(to_string(schedule));
    CHECK(outcome.wrong.empty());
    CHECK(outcome.results[kConsumer] == "ok a, ok b");
    ++schedules;
    return outcome.accesses[kProducer];
  };
  const std::vector<std::size_t> points = actors.trace(kConsumer).switch_points();
  for (std::size_t i = points.size() - std::min(points.size(), kLastPoints); i < points.size(); ++i) {
    const std::size_t accesses = run(points[i], effort().accesses);
    for (std::size_t j = 1; j <= accesses; ++j) (void)run(points[i], j);
  }
  std::cout << fmt::format("{} schedules\n", schedules) << std::flush;
}

TEST_CASE("operations of a queue with items that came back from a consumer, and others, are done one after the other") {
  const NoLookingByItself nobody_looks;
  QueuePairs<shm::OrderedQueue> pairs(kRedelivering);
  pairs.fill({"back", "back too", "c"});
  pairs.take(2);
  shm::OrderedQueue::owner_ended(pairs.where, pairs.stage.me().owner());
  explore_pairs_with(pairs.stage, "queue with items that came back",
                     {pairs.get(), pairs.get_many(2), pairs.get_and_done(), pairs.peek_and_take()},
                     {pairs.put("new"), then(pairs.put("new"), pairs.get_without_wait()), pairs.peek_and_take_many(3),
                      pairs.shut_down(true)},
                     pairs.observation(), kFewPairs);
  explore_pairs(
      pairs.stage, "counts of a queue with items that came back",
      each_with({pairs.size(), pairs.unfinished(), pairs.full()},
                {pairs.get_and_done(), pairs.put("new"), pairs.peek_and_take(), pairs.get_many(2), pairs.get_many(3),
                 then(pairs.get_many(3), pairs.put("new")), then(pairs.get_without_wait(), pairs.get_many(2)),
                 then(pairs.put("new"), pairs.get_without_wait()), then(pairs.get_without_wait(), pairs.put("new"))}),
      pairs.observation(), kFewPairs);
}

// They come back one after the other, while somebody looks through them.
TEST_CASE("of several items that come back at once the first comes out first, whoever looks for one meanwhile") {
  const NoLookingByItself nobody_looks;
  constexpr std::size_t kConsumer = 0, kDead = 1;
  using Kind = Step::Kind;
  const auto explore = [](auto make_get, const std::set<std::string>& expected) {
    QueuePairs<shm::OrderedQueue> pairs(kRedelivering);
    pairs.fill({"a", "b", "c"});
    // Some came back before: who comes next looks for them.
    pairs.take(2);
    shm::OrderedQueue::owner_ended(pairs.where, pairs.stage.me().owner());
    pairs.stage.save();
    const Observation observation = pairs.observation();
    Actors actors(pairs.stage, {make_get(pairs), then(pairs.get_many(2), pairs.size())}, observation);
    const auto run = [&](const Schedule& schedule) {
      INFO(to_string(schedule));
      const Outcome outcome = actors.run(schedule);
      CHECK(outcome.wrong.empty());
      return outcome;
    };
    const std::size_t accesses = run({{kDead, Kind::kCall}, {kConsumer, Kind::kAccess, 1'000'000}}).accesses[kConsumer];
    std::set<std::string> results;
    for (std::size_t i = 1; i <= accesses; ++i) {
      results.insert(run({{kDead, Kind::kCall}, {kConsumer, Kind::kAccess, i}, {kDead, Kind::kKill}, {kConsumer}})
                         .results[kConsumer]);
    }
    CHECK(results == expected);
  };
  explore([](auto& pairs) { return pairs.get(); }, {"ok a", "ok c"});
  explore([](auto& pairs) { return pairs.get_many(3); }, {"ok|a|b|c", "ok|c"});
}

// Several may recover one dead process, and what they return may be taken again while one of them is still at it.
TEST_CASE("an item that a dead consumer had taken comes back once, whoever else returns it or takes it") {
  const NoLookingByItself nobody_looks;
  QueuePairs<shm::OrderedQueue> pairs(kRedelivering);
  pairs.fill({"taken"});
  pairs.take(1);
  const Operation give_back{"return", [&pairs, owner = pairs.stage.me().owner()](shm::ThreadContext&) {
                              shm::OrderedQueue::owner_ended(pairs.where, owner);
                              return std::string("returned");
                            }};
  Observation observation = pairs.observation();
  // Whoever recovers one that died in the middle of it begins anew, which nobody does here: the consumer is alive.
  observation.permits = [](const Outcome& outcome) {
    return (outcome.died[0] || outcome.died[1]) && outcome.contents == "1 taken|, 1 unfinished, ended 0";
  };
  pairs.stage.save();
  PairTotals totals;
  for (const Operation& other : {then(give_back, pairs.get_without_wait()), pairs.get()}) {
    PairPlan plan{.name = "item of a dead consumer: return / " + other.name,
                  .first = give_back,
                  .second = other,
                  .observation = observation};
    plan.seed = Catch::rngSeed();
    plan.most_points = std::max<std::size_t>(plan.most_points, 40);
    explore_and_add(pairs.stage, plan, totals);
  }
  print_figures("items of a dead consumer", totals);
}
