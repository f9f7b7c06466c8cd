// A SIGKILL at every instruction of taking, waiting for and freeing a lock. Nobody stays stuck: not on a lock that the
// dead held, and not on a free lock whose wake-up the dead one swallowed or never sent.
#include <poll.h>
#include <sys/prctl.h>

#include <catch2/catch.hpp>

#include "shm/dict_layout.h"
#include "shm/lock_word.h"
#include "shm/recovery.h"
#include "support/kill_stage.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::LockWord;
using shm::Status;
using shm::ThreadContext;

namespace {

constexpr std::uint64_t kLocks = 32;

// Some locks in a segment that is put back before each run.
struct LockStage : KillStage {
  LockStage() : KillStage(20), where(segment.make_dict(kLocks)) { save(); }

  LockWord& word(std::uint64_t i = 0) const {
    return shm::dict_shard(*where.segment->at<shm::DictControl>(where.control), i).writing;
  }

  // After a kill and its recovery: every lock is free, or the caller's where `owned` says so.
  std::string check(std::uint32_t owned = 0) const {
    for (std::uint64_t i = 0; i < kLocks; ++i) {
      std::uint32_t state = word(i).state.load();
      if (state != 0 && (owned == 0 || (state & ~shm::kLockWaiters) != owned)) {
        return "lock " + std::to_string(i) + " is " + std::to_string(state);
      }
    }
    return {};
  }

  void kill_everywhere(const std::string& name, std::function<void(ThreadContext&)> op, std::uint32_t owned = 0,
                       std::function<void(ThreadContext&)> enter = {}) {
    KillPlan everywhere = plan(name, std::move(op));
    if (enter) everywhere.enter = [this, join = everywhere.enter, enter] { join(), enter(me()); };
    everywhere.verify = [&](pid_t, std::size_t) {
      std::string wrong = recover();
      return wrong.empty() ? check(owned) : wrong;
    };
    expect_clean(run_kill_plan(everywhere));
  }

  shm::ObjectAddress where;
};

// Waits until `process` sleeps for the word, with the waiter bit set.
void await_sleeper(pid_t process, const LockWord& word) {
  while ((word.state.load() & shm::kLockWaiters) == 0 || !is_asleep(process)) poll(nullptr, 0, 1);
}

// A process that takes the lock and frees it, and that nothing but a wake-up helps.
pid_t spawn_waiter(const LockStage& stage) {
  return spawn([&] {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(20);
    shm::set_holder_check_for_test(1h);
    if (shm::lock(stage.me(), stage.word()) != Status::kOk) throw std::runtime_error("the waiter got no lock");
    (void)shm::unlock(stage.me(), stage.word());
    stage.segment->leave();
  });
}

// The helper of one run.
class Helper {
 public:
  ~Helper() { end(); }
  void start(pid_t process) {
    end();
    process_ = process;
  }
  void end() {
    if (process_ == 0) return;
    kill(process_, SIGKILL);
    (void)wait_for(process_);
    process_ = 0;
  }
  std::string await(const char* otherwise) {
    int status = wait_for(std::exchange(process_, 0));
    return status == 0 ? "" : otherwise;
  }

 private:
  pid_t process_ = 0;
};

}  // namespace

TEST_CASE("a lock of a killed process is free after its recovery, wherever it was killed") {
  LockStage stage;
  auto lock_and_unlock = [&](ThreadContext& me) {
    (void)shm::lock(me, stage.word());
    (void)shm::unlock(me, stage.word());
  };
  stage.kill_everywhere("lock, unlock", lock_and_unlock);
  stage.kill_everywhere("try_lock, unlock", [&](ThreadContext& me) {
    (void)shm::try_lock(me, stage.word());
    (void)shm::unlock(me, stage.word());
  });
  stage.kill_everywhere("lock, unlock, of two locks",
                        [&](ThreadContext& me) { shm::HeldLock outer(me, stage.word(0)), inner(me, stage.word(1)); });
  stage.kill_everywhere("two locks, freed in the order of their taking", [&](ThreadContext& me) {
    (void)shm::lock(me, stage.word(0));
    (void)shm::lock(me, stage.word(1));
    (void)shm::unlock(me, stage.word(0));
    (void)shm::unlock(me, stage.word(1));
  });
  auto hold = [&](std::uint64_t count) {
    return [&stage, count](ThreadContext& me) {
      for (std::uint64_t i = 1; i <= count; ++i) (void)shm::lock(me, stage.word(i));
    };
  };
  stage.kill_everywhere("lock, unlock, with 15 others held", lock_and_unlock, 0, hold(15));
  stage.kill_everywhere("lock, unlock, with 16 others held", lock_and_unlock, 0, hold(16));
  stage.kill_everywhere("lock, unlock, with 20 others held", lock_and_unlock, 0, hold(20));
}

TEST_CASE("a lock that others hold stays theirs, wherever one who tries to take it is killed") {
  LockStage stage;
  (void)shm::lock(stage.me(), stage.word());
  stage.save();
  std::uint32_t owner = stage.me().owner();
  stage.kill_everywhere(
      "try_lock of a held lock", [&](ThreadContext& me) { (void)shm::try_lock(me, stage.word()); }, owner);
  auto past = std::chrono::steady_clock::now() - 1h;
  stage.kill_everywhere(
      "lock of a held lock, timed out",
      [&](ThreadContext& me) { (void)shm::lock(me, stage.word(), Deadline::at(past)); }, owner);
  stage.kill_everywhere(
      "unlock of another's lock", [&](ThreadContext& me) { (void)shm::unlock(me, stage.word()); }, owner);
}

TEST_CASE("who sleeps for a lock gets it, wherever the one who frees it is killed") {
  LockStage stage;
  Helper waiter;
  Shared<std::atomic<pid_t>> waiting;
  KillPlan plan =
      stage.plan("unlock with a waiter asleep", [&](ThreadContext& me) { (void)shm::unlock(me, stage.word()); });
  plan.prepare = [&] {
    waiter.end();
    stage.restore();
    waiting->store(0);
    waiter.start(spawn([&] {
      while (stage.word().state.load() == 0) poll(nullptr, 0, 1);  // until the victim has it
      pid_t process = spawn_waiter(stage);
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      waiting->store(process);
      if (int status = wait_for(process); status != 0) throw std::runtime_error("stuck: " + std::to_string(status));
    }));
  };
  plan.enter = [&, join = plan.enter] {
    join();
    (void)shm::lock(stage.me(), stage.word());
    while (waiting->load() == 0) poll(nullptr, 0, 1);
    await_sleeper(waiting->load(), stage.word());
  };
  plan.verify = [&](pid_t, std::size_t) {
    (void)shm::recover_all_dead(*stage.segment, stage.me());
    std::string wrong = waiter.await("the waiter is stuck");
    if (wrong.empty()) wrong = stage.recover(0, 0);
    return wrong.empty() ? stage.check() : wrong;
  };
  expect_clean(run_kill_plan(plan));
}

TEST_CASE("who sleeps for a lock gets it, wherever the one who was woken first is killed") {
  LockStage stage;
  (void)shm::lock(stage.me(), stage.word());
  stage.save();
  shm::set_holder_check_for_test(1h);  // the victim's path must not depend on the time
  Helper helper;
  Shared<std::atomic<pid_t>> victim;
  KillPlan plan = stage.plan("lock, sleep, wake up, unlock", [&](ThreadContext& me) {
    (void)shm::lock(me, stage.word());
    (void)shm::unlock(me, stage.word());
  });
  plan.prepare = [&] {
    helper.end();
    stage.restore();
    victim->store(0);
    // Frees the caller's lock once the victim and a waiter after it are asleep; the kernel wakes the victim.
    helper.start(spawn([&] {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      while (victim->load() == 0) poll(nullptr, 0, 1);
      for (;;) {
        await_sleeper(victim->load(), stage.word());
        poll(nullptr, 0, 1);
        if (is_asleep(victim->load())) break;
      }
      pid_t waiter = spawn_waiter(stage);
      await_sleeper(waiter, stage.word());
      shm::release_for_dead(stage.word(), stage.word().state.load() & ~shm::kLockWaiters);
      if (int status = wait_for(waiter); status != 0) throw std::runtime_error("stuck: " + std::to_string(status));
    }));
  };
  plan.enter = [&, join = plan.enter] {
    join();
    victim->store(getpid());
  };
  // A victim that is killed before it sleeps is not waited for.
  plan.verify = [&](pid_t process, std::size_t) {
    (void)process;
    (void)shm::recover_all_dead(*stage.segment, stage.me());
    if ((stage.word().state.load() & ~shm::kLockWaiters) == stage.me().owner()) {
      helper.end();  // nobody slept yet
      (void)shm::unlock(stage.me(), stage.word());
      return stage.check();
    }
    std::string wrong = helper.await("the waiter is stuck");
    if (wrong.empty()) wrong = stage.recover(0, 0);
    return wrong.empty() ? stage.check() : wrong;
  };
  expect_clean(run_kill_plan(plan));
  shm::set_holder_check_for_test(100ms);
}
