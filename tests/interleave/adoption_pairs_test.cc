// A server that adopts a segment, whose server died in the middle of its work, beside operations of clients and beside
// another server: one interrupted anywhere by the other.
#include <stdexcept>

#include "interleave/world_fixture.h"
#include "manager/adoption.h"
#include "rpc/address.h"
#include "shm/dict.h"
#include "shm/extents_commit.h"
#include "shm/extents_release.h"
#include "shm/object_table.h"
#include "shm/references.h"
#include "shm/sweep.h"
#include "support/dict_kill_stage.h"
#include "support/link_ground.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::ObjectId;
using shm::Status;
using shm::ThreadContext;

namespace {

// A segment with a dict, an object that a test refers to, and garbage.
struct Adopted {
  Adopted()
      : outer(make_object(stage.segment, shm::ObjectKind::kDict, "outer")),
        referred(make_object(stage.segment, shm::ObjectKind::kLock)),
        garbage(make_object(stage.segment, shm::ObjectKind::kDict)),
        dict(address_of(stage.segment, outer)) {
    fix_seed(address_of(stage.segment, outer));
    fill(dict, stage.me(), 0, 5);
    REQUIRE(shm::add_reference(*stage.segment, referred) == Status::kOk);
    shm::Dict thrown_away(address_of(stage.segment, garbage));
    REQUIRE(thrown_away.put(stage.me(), text("k"), text(large)) == Status::kOk);
  }

  // As a new process does it: not a member of the segment before. It goes on serving.
  std::string adopt() {
    stage.segment->leave();
    try {
      auto* serving = new manager::Tenure({"test", stage.segment.folder(), false}, 0, [](const std::string&) {});
      return serving->adopted() ? "adopted" : "made anew";
    } catch (const ServerError& error) {
      return error.code() == ServerError::Code::kAlreadyRunning ? "a server runs already" : error.what();
    }
  }
  // The process is the server that is to die.
  void serve() {
    if (adopt() != "adopted") throw std::runtime_error("it does not serve");
  }
  std::vector<DeadProcess> dead_servers() {
    const Call enter = [this](ThreadContext&) {
      serve();
      return std::string();
    };
    const auto own = [this](std::function<void(ThreadContext & me)> work) {
      return [this, work = std::move(work)](ThreadContext&) {  // it joined anew
        work(stage.segment.me());
        return std::string();
      };
    };
    return {
        {"adoption", [this](ThreadContext&) { return adopt(); }},
        {"a sweep", own([](ThreadContext& me) { (void)shm::sweep_unreferred_objects(me); }), enter},
        {"a release of memory", own([](ThreadContext& me) { (void)shm::release_extents(me, 4, 8, false); }), enter},
        {"growth", own([](ThreadContext& me) { (void)shm::commit_ahead(me, 20); }), enter},
        {"the making of an object", own([](ThreadContext& me) {
           ObjectId made;
           (void)shm::create_object(me, {shm::ObjectKind::kDict, "made", "dict<text,text>"}, made);
         }),
         enter},
    };
  }

  std::vector<Operation> of_clients() {
    const Call leave = [this](ThreadContext&) {
      stage.segment->leave();
      return std::string("left");
    };
    const Call join = [this](ThreadContext&) {
      return std::string(stage.segment->here() != nullptr ? "joined" : "refused");
    };
    const Call refer = [this](ThreadContext&) { return word_of(shm::add_reference(*stage.segment, referred)); };
    const Call drop = [this](ThreadContext&) {
      shm::drop_reference(*stage.segment, referred);
      return std::string("dropped");
    };
    // The registry's part of a fork that fails.
    const Call fork = [this](ThreadContext&) {
      stage.segment->reserve_for_child();
      stage.segment->prepare_child();
      stage.segment->after_fork_in_parent();
      return std::string("no child");
    };
    std::vector<Operation> operations{
        {"put", [this](ThreadContext& me) { return word_of(dict.put(me, text("new"), text("v"))); }},
        {"put of a large value", [this](ThreadContext& me) { return word_of(dict.put(me, text("new"), text(large))); }},
        {"erase", [this](ThreadContext& me) { return word_of(dict.erase(me, text(key_number(0)))); }},
        {"get of all",
         [this](ThreadContext& me) {
           std::vector<shm::DictEntryCopy> entries;
           const Status status = dict.snapshot(me, entries);
           return word_of(status) + std::to_string(entries.size());
         },
         kReaderWaits},
        {"join", {leave, join}},
        {"refer and leave", {refer, leave}},
        {"refer and drop", {refer, drop}},
        {"refer and fork", {refer, fork}},
    };
    operations.back().unused_sessions = 1;
    return operations;
  }
  // By a server that has not died. REQUIRES: the dead are recovered.
  bool is_served() const {
    const shm::Word session = stage.segment->header().server_session.load();
    return session != 0 &&
           shm::session_state(stage.segment->session(static_cast<std::uint32_t>(session) - 1).state.load()) ==
               shm::SessionState::kLive;
  }
  Observation observation() {
    return {[this] {
              return fmt::format("{} entries, {} references, {}", dict.size(),
                                 shm::count_references(*stage.segment, referred),
                                 is_alive(stage.segment, referred) ? "alive" : "gone");
            },
            [this]() -> std::string {
              // What a child's session that was never used is. What a server left that died in the run; one that has
              // adopted the segment has seen to it.
              (void)shm::recover_all_dead(*stage.segment, stage.me());
              if (!is_served()) {
                shm::finish_release(stage.me());
                shm::finish_sweep(stage.me());
              }
              std::string wrong = dict.audit(stage.me()).error;
              if (wrong.empty()) wrong = wrong_after_sweep(stage.segment);
              if (wrong.empty() && is_alive(stage.segment, garbage)) wrong = "what nothing keeps is alive";
              return wrong;
            }};
  }

  KillStage stage{32, 12};
  const std::string large = std::string(shm::kExtent, 'l');
  ObjectId outer, referred, garbage;
  shm::Dict dict;
};

}  // namespace

TEST_CASE("operations of clients go on beside a server that adopts the segment of one that died in its work") {
  Adopted world;
  const Operation adoption{"adoption", [&](ThreadContext&) { return world.adopt(); }};
  std::mt19937_64 random(Catch::rngSeed());
  PairTotals totals;
  std::vector<Operation> operations = world.of_clients();
  operations.push_back({"another adoption", adoption.calls[0]});
  for (const DeadProcess& server : drawn_of(world.dead_servers(), selected(3, 5), random)) {
    DyingOperation dying(world.stage, server.call, server.enter);
    for (const std::size_t point : drawn_of(dying.points(), selected(1, 2), random)) {
      dying.die_before(point);
      explore_beside(world.stage, fmt::format("the server died before instruction {} of {}", point, server.name),
                     {adoption}, drawn_of(operations, selected(1, operations.size()), random), world.observation(),
                     totals, places({5, 4}));
    }
  }
  print_totals("adoptions", totals);
}
