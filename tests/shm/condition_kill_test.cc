// Owners of recursive locks, waiters and notifiers of conditions, killed at every instruction.
#include <poll.h>
#include <sys/prctl.h>

#include "shm/condition.h"
#include "shm/rlock.h"
#include "shm/spin.h"
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

// A condition with two that wait in it, and later ones that come by.
struct Scene {
  TestSegment segment{8u << 20};
  shm::ObjectAddress where = segment.make({shm::ObjectKind::kCondition, "", "condition", {}});
  shm::Condition condition{where};
  ParkedThread first{segment}, second{segment};

  Scene() {
    first.wait_in(where);
    second.wait_in(where);
  }
  std::string states() const { return {first.state(), second.state()}; }
  bool died() const { return condition.base().died_pid() != 0; }

  // What the two see. The death of the lock's holder wakes both; that counts as the state before.
  std::string observe() const {
    if (!died()) return states();
    return states() == "tt" ? "ww" : "the holder died, but those who waited are " + states();
  }
  // The lock is free and shallow, and a notification reaches the one who waits longest.
  std::string audit() const {
    auto& own = where.segment->at<shm::ConditionControl>(where.control)->own;
    if (own.word.state.load() != 0) return "the lock stayed locked";
    if (own.depth.load() != 0) return "the lock stayed deep";
    if (first.state() == 'w' && second.state() == 't') return "the second was told before the first";
    std::uint32_t waiting = first.state() == 'w' ? 1 : 0;
    waiting += second.state() == 'w' ? 1 : 0;
    return condition.waiting() == waiting ? use() : "the dead one still waits";
  }
  // Notifies one, and puts back what that changed.
  std::string use() const {
    auto& me = segment.me();
    auto* control = where.segment->at<shm::ConditionControl>(where.control);
    std::pair<shm::AtomicWord*, shm::Word> saved[] = {
        {&first.context().record().wait_state, 0}, {&second.context().record().wait_state, 0}, {&control->served, 0}};
    for (auto& [at, word] : saved) word = at->load();
    std::string before = states();
    ignore(condition.acquire(me));
    ignore(condition.notify(me, 1));
    ignore(condition.release(me));
    std::string after = states();
    for (auto& [at, word] : saved) at->store(word);
    if (before == "ww" && after != "tw") return "a notification did not reach the first: " + after;
    if (before == "tw" && after != "tt") return "a notification did not reach the second: " + after;
    return {};
  }
  void kill_everywhere(const std::string& name, std::function<void(ThreadContext&)> op) {
    kill_everywhere_in(
        segment, {name, [this, op] { op(segment.me()); }, [this] { return observe(); }, [this] { return audit(); }});
  }
};

}  // namespace

TEST_CASE("an owner of an rlock killed anywhere leaves it free and shallow", "[kill]") {
  TestSegment segment(8u << 20);
  auto where = segment.make({shm::ObjectKind::kRLock, "", "rlock", {}});
  shm::RLock lock(where);
  auto audit = [&]() -> std::string {
    if (lock.base().locked()) return "the lock stayed locked";
    if (lock.depth() != 0) return "the lock stayed deep";
    if (lock.acquire(segment.me()) != Status::kOk || lock.depth() != 1) return "the lock could not be taken";
    (void)lock.base().take_died();
    return lock.release(segment.me()) == Status::kOk ? "" : "the lock could not be released";
  };
  kill_everywhere_in(segment, {"acquire and release, twice",
                               [&] {
                                 auto& me = segment.me();
                                 ignore(lock.acquire(me));
                                 ignore(lock.acquire(me));
                                 ignore(lock.release(me));
                                 ignore(lock.release(me));
                               },
                               [] { return std::string(); }, audit});
}

TEST_CASE("a notifier killed anywhere has told the first, or all, or nobody", "[kill]") {
  Scene scene;
  scene.kill_everywhere("notify one", [&](ThreadContext& me) {
    ignore(scene.condition.acquire(me));
    ignore(scene.condition.notify(me, 1));
    ignore(scene.condition.release(me));
  });
  scene.kill_everywhere("notify all", [&](ThreadContext& me) {
    ignore(scene.condition.acquire(me));
    ignore(scene.condition.acquire(me));
    ignore(scene.condition.notify(me, 9));
    ignore(scene.condition.release(me));
    ignore(scene.condition.release(me));
  });
}

TEST_CASE("a waiter killed anywhere takes nothing from the others", "[kill]") {
  Scene scene;
  scene.kill_everywhere("wait, timed out", [&](ThreadContext& me) {
    ignore(scene.condition.acquire(me));
    ignore(scene.condition.acquire(me));
    ignore(scene.condition.wait(me, Deadline::already()));
    ignore(scene.condition.release(me));
    ignore(scene.condition.release(me));
  });
}

namespace {

// A condition in a segment that is put back before each run, and a process that helps at it.
struct ConditionStage : KillStage {
  ConditionStage() : KillStage(20), where(segment.make({shm::ObjectKind::kCondition, "", "condition", {}})) {}
  ~ConditionStage() { end_helper(); }
  void end_helper() {
    if (helper == 0) return;
    kill(helper, SIGKILL);
    (void)wait_for(std::exchange(helper, 0));
  }
  shm::ObjectAddress where;
  shm::Condition condition{where};
  pid_t helper = 0;
};

}  // namespace

TEST_CASE("who was told and is killed before it acts hands the notification on, wherever it is killed", "[kill]") {
  ConditionStage stage;
  ParkedThread other(stage.segment);
  struct Progress {
    std::atomic<std::uint32_t> victim;  // its thread slot + 1
    std::atomic<pid_t> process;
    std::atomic<bool> told, acted;
  };
  Shared<Progress> progress;
  shm::set_wait_check_for_test(1h);  // the victim's path must not depend on the time
  shm::spinning = false;
  stage.save();
  KillPlan plan = stage.plan("wait, told, act", [&](ThreadContext& me) {
    ignore(stage.condition.acquire(me));
    ignore(stage.condition.wait(me));
    progress->acted = true;
    ignore(stage.condition.release(me));
  });
  plan.prepare = [&] {
    stage.end_helper();
    stage.restore();
    progress->victim = 0;
    progress->told = progress->acted = false;
    // Tells the victim, once it sleeps, as a notifier does that has released the lock meanwhile; the other begins to
    // wait before that.
    stage.helper = spawn([&] {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      while (progress->victim == 0) poll(nullptr, 0, 1);
      auto& record = stage.segment->thread(progress->victim - 1);
      while (shm::waited(record.wait_state.load()) != shm::Waited::kWaiting || !is_asleep(progress->process)) {
        poll(nullptr, 0, 1);
      }
      other.wait_in(stage.where);
      auto next = stage.where.segment->at<shm::ConditionControl>(stage.where.control)->next_ticket.load();
      progress->told = true;
      if (!change_wait(record, record.wait_state.load(), shm::Waited::kTold, static_cast<std::uint32_t>(next))) {
        throw std::runtime_error("the victim does not wait");
      }
      shm::futex_wake(shm::wait_futex(record), 1);
    });
  };
  plan.enter = [&, join = plan.enter] {
    join();
    progress->process = getpid();
    progress->victim = stage.segment.me().index() + 1;
  };
  plan.verify = [&](pid_t, std::size_t) -> std::string {
    stage.end_helper();
    bool held = false;
    if (std::string wrong = stage.recover(); !wrong.empty() && !progress->told) return wrong;
    held = stage.condition.base().locked();
    bool died = stage.condition.base().died_pid() != 0;
    char seen = other.state();
    shm::end_wait(other.context().record());
    if (held) return "the lock stayed locked";
    if (progress->told && !progress->acted && seen != 't') return "the notification was lost";
    if (progress->acted && !died && seen != 'w') return "a notification that was acted on came again";
    if (died && progress->told && seen != 't') return "the holder died and the other was not woken";
    return {};
  };
  expect_clean(run_kill_plan(plan));
  shm::set_wait_check_for_test(500ms);
  shm::spinning = true;
}

TEST_CASE("a recovery that hands a notification on may be killed anywhere itself", "[kill]") {
  ConditionStage stage;
  ParkedThread next(stage.segment), later(stage.segment);
  pid_t doomed = spawn([&] {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    auto& me = stage.segment.me();
    ignore(stage.condition.acquire(me));
    ignore(stage.condition.wait(me));
  });
  while (stage.condition.waiting() == 0 || !is_asleep(doomed)) poll(nullptr, 0, 1);
  kill(doomed, SIGSTOP);
  next.wait_in(stage.where);
  ignore(stage.condition.acquire(stage.me()));
  ignore(stage.condition.notify(stage.me(), 1));
  ignore(stage.condition.release(stage.me()));
  later.wait_in(stage.where);
  kill(doomed, SIGKILL);
  (void)wait_for(doomed);
  stage.save();
  KillPlan plan = stage.plan("recovery of one who was told",
                             [&](ThreadContext&) { (void)shm::recover_all_dead(*stage.segment, stage.me()); });
  plan.verify = [&](pid_t, std::size_t) -> std::string {
    if (shm::recover_all_dead(*stage.segment, stage.me()) < 1) return "no death was found";
    if (next.state() != 't') return "the notification was lost";
    if (later.state() != 'w') return "one who came later was told";
    return {};
  };
  expect_clean(run_kill_plan(plan));
  shm::end_wait(next.context().record());
  shm::end_wait(later.context().record());
}

TEST_CASE("who sleeps in a condition is woken, wherever the notifier is killed", "[kill]") {
  ConditionStage stage;
  stage.save();
  // It keeps the lock: from the wake-up on, its release would race with the one who was woken.
  KillPlan plan = stage.plan("notify with a sleeper", [&](ThreadContext& me) {
    ignore(stage.condition.acquire(me));
    ignore(stage.condition.notify(me, 1));
  });
  plan.prepare = [&] {
    stage.end_helper();
    stage.restore();
    stage.helper = spawn([&] {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      alarm(20);
      shm::set_wait_check_for_test(1h);
      auto& me = stage.segment.me();
      ignore(stage.condition.acquire(me));
      if (stage.condition.wait(me) != Status::kOk) throw std::runtime_error("the wait failed");
      ignore(stage.condition.release(me));
      stage.segment->leave();
    });
    while (stage.condition.waiting() == 0 || !is_asleep(stage.helper)) poll(nullptr, 0, 1);
  };
  plan.verify = [&](pid_t, std::size_t) -> std::string {
    (void)shm::recover_all_dead(*stage.segment, stage.me());
    if (stage.condition.waiting() != 0) {
      ignore(stage.condition.acquire(stage.me()));
      ignore(stage.condition.notify(stage.me(), 1));
      ignore(stage.condition.release(stage.me()));
    }
    if (wait_for(std::exchange(stage.helper, 0)) != 0) return "the sleeper is stuck";
    return stage.recover(0, 0);
  };
  expect_clean(run_kill_plan(plan));
}
