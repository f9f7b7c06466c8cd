// References to what nothing keeps, taken while the sweep is at it: one interrupted at every access by the other. Either
// the reference comes in time, and all stays that it leads to, or whoever takes it is told that the object is gone.
#include "interleave/each_access.h"
#include "shm/references.h"
#include "shm/sweep.h"
#include "shm/sweep_word.h"
#include "support/link_ground.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::ObjectId;
using shm::Status;
using shm::ThreadContext;

namespace {

// Garbage: a dict that leads to a dict that leads to a lock, each with a lower index than what leads to it, so that a
// look at all objects in order comes to them too early; and a lock to which nothing leads.
struct Garbage {
  Garbage()
      : innermost(make_object(stage.segment, shm::ObjectKind::kLock)),
        middle(make_object(stage.segment, shm::ObjectKind::kDict)),
        outer(make_object(stage.segment, shm::ObjectKind::kDict)),
        other(make_object(stage.segment, shm::ObjectKind::kLock)) {
    REQUIRE(innermost.index < middle.index);
    REQUIRE(middle.index < outer.index);
    put_link(outer, middle);
    put_link(middle, innermost);
  }
  void put_link(ObjectId in, ObjectId to) {
    shm::Dict dict(address_of(stage.segment, in));
    REQUIRE(dict.put(stage.me(), text("link"), Link(to).item()) == Status::kOk);
  }

  Operation refer() {
    return {"refer", [this](ThreadContext&) { return word_of(shm::add_reference(*stage.segment, outer)); }};
  }
  Operation drop() {
    return {"drop", [this](ThreadContext&) {
              shm::drop_reference(*stage.segment, outer);
              return std::string("dropped");
            }};
  }
  // What it finds is not compared: garbage goes with this sweep or with the next.
  Operation sweep() {
    return {"sweep", [](ThreadContext& me) {
              (void)shm::sweep_unreferred_objects(me);
              return std::string("swept");
            }};
  }
  // As the next sweep leaves it.
  std::string contents() {
    while (shm::sweep_unreferred_objects(stage.me()) != 0) {
    }
    std::string seen;
    for (const ObjectId id : {outer, middle, innermost, other}) {
      seen += is_alive(stage.segment, id) ? "alive, " : "gone, ";
    }
    return seen + fmt::format("{} sessions refer", shm::count_references(*stage.segment, outer));
  }
  Observation observation() {
    return {[this] { return contents(); }, [this] { return wrong_after_sweep(stage.segment); }};
  }

  KillStage stage;
  ObjectId innermost, middle, outer, other;
};

}  // namespace

TEST_CASE("a reference to what nothing keeps, beside the sweep, keeps all that it leads to, or is refused") {
  Garbage garbage;
  garbage.stage.save();
  constexpr std::size_t kOfSweep = 400;
  PairTotals totals;
  const Observation observation = garbage.observation();
  const auto explore = [&](const Operation& one, const Operation& other) {
    explore_each_access(
        garbage.stage,
        {.name = "garbage", .interrupted = one, .other = other, .observation = observation, .most = kOfSweep}, totals);
  };
  explore(garbage.sweep(), garbage.refer());
  explore(garbage.refer(), garbage.sweep());
  explore(then(garbage.refer(), garbage.drop()), garbage.sweep());
  print_figures("references to garbage", totals);
}

// A sweep that ran out of memory leaves objects condemned, and its epoch open. Then the next one decides on others while
// somebody is between a look at the object's state and one at the epoch.
TEST_CASE("a reference to what an earlier epoch had condemned is not refused because a later one is committed") {
  constexpr std::size_t kSweep = 0, kSession = 1, kLastAccesses = 60, kAccessesOfReference = 10;
  using Kind = Step::Kind;
  Garbage garbage;
  for (const ObjectId id : {garbage.outer, garbage.middle, garbage.innermost}) {
    shm::AtomicWord& state = shm::object_record(*garbage.stage.segment, id.index).state;
    state = shm::object_state_word(shm::ObjectState::kCondemned, shm::object_kind(state.load()), id.generation);
  }
  garbage.stage.segment->header().sweep = shm::sweep_word(1, shm::SweepPhase::kOpen);
  garbage.stage.save();
  const Observation observation = garbage.observation();
  Actors actors(garbage.stage, {garbage.sweep(), then(garbage.refer(), garbage.refer())}, observation);
  std::size_t schedules = 0;
  const auto run = [&](std::size_t reference, std::size_t sweep) {
    const Schedule schedule{{kSession, Kind::kCall},
                            {kSession, Kind::kAccess, reference},
                            {kSweep, Kind::kAccess, sweep},
                            {kSession},
                            {kSweep}};
    const Outcome outcome = actors.run(schedule);
    INFO(to_string(schedule));
    CHECK(outcome.wrong.empty());
    CHECK(outcome.results[kSession] == "ok, ok");
    ++schedules;
    return outcome.accesses[kSweep];
  };
  const std::size_t all = run(1, 100'000);
  for (std::size_t i = 1; i <= kAccessesOfReference; ++i) {
    for (std::size_t before_end = 0; before_end < kLastAccesses; before_end += 20) (void)run(i, all - before_end);
  }
  std::cout << fmt::format("{} schedules\n", schedules) << std::flush;
}
