// A fill of an array beside a change of one element that depends on what the element was, each held up at each of its
// accesses while the other goes on, and the fill dying at last: what the change made of the fill is not filled over by
// the recovery of it, and what it made of the value before does not come after the fill.
#include <array>
#include <atomic>

#include "interleave/each_access.h"
#include "shm/array.h"
#include "support/further_operations.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::ThreadContext;

TEST_CASE("a change of an element that was announced or let in beside a fill is not lost, wherever either is held up") {
  constexpr std::size_t kCount = 0, kFill = 1, kAll = 10'000;
  using Kind = Step::Kind;
  KillStage stage;
  const shm::ObjectAddress where = stage.segment.make({shm::ObjectKind::kArray, "", "array", {2, 4}});
  const shm::Array array(where);
  // As what programs have inline does it, once it has seen a mark: with the library's part alone.
  const Call count = [&](ThreadContext& me) {
    const bool announced = array.begin_change(me, 1);
    auto& element = reinterpret_cast<std::atomic<std::int32_t>*>(array.data())[1];
    const std::int32_t before = element.load();
    element.store(before + 1);
    array.end_change(me, announced);
    return std::to_string(before);
  };
  const Call fill = [&](ThreadContext& me) {
    const std::int32_t seven = 7;
    return word_of(array.fill(me, 0, 2, &seven));
  };
  const Observation observation{[&] {
                                  std::array<std::int32_t, 2> all{};
                                  (void)array.read(stage.me(), 0, 2, all.data());
                                  return fmt::format("{} {}", all[0], all[1]);
                                },
                                [] { return std::string(); }, [&] { return works(array, 2, 4, stage.me()); }};
  stage.save();
  PairTotals totals;
  explore_schedules(
      stage, "array of 4 bytes: count / fill", {{"count", count}, {"fill", fill}}, observation, totals,
      [](Exploration& exploration) {
        // With the count held up, and then the fill in what it does beside it: the count goes on to its end, and the
        // fill dies. With the fill held up, and then the count: the fill goes on to its end, and the count after it.
        for (const std::size_t first : {kCount, kFill}) {
          const std::size_t second = 1 - first;
          const Step second_ends{second, first == kCount ? Kind::kKill : Kind::kOn};
          for (const std::size_t point : exploration.actors().trace(first).switch_points()) {
            const Step to{first, Kind::kTo, point};
            const std::size_t all = exploration.run({to, {second, Kind::kAccess, kAll}}).accesses[second];
            for (std::size_t i = 1; i <= all && exploration.goes_on(); ++i) {
              (void)exploration.run({to, {second, Kind::kAccess, i}, {first}, second_ends});
            }
          }
        }
      });
  print_figures("array, a count held up beside a fill: 1 pair", totals);
}
