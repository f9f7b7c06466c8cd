// Items of one size from ordered queues, and ordered queues that redeliver: each two of these operations, and each with
// others, one interrupted anywhere by the other. And how long an attempt without a wait waits.
#include <chrono>

#include "interleave/each_access.h"
#include "interleave/queue_pair_fixture.h"
#include "interleave/world_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

constexpr std::size_t kFewPairs = 1;
constexpr const char* kHere = " here";

// As pairs.size(), in words by which may_count_between() knows it.
Operation size_of(const QueuePairs<shm::OrderedQueue>& pairs) {
  return {"size", [&](shm::ThreadContext&) { return std::to_string(pairs.queue.size()) + kHere; }, kNoWait};
}

// What one thread had taken, two items at most here, comes back one by one when it dies: a count beside that may find some.
bool may_count_between(const Outcome& outcome) {
  constexpr std::size_t kMostTaken = 2;
  for (const std::size_t one : {0, 1}) {
    if (!outcome.died[1 - one] || !outcome.results[one].ends_with(kHere)) continue;
    const std::size_t counted = std::stoul(outcome.results[one]), all = std::stoul(outcome.contents);
    return counted <= all && counted + kMostTaken >= all;
  }
  return false;
}

Observation observation_of(QueuePairs<shm::OrderedQueue>& pairs) {
  Observation observation = pairs.observation();
  observation.permits = may_count_between;
  return observation;
}

const std::vector<QueueKind> kAllOrdered{kByPriority, kLastInFirstOut, kRedelivering, kLastInFirstOutRedelivering,
                                         kByPriorityRedelivering};

}  // namespace

TEST_CASE("items of one size are taken from an ordered queue, and other operations done, one after the other") {
  const NoLookingByItself nobody_looks;
  struct State {
    const char* name;
    std::vector<std::string> items;
    bool mixed;  // with one of another size: it stays
  };
  const std::vector<State> states{
      {"empty", {}, false}, {"with two", {"a", "bb"}, false}, {"with two sizes", {"a", "bb"}, true}};
  std::mt19937_64 random(Catch::rngSeed());
  for (QueueKind kind : kAllOrdered) {
    kind.item_bytes = 8;
    for (const State& state : drawn_of(states, selected(1, states.size()), random)) {
      QueuePairs<shm::OrderedQueue> pairs(kind);
      if (state.mixed) {
        REQUIRE(pairs.queue.put(pairs.stage.me(), text("of another size"), 1, shm::Deadline::already()) == Status::kOk);
      }
      pairs.fill(state.items);
      explore_pairs_with(pairs.stage, fmt::format("{} of 8 bytes, {}", kind.name, state.name),
                         {pairs.get_fixed(), pairs.get_many_fixed(2), pairs.put("new")},
                         {pairs.put_many({"many", "more"}), pairs.get(), pairs.get_in_time(), pairs.get_many(2),
                          pairs.peek_and_take(), pairs.get_and_done(), size_of(pairs), pairs.shut_down(true)},
                         observation_of(pairs), kFewPairs);
    }
  }
}

TEST_CASE("operations of a queue that redelivers in another order, and others, are done one after the other") {
  const NoLookingByItself nobody_looks;
  struct State {
    const char* name;
    std::vector<std::string> items;
    std::size_t taken;
    bool back;  // from a consumer
  };
  const std::vector<State> states{{"empty", {}, 0, false},
                                  {"with two", {"a", "bb"}, 0, false},
                                  {"two in flight", {"a", "bb", "ccc"}, 2, false},
                                  {"two that came back", {"a", "bb", "ccc"}, 2, true}};
  for (const QueueKind& kind : {kLastInFirstOutRedelivering, kByPriorityRedelivering}) {
    for (const State& state : states) {
      QueuePairs<shm::OrderedQueue> pairs(kind);
      pairs.fill(state.items);
      pairs.take(state.taken);
      if (state.back) shm::OrderedQueue::owner_ended(pairs.where, pairs.stage.me().owner());
      explore_pairs_with(pairs.stage, fmt::format("{}, {}", kind.name, state.name),
                         {pairs.put("new"), pairs.get(), pairs.get_in_time(), pairs.get_many(2), pairs.get_and_done(),
                          pairs.peek_and_take(), pairs.peek_and_take_many(2), pairs.join_in_time()},
                         {pairs.put_many({"many", "more"}), pairs.get_without_wait(), pairs.task_done(), pairs.join(),
                          size_of(pairs), pairs.unfinished(), pairs.shut_down(true), pairs.shut_down(false),
                          then(pairs.put("new"), pairs.get_without_wait())},
                         observation_of(pairs), kFewPairs);
    }
  }
}

namespace {

// With "too long" in the place of what it ends with when it took longer than the second that it grants a holder.
Operation timed(const Operation& attempt) {
  return {attempt.name, [call = attempt.calls.front()](shm::ThreadContext& me) {
            const auto begin = std::chrono::steady_clock::now();
            const std::string result = call(me);
            const auto time = std::chrono::steady_clock::now() - begin;
            return time > std::chrono::milliseconds(1'010) ? "too long: " + result : result;
          }};
}

}  // namespace

// It grants whoever holds the queue a second, and no more.
TEST_CASE("an attempt without a wait at a queue whose holder is stopped for long ends after a second") {
  const NoLookingByItself nobody_looks;
  PairTotals totals;
  const auto explore = [&](auto& pairs, const std::string& what) {
    pairs.fill({"a", "bb"});
    pairs.stage.save();
    const auto explore_two = [&](const Operation& stopped, const Operation& attempt) {
      explore_schedules(pairs.stage, fmt::format("{}: {} / {} for long", what, stopped.name, attempt.name),
                        {stopped, timed(attempt)}, pairs.observation(), totals, [](Exploration& exploration) {
                          using Kind = Step::Kind;
                          std::mt19937_64 random(Catch::rngSeed());
                          const std::vector<std::size_t> points = exploration.actors().trace(0).switch_points();
                          const Step time{0, Kind::kTime};  // of 0.4 s
                          for (const std::size_t point : drawn_of(points, effort().points, random)) {
                            if (!exploration.goes_on()) break;
                            (void)exploration.run({{0, Kind::kTo, point}, {1}, time, time, time, time, time, {0}});
                          }
                        });
    };
    explore_two(pairs.put("new"), pairs.put_without_wait("now"));
    explore_two(pairs.get(), pairs.get_without_wait());
    explore_two(pairs.get_many(2), pairs.get_without_wait());
  };
  QueuePairs<shm::Queue> ring{QueueKind{}};
  explore(ring, "queue");
  QueuePairs<shm::OrderedQueue> ordered(kByPriorityRedelivering);
  explore(ordered, kByPriorityRedelivering.name);
  print_totals("attempts without a wait at a queue", totals);
}
