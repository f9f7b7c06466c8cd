// A process that joins beside two recoveries of one that died: its session may be the very record of the dead one.
#include <chrono>

#include "interleave/world_fixture.h"
#include "shm/dict.h"
#include "shm/references.h"
#include "shm/semaphore.h"
#include "support/link_ground.h"
#include "support/process_shared.h"

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

// Who helps a recovery that is under way has seen that the session is dead; when it comes to the permits, that recovery
// may be over, and the record have a user who holds permits of its own.
TEST_CASE("whoever helps a recovery does not give back a permit of the process that joins in the dead one's record") {
  constexpr std::size_t kRecoverer = 0, kHelper = 1, kAll = 10'000;
  using Kind = Step::Kind;
  KillStage stage;
  const shm::Semaphore semaphore(stage.segment.make({shm::ObjectKind::kSemaphore, "", "semaphore", {1}}));
  Shared<std::atomic<std::uint32_t>> dead;
  DyingOperation dying(stage, [&](ThreadContext& me) {
    *dead = shm::index_of(me.session());
    return word_of(semaphore.acquire(me));
  });
  dying.die_before(dying.points().back());
  REQUIRE(semaphore.value() == 0);
  const auto state_of_dead = [&] { return shm::session_state(stage.segment->session(*dead).state); };
  const Call join = [&](ThreadContext&) {
    stage.segment->leave();
    return std::string(stage.segment->here() != nullptr ? "joined" : "refused");
  };
  const Call acquire = [&](ThreadContext&) { return word_of(semaphore.acquire(*stage.segment->here())); };
  const Operation recoverer{"recovery, join and acquire", {recovery_of_all().calls[0], join, acquire}};
  const Operation helper{"help", [&](ThreadContext& me) {
                           (void)shm::recover_session(*stage.segment, me, shm::SessionIndex{dead->load()});
                           return std::string(state_of_dead() == shm::SessionState::kRecovering ? "helped" : "done");
                         }};
  const Observation observation{
      [&] { return fmt::format("{} free, {} held", semaphore.value(), semaphore.held_by_all(stage.me())); },
      [] { return std::string(); }};
  Actors actors(stage, {recoverer, helper}, observation);
  PairTotals totals{.pairs = 1};
  const auto start = std::chrono::steady_clock::now();
  const auto run = [&](const Schedule& schedule) {
    const Outcome outcome = actors.run(schedule);
    INFO(to_string(schedule));
    CHECK(outcome.wrong.empty());
    CHECK(outcome.results[kRecoverer] == "recovered, joined, ok");
    CHECK(outcome.contents == "0 free, 1 held");
    ++totals.schedules;
    return outcome;
  };
  // The recovery is held up where it has just claimed the dead session.
  std::size_t claimed = 1;
  while (run({{kRecoverer, Kind::kAccess, claimed}, {kHelper}}).results[kHelper] != "helped") {
    REQUIRE(++claimed < kAll);
  }
  const Step to_claim{kRecoverer, Kind::kAccess, claimed}, recoverer_on{kRecoverer}, helper_on{kHelper};
  const std::size_t all = run({to_claim, {kHelper, Kind::kAccess, kAll}}).accesses[kHelper];
  for (std::size_t i = 1; i <= all; ++i) {
    const Step to{kHelper, Kind::kAccess, i};
    (void)run({to_claim, to, recoverer_on, helper_on});
    (void)run({to_claim, to, recoverer_on, {kHelper, Kind::kTime}, helper_on});
  }
  totals.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  print_totals("help beside a join in the dead one's record", totals);
}
