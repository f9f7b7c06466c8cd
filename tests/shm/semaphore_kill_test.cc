// A SIGKILL at every instruction of taking, waiting for and returning permits.
#include "shm/semaphore.h"

#include <commonhold/detail/semaphore_calls.h>

#include <poll.h>
#include <sys/prctl.h>

#include "shm/lock_word.h"
#include "shm/sleep_notice.h"
#include "support/process_shared.h"
#include "support/structure_kill.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Semaphore;
using shm::Status;
using shm::Word;

namespace {

void ignore(Status) {}

shm::ObjectPlan plan_of(Word start, Word bounded = 0, Word items = 0) {
  return {shm::ObjectKind::kSemaphore, "", "semaphore", {start, bounded, items}};
}

}  // namespace

TEST_CASE("a process killed anywhere in taking and returning permits leaves them as if it had returned all", "[kill]") {
  // The caller's session is in the state, so that the victim switches; then the victim's is, for the fast path.
  for (Word taken : {0, 2}) {
    INFO(taken << " taken by another");
    TestSegment segment(8u << 20);
    auto where = segment.make(plan_of(6));
    Semaphore semaphore(where);
    for (Word i = 0; i < taken; ++i) REQUIRE(semaphore.acquire(segment.me()) == Status::kOk);
    auto observe = [&]() -> std::string { return ""; };
    bool recovered = false;
    auto audit = [&]() -> std::string {
      auto* control = segment->at<shm::SemaphoreControl>(where.control);
      if (control->switching.state.load() != 0) return "the lock of switching stayed locked";
      // The first audit is of the caller's own run, which holds what the operation took.
      if (std::exchange(recovered, true) == false)
        return semaphore.value() == 6 - taken - 1 ? "" : "the run went wrong";
      Word mine = semaphore.held(segment.me()), all = semaphore.held_by_all(segment.me());
      if (mine != taken || all != taken || semaphore.value() != 6 - taken) {
        return fmt::format("value {}, held here {}, by all {}", semaphore.value(), mine, all);
      }
      return "";
    };
    kill_everywhere_in(segment, {"acquire, acquire, release",
                                 [&] {
                                   ignore(semaphore.acquire(segment.me()));
                                   ignore(semaphore.acquire(segment.me()));
                                   ignore(semaphore.release(segment.me()));
                                 },
                                 observe, audit});
  }
}

TEST_CASE("the path that programs have inline leaves permits as the library does", "[kill]") {
  KillStage stage(20);
  auto where = stage.segment.make(plan_of(3));
  stage.save();
  Semaphore semaphore(where);
  detail::SemaphoreView view{stage.segment->at<detail::SemaphoreCell>(where.control), &stage.segment->session_number()};
  REQUIRE_FALSE(view.take());  // nobody came yet
  KillPlan plan = stage.plan("take, take, give, inline", [&](shm::ThreadContext&) {
    bool all = view.take() && view.take() && view.give();
    if (!all || semaphore.value() != 1) _exit(9);
  });
  plan.enter = [&, join = plan.enter] {
    join();
    ignore(semaphore.acquire(stage.me()));  // now it is the one that came last
  };
  plan.verify = [&](pid_t, std::size_t) -> std::string {
    if (std::string wrong = stage.recover(); !wrong.empty()) return wrong;
    if (semaphore.value() != 3) return "the value is " + std::to_string(semaphore.value());
    return semaphore.held_by_all(stage.me()) == 0 ? "" : "the dead hold permits";
  };
  expect_clean(run_kill_plan(plan));
}

TEST_CASE("a release by one who holds nothing, killed anywhere, made its permits or did not", "[kill]") {
  TestSegment segment(8u << 20);
  Semaphore semaphore(segment.make(plan_of(1)));
  REQUIRE(semaphore.acquire(segment.me()) == Status::kOk);
  REQUIRE(semaphore.release(segment.me()) == Status::kOk);
  auto observe = [&] { return std::to_string(semaphore.value()); };
  auto audit = [&]() -> std::string {
    return semaphore.held_by_all(segment.me()) == 0 ? "" : "somebody holds permits";
  };
  kill_everywhere_in(segment, {"release 2", [&] { ignore(semaphore.release(segment.me(), 2)); }, observe, audit});
}

TEST_CASE("a semaphore that counts items loses at most the one item that the killed process was taking", "[kill]") {
  TestSegment segment(8u << 20);
  Semaphore semaphore(segment.make(plan_of(3, 0, 1)));
  auto observe = [&] { return std::to_string(semaphore.value()); };
  auto audit = [&]() -> std::string { return ""; };
  kill_everywhere_in(segment, {"acquire an item", [&] { ignore(semaphore.acquire(segment.me())); }, observe, audit});
}

TEST_CASE("who sleeps for a permit gets it, wherever the one who returns it is killed", "[kill]") {
  KillStage stage(20);
  auto where = stage.segment.make(plan_of(1));
  stage.save();
  shm::set_sleeper_check_for_test(3600'000'000'000);  // nothing but a wake-up helps
  Semaphore semaphore(where);
  pid_t waiter = 0;
  Shared<std::atomic<pid_t>> waiting;
  auto end_waiter = [&] {
    if (waiter == 0) return;
    kill(waiter, SIGKILL);
    (void)wait_for(std::exchange(waiter, 0));
  };
  KillPlan plan =
      stage.plan("release with a waiter asleep", [&](shm::ThreadContext& me) { ignore(semaphore.release(me)); });
  plan.prepare = [&] {
    end_waiter();
    stage.restore();
    waiting->store(0);
    waiter = spawn([&] {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      alarm(20);
      while (semaphore.value() != 0) poll(nullptr, 0, 1);  // until the victim has it
      auto& me = stage.me();
      waiting->store(getpid());
      if (semaphore.acquire(me) != Status::kOk || semaphore.release(me) != Status::kOk) throw std::runtime_error("no");
      stage.segment->leave();
    });
  };
  plan.enter = [&, join = plan.enter] {
    join();
    ignore(semaphore.acquire(stage.me()));
    while (waiting->load() == 0) poll(nullptr, 0, 1);
    while ((stage.segment->at<shm::SemaphoreControl>(where.control)->state.load() >> 31 & 1) == 0 ||
           !is_asleep(waiting->load())) {
      poll(nullptr, 0, 1);
    }
  };
  plan.verify = [&](pid_t, std::size_t) -> std::string {
    (void)shm::recover_all_dead(*stage.segment, stage.me());
    if (int status = wait_for(std::exchange(waiter, 0)); status != 0) return "the waiter is stuck";
    if (semaphore.value() != 1) return "the value is " + std::to_string(semaphore.value());
    return stage.recover(0, 0);
  };
  expect_clean(run_kill_plan(plan));
  end_waiter();
  shm::set_sleeper_check_for_test(100'000'000);
}

TEST_CASE("who sleeps for a permit gets it, wherever the one who was woken first is killed", "[kill]") {
  KillStage stage(20);
  auto where = stage.segment.make(plan_of(0));
  stage.save();
  shm::set_sleeper_check_for_test(3600'000'000'000);
  Semaphore semaphore(where);
  auto* control = stage.segment->at<shm::SemaphoreControl>(where.control);
  Shared<std::atomic<pid_t>> victim;
  Shared<std::atomic<bool>> released;
  pid_t helper = 0;
  auto end_helper = [&] {
    if (helper == 0) return;
    kill(helper, SIGKILL);
    (void)wait_for(std::exchange(helper, 0));
  };
  auto await_sleeper = [&](pid_t process) {
    for (int seen = 0; seen < 2;) {
      poll(nullptr, 0, 1);
      seen = (control->state.load() >> 31 & 1) != 0 && is_asleep(process) ? seen + 1 : 0;
    }
  };
  KillPlan plan = stage.plan("acquire, asleep, woken", [&](shm::ThreadContext& me) {
    ignore(semaphore.acquire(me));
    ignore(semaphore.release(me));
  });
  plan.prepare = [&] {
    end_helper();
    stage.restore();
    victim->store(0);
    released->store(false);
    // Releases one permit once the victim and a waiter after it are asleep; the kernel wakes the victim.
    helper = spawn([&] {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      while (victim->load() == 0) poll(nullptr, 0, 1);
      await_sleeper(victim->load());
      pid_t waiter = spawn([&] {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(20);
        auto& me = stage.me();
        if (semaphore.acquire(me) != Status::kOk || semaphore.release(me) != Status::kOk)
          throw std::runtime_error("no");
        stage.segment->leave();
      });
      await_sleeper(waiter);
      auto& me = stage.me();
      released->store(true);
      ignore(semaphore.release(me));
      if (int status = wait_for(waiter); status != 0) throw std::runtime_error("stuck: " + std::to_string(status));
      stage.segment->leave();
    });
  };
  plan.enter = [&, join = plan.enter] {
    join();
    victim->store(getpid());
  };
  plan.verify = [&](pid_t, std::size_t) -> std::string {
    (void)shm::recover_all_dead(*stage.segment, stage.me());
    if (!released->load()) {  // killed before it slept
      end_helper();
      (void)shm::recover_all_dead(*stage.segment, stage.me());
      return stage.leftovers();
    }
    if (int status = wait_for(std::exchange(helper, 0)); status != 0) return "the waiter is stuck";
    if (semaphore.value() != 1) return "the value is " + std::to_string(semaphore.value());
    return stage.recover(0, 0);
  };
  expect_clean(run_kill_plan(plan));
  end_helper();
  shm::set_sleeper_check_for_test(100'000'000);
}

TEST_CASE("the chunk of late sessions is not lost, wherever its taker is killed", "[kill]") {
  TestSegment segment(8u << 20);
  auto where = segment.make(plan_of(6));
  Semaphore semaphore(where);
  REQUIRE(semaphore.acquire(segment.me()) == Status::kOk);
  for (std::uint32_t i = 1; i < 300; ++i) segment->session(i).state.store(1);
  SharedImage image(backed_ranges(*segment));
  KillPlan plan;
  plan.name = "first permit of session 300";
  plan.prepare = [&] { image.restore(); };
  plan.enter = [&] { (void)segment.me(); };
  plan.op = [&] { ignore(semaphore.acquire(segment.me())); };
  plan.shared = backed_ranges(*segment);
  plan.sample = 200;
  plan.verify = [&](pid_t, std::size_t) -> std::string {
    for (std::uint32_t i = 1; i < 300; ++i) segment->session(i).state.store(0);
    if (shm::recover_all_dead(*segment, segment.me()) != 1) return "no death was found";
    if (semaphore.value() != 5) return "the value is " + std::to_string(semaphore.value());
    std::uint64_t bytes = shm::bytes_owned_by(*segment, where.object);
    auto more = segment->at<shm::SemaphoreControl>(where.control)->more.load();
    std::uint64_t due = shm::kGranule + (more != 0 ? 8192 : 0);
    return bytes == due ? "" : fmt::format("the semaphore owns {} bytes, not {}", bytes, due);
  };
  KillReport report = run_kill_plan(plan);
  if (!report.ok()) WARN(report.line());
  REQUIRE(report.ok());
  image.restore();
  for (std::uint32_t i = 1; i < 300; ++i) segment->session(i).state.store(0);
}
