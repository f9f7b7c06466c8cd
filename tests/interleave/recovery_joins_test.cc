// A process that joins beside two recoveries of one that died: its session may be the very record of the dead one.
#include "interleave/world_fixture.h"
#include "shm/dict.h"
#include "shm/references.h"
#include "support/link_ground.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::ObjectId;
using shm::Status;
using shm::ThreadContext;

TEST_CASE("whoever joins in the record of a dead process is not taken for it by another recovery") {
  KillStage stage;
  const ObjectId outer = make_object(stage.segment, shm::ObjectKind::kDict, "outer");
  const ObjectId inner = make_object(stage.segment, shm::ObjectKind::kLock, "inner");
  shm::Dict dict(address_of(stage.segment, outer));
  const Call refer = [&](ThreadContext&) { return word_of(shm::add_reference(*stage.segment, inner)); };
  const Call join = [&](ThreadContext&) {
    stage.segment->leave();
    return std::string(stage.segment->here() != nullptr ? "joined" : "refused");
  };
  const Call put = [&](ThreadContext&) { return word_of(dict.put(*stage.segment->here(), text("k"), text("v"))); };
  const Operation joins{"recovery, join and refer", {recovery_of_all().calls[0], join, refer, put}};
  const Observation observation{[&] {
                                  return fmt::format("{} references, {} entries",
                                                     shm::count_references(*stage.segment, inner), dict.size());
                                },
                                [&] { return dict.audit(stage.me()).error; }, nullptr};
  PairTotals totals;
  // Everywhere: between the last look at the dead process and the claim of its record are few instructions.
  constexpr std::size_t kEverywhere = 400;
  DyingOperation dying(stage, put);
  const std::vector<std::size_t> points = dying.points();
  const std::size_t middle = points[points.size() / 2];
  dying.die_before(middle);
  explore_beside(stage, fmt::format("a join, died before instruction {} of a put", middle), {recovery_of_all()},
                 {joins}, observation, totals, {kEverywhere, places({4, 4}).twice});
  print_totals("joins beside a recovery", totals);
}
