// Three operations on a queue of any kind: a producer and two consumers, and a consumer and two who wait for room, one
// of them with a deadline.
#include "interleave/queue_pair_fixture.h"
#include "interleave/triple_fixture.h"
#include "interleave/world_fixture.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

constexpr std::size_t kFewKinds = 2;

// The sleepers may sleep already.
const std::vector<std::string> kAsleep{"", "B*", "B* C*"};
const std::vector<QueueKind> kOrdered{kByPriority, kLastInFirstOut, kRedelivering, kLastInFirstOutRedelivering,
                                      kByPriorityRedelivering};

// One of the triples, that the seed draws, or all.
template <typename Queue>
void explore_some(QueuePairs<Queue>& pairs, const std::string& name,
                  const std::vector<std::pair<std::string, std::vector<Operation>>>& triples) {
  std::mt19937_64 random(Catch::rngSeed() + std::hash<std::string>()(name));
  for (const auto& [what, operations] : drawn_of(triples, selected(1, triples.size()), random)) {
    explore_and_check(pairs.stage, {name + ": " + what, operations, pairs.observation(), kAsleep});
  }
}

template <typename Queue>
void explore_consumers(const QueueKind& kind) {
  QueuePairs<Queue> pairs(kind);
  explore_some(pairs, kind.name,
               {{"producer, consumer, one in time", {pairs.put("new"), pairs.get(), pairs.get_in_time()}},
                {"producer of many, consumer, one in time",
                 {pairs.put_many({"new", "newer"}), pairs.get(), pairs.get_in_time()}}});
}

// A queue of two that is full.
template <typename Queue>
void explore_producers(QueueKind kind) {
  kind.limit = 2;
  QueuePairs<Queue> pairs(kind);
  pairs.fill({"a", "bb"});
  explore_some(pairs, fmt::format("{}, full", kind.name),
               {{"consumer, producer, one in time", {pairs.get(), pairs.put("new"), pairs.put_in_time("soon")}},
                {"consumer of many, two producers", {pairs.get_many(2), pairs.put("new"), pairs.put("other")}}});
}

}  // namespace

TEST_CASE(
    "an ordered queue's producer and two consumers, one with a deadline, interrupted anywhere, come in an order") {
  const NoLookingByItself nobody_looks;
  std::mt19937_64 random(Catch::rngSeed());
  for (const QueueKind& kind : drawn_of(kOrdered, selected(kFewKinds, kOrdered.size()), random)) {
    explore_consumers<shm::OrderedQueue>(kind);
  }
}

TEST_CASE("a full queue's consumer and two producers, one with a deadline, interrupted anywhere, come in an order") {
  const NoLookingByItself nobody_looks;
  explore_producers<shm::Queue>(QueueKind{});
  std::mt19937_64 random(Catch::rngSeed());
  for (const QueueKind& kind : drawn_of(kOrdered, selected(kFewKinds, kOrdered.size()), random)) {
    explore_producers<shm::OrderedQueue>(kind);
  }
  if (!explores_all()) return;
  QueueKind fixed;
  fixed.name = "queue of 8 bytes";
  fixed.item_bytes = 8;
  explore_producers<shm::Queue>(fixed);
}
