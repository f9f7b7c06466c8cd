// Those who come to a barrier, abort and reset it, and those who set events, killed at every instruction.
#include <poll.h>
#include <sys/prctl.h>

#include "shm/barrier.h"
#include "shm/event.h"
#include "support/parked_thread.h"
#include "support/process_shared.h"
#include "support/structure_kill.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::Status;
using shm::ThreadContext;

namespace {

void ignore(Status) {}

// A barrier with one who came first.
struct Scene {
  explicit Scene(shm::Word parties)
      : where(segment.make({shm::ObjectKind::kBarrier, "", "barrier", {parties, ~shm::Word{0} >> 1}})), barrier(where) {
    first.come_first_to(where);
  }
  std::string observe() const {
    return std::to_string(barrier.waiting()) + (barrier.broken() ? " broken " : " whole ") + first.state();
  }
  std::string audit() const {
    if (where.segment->at<shm::BarrierControl>(where.control)->acting.state.load() != 0) return "an action stayed on";
    return shm::Barrier::audit(segment.me(), where);
  }
  void kill_everywhere(const std::string& name, std::function<void(ThreadContext&)> op,
                       std::function<std::string()> seen = {}) {
    kill_everywhere_in(segment, {name, [this, op] { op(segment.me()); }, seen ? seen : [this] { return observe(); },
                                 [this] { return audit(); }});
  }

  TestSegment segment{8u << 20};
  ParkedThread first{segment};
  shm::ObjectAddress where;
  shm::Barrier barrier;
  shm::Barrier::Arrival arrival;
};

}  // namespace

TEST_CASE("the last party killed anywhere has let the others go, or not come", "[kill]") {
  Scene scene(2);
  scene.kill_everywhere(
      "come last", [&](ThreadContext& me) { ignore(scene.barrier.wait(me, Deadline::never(), false, scene.arrival)); });
}

TEST_CASE("a party whose time passes killed anywhere has broken the barrier, or not come", "[kill]") {
  Scene scene(3);
  scene.kill_everywhere("come and break", [&](ThreadContext& me) {
    ignore(scene.barrier.wait(me, Deadline::already(), false, scene.arrival));
  });
}

TEST_CASE("who runs the action killed anywhere has let the others go, broken the barrier, or not come", "[kill]") {
  for (bool succeeds : {true, false}) {
    Scene scene(2);
    scene.kill_everywhere(
        succeeds ? "come last with an action" : "come last with an action that fails",
        [&](ThreadContext& me) {
          ignore(scene.barrier.wait(me, Deadline::never(), true, scene.arrival));
          ignore(scene.barrier.finish_action(me, scene.arrival, succeeds));
        },
        [&]() -> std::string {
          std::uint32_t pid = 0;
          bool by_death = scene.barrier.broken() && scene.barrier.broken_by(pid) == shm::BarrierBreak::kDeath;
          if (!by_death) return scene.observe();
          return scene.observe() == "0 broken r" ? "1 whole w" : "it died in the action, but: " + scene.observe();
        });
  }
}

TEST_CASE("who aborts or resets killed anywhere has done so, or not", "[kill]") {
  Scene scene(3);
  scene.kill_everywhere("abort", [&](ThreadContext& me) { scene.barrier.abort(me); });
  scene.kill_everywhere("reset", [&](ThreadContext& me) { (void)scene.barrier.reset(me); });
  scene.barrier.abort(scene.segment.me());
  scene.kill_everywhere("reset of a broken barrier", [&](ThreadContext& me) { (void)scene.barrier.reset(me); });
}

TEST_CASE("who sets or clears an event killed anywhere has done so, or not", "[kill]") {
  TestSegment segment(8u << 20);
  auto where = segment.make({shm::ObjectKind::kEvent, "", "event", {}});
  shm::Event event(where);
  auto& word = where.segment->at<shm::EventControl>(where.control)->word;
  auto observe = [&] { return std::to_string(word.load()); };
  auto audit = [] { return std::string(); };
  for (std::uint32_t state : {0u, 1u, 2u}) {
    word = state;
    kill_everywhere_in(segment,
                       {"set from " + std::to_string(state), [&] { event.set(segment.me()); }, observe, audit});
    kill_everywhere_in(segment, {"clear from " + std::to_string(state), [&] { event.clear(); }, observe, audit});
  }
}

namespace {

// Something to sleep for, in a segment that is put back before each run, and a process that sleeps for it.
struct SleeperStage : KillStage {
  SleeperStage() : KillStage(20) {}
  ~SleeperStage() { end_sleeper(); }
  void end_sleeper() {
    if (sleeper == 0) return;
    kill(sleeper, SIGKILL);
    (void)wait_for(std::exchange(sleeper, 0));
  }
  // Kills op everywhere while a process is in sleep(); rouse() is what wakes it when op was killed too early for that.
  void run(const std::string& name, std::function<void(ThreadContext&)> op, std::function<void()> sleep,
           std::function<bool()> sleeps, std::function<void()> rouse) {
    save();
    KillPlan plan = this->plan(name, std::move(op));
    plan.prepare = [&] {
      end_sleeper();
      restore();
      sleeper = spawn([&] {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(20);
        shm::set_wait_check_for_test(1h);
        sleep();
        segment->leave();
      });
      while (!sleeps() || !is_asleep(sleeper)) poll(nullptr, 0, 1);
    };
    plan.verify = [&](pid_t, std::size_t) -> std::string {
      (void)shm::recover_all_dead(*segment, me());
      rouse();
      if (wait_for(std::exchange(sleeper, 0)) != 0) return "the sleeper is stuck";
      return recover(0, 0);
    };
    expect_clean(run_kill_plan(plan));
  }
  pid_t sleeper = 0;
};

}  // namespace

TEST_CASE("who waits for an event is woken, wherever the one who sets it is killed", "[kill]") {
  SleeperStage stage;
  auto where = stage.segment.make({shm::ObjectKind::kEvent, "", "event", {}});
  shm::Event event(where);
  auto& word = where.segment->at<shm::EventControl>(where.control)->word;
  stage.run(
      "set with a sleeper", [&](ThreadContext& me) { event.set(me); },
      [&] {
        (void)stage.me();
        if (event.wait(Deadline::never()) != Status::kOk) throw std::runtime_error("the wait failed");
      },
      [&] { return (word.load() & 2) != 0; },
      [&] {
        if (!event.is_set()) event.set(stage.me());
      });
}

TEST_CASE("who waits in a barrier is woken, wherever the last party is killed", "[kill]") {
  SleeperStage stage;
  shm::Barrier barrier(stage.segment.make({shm::ObjectKind::kBarrier, "", "barrier", {2, ~shm::Word{0} >> 1}}));
  shm::Barrier::Arrival arrival;
  stage.run(
      "come last with a sleeper",
      [&](ThreadContext& me) { ignore(barrier.wait(me, Deadline::never(), false, arrival)); },
      [&] {
        shm::Barrier::Arrival own;
        if (barrier.wait(stage.me(), Deadline::never(), false, own) != Status::kOk) {
          throw std::runtime_error("the barrier broke, though the last party had not come or all had passed");
        }
      },
      [&] { return barrier.waiting() == 1; },
      [&] {
        if (barrier.waiting() == 1) ignore(barrier.wait(stage.me(), Deadline::never(), false, arrival));
      });
}

TEST_CASE("who waits in a barrier is woken, wherever the one who runs the action is killed", "[kill]") {
  SleeperStage stage;
  shm::Barrier barrier(stage.segment.make({shm::ObjectKind::kBarrier, "", "barrier", {2, ~shm::Word{0} >> 1}}));
  shm::Barrier::Arrival arrival;
  stage.run(
      "come last with an action and a sleeper",
      [&](ThreadContext& me) {
        ignore(barrier.wait(me, Deadline::never(), true, arrival));
        ignore(barrier.finish_action(me, arrival, true));
      },
      [&] {
        shm::Barrier::Arrival own;
        Status status = barrier.wait(stage.me(), Deadline::never(), false, own);
        if (status != Status::kOk && status != Status::kBroken) throw std::runtime_error("the wait failed");
      },
      [&] { return barrier.waiting() == 1; },
      [&] {
        if (barrier.waiting() == 1) ignore(barrier.wait(stage.me(), Deadline::never(), false, arrival));
      });
}
