// A recovery that is held up at each of its accesses, of a batch that its writer had committed, and not applied, when it
// died: nobody sees a part of the batch, and nobody repairs the dict before the rest of it is there.
#include <optional>

#include "interleave/dict_pair_fixture.h"
#include "interleave/each_access.h"
#include "interleave/world_fixture.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

constexpr std::size_t kKeys = 4;
constexpr std::size_t kUpToTheBatch = 300;  // accesses: a recovery that applies a batch has made about a hundred

bool is_batch_committed(const shm::Segment& segment) {
  for (std::uint32_t thread = 0; thread < segment.threads_used(); ++thread) {
    if (segment.thread(thread).redo.load() != 0) return true;
  }
  return false;
}

// A dict in which the writer of a batch has died: right after it committed it, or later, before the batch was applied.
struct CommittedBatch {
  CommittedBatch() {
    Entries entries;
    for (std::size_t i = 0; i < kKeys; ++i) entries.emplace_back(key_number(i), "of the batch");
    const Operation batch = pairs.put_many(entries);
    dying.emplace(pairs.stage, batch.calls[0]);
    for (const std::size_t point : dying->points()) {
      dying->die_before(point);
      if (is_batch_committed(*pairs.stage.segment)) points.push_back(point);
    }
    REQUIRE(points.size() > kKeys);
  }
  DictPairs pairs{4, kKeys};
  std::optional<DyingOperation> dying;
  std::vector<std::size_t> points;  // where it dies with the batch committed
};

}  // namespace

TEST_CASE("who reads a dict key by key while a dead writer's batch is applied sees nothing, then all of it") {
  CommittedBatch batch;
  batch.dying->die_before(batch.points.front());
  Operation forwards = batch.pairs.get(key_number(0)), backwards = batch.pairs.get(key_number(kKeys - 1));
  for (std::size_t i = 1; i < kKeys; ++i) {
    forwards = then(forwards, batch.pairs.get(key_number(i)));
    backwards = then(backwards, batch.pairs.get(key_number(kKeys - 1 - i)));
  }
  PairTotals totals;
  const Observation observation = batch.pairs.observation();
  for (const Operation& reader : {forwards, backwards}) {
    explore_each_access(batch.pairs.stage,
                        {.name = "committed batch",
                         .interrupted = recovery_of_all(),
                         .other = reader,
                         .observation = observation,
                         .most = kUpToTheBatch},
                        totals);
  }
  print_totals("readers beside the recovery of a committed batch", totals);
}

TEST_CASE("who waits for a dead writer's lock does not repair its dict before the batch that it committed is applied") {
  CommittedBatch batch;
  PairTotals totals;
  const Observation observation = batch.pairs.observation();
  for (const std::size_t point : {batch.points.front(), batch.points[batch.points.size() / 2]}) {
    batch.dying->die_before(point);
    for (const Operation& writer : {batch.pairs.put(key_number(0), "later"), batch.pairs.clear()}) {
      explore_each_access(batch.pairs.stage,
                          {.name = fmt::format("batch, died before instruction {}", point),
                           .interrupted = recovery_of_all(),
                           .other = writer,
                           .observation = observation,
                           .ends = {Interrupted::kStaysLong}},
                          totals);
    }
  }
  print_totals("writers beside a recovery that is stopped in a committed batch", totals);
}
