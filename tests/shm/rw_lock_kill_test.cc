// A SIGKILL at every instruction of sharing, writing and waiting.
#include "shm/rw_lock.h"

#include <poll.h>
#include <sys/prctl.h>

#include "shm/lock_word.h"
#include "shm/references.h"
#include "shm/sleep_notice.h"
#include "support/process_shared.h"
#include "support/structure_kill.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::RwLock;
using shm::Status;

namespace {

void ignore(Status) {}

const shm::ObjectPlan kPlan{shm::ObjectKind::kRwLock, "", "rwlock", {}};
constexpr std::int64_t kNoCheck = 3600'000'000'000;
constexpr std::int64_t kUsualCheck = 100'000'000;

// "" when the caller can write, share and write again at once.
std::string usable(const TestSegment& segment, const RwLock& lock) {
  auto& me = segment.me();
  if (lock.readers() != 0) return "somebody still shares the lock";
  for (int i = 0; i < 2; ++i) {
    if (lock.acquire(me, Deadline::already()) != Status::kOk) return "a writer does not get in";
    if (lock.release(me) != Status::kOk) return "a writer does not get out";
    if (lock.acquire_shared(me, Deadline::already()) != Status::kOk) return "a reader does not get in";
    if (lock.release_shared(me) != Status::kOk) return "a reader does not get out";
  }
  return "";
}

// A process that takes the lock once it may, and that nothing but a wake-up helps.
struct Waiter {
  explicit Waiter(KillStage& stage, RwLock lock) : stage(stage), lock(lock) {}
  ~Waiter() { end(); }
  void start(bool writes) {
    end();
    asleep->store(0);
    process = spawn([&] {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      alarm(20);
      auto& me = stage.me();
      while (may_start->load() == 0) poll(nullptr, 0, 1);
      asleep->store(getpid());
      Status taken = writes ? lock.acquire(me) : lock.acquire_shared(me);
      if (taken != Status::kOk) throw std::runtime_error("not taken");
      ignore(writes ? lock.release(me) : lock.release_shared(me));
      stage.segment->leave();
    });
  }
  void await_sleep() const {
    for (int seen = 0; seen < 2;) {
      poll(nullptr, 0, 1);
      seen = asleep->load() != 0 && is_asleep(asleep->load()) ? seen + 1 : 0;
    }
  }
  std::string ended() { return wait_for(std::exchange(process, 0)) == 0 ? "" : "the waiter is stuck"; }
  void end() {
    if (process == 0) return;
    kill(process, SIGKILL);
    (void)wait_for(std::exchange(process, 0));
  }

  KillStage& stage;
  RwLock lock;
  pid_t process = 0;
  Shared<std::atomic<pid_t>> asleep, may_start;
};

}  // namespace

TEST_CASE("a process killed anywhere in sharing or writing leaves the lock free", "[kill]") {
  TestSegment segment(8u << 20);
  RwLock lock(segment.make(kPlan));
  auto observe = [] { return std::string(); };
  auto audit = [&] { return usable(segment, lock); };
  kill_everywhere_in(segment, {"acquire_shared, release_shared",
                               [&] {
                                 ignore(lock.acquire_shared(segment.me()));
                                 ignore(lock.release_shared(segment.me()));
                               },
                               observe, audit});
  kill_everywhere_in(segment, {"acquire, release",
                               [&] {
                                 ignore(lock.acquire(segment.me()));
                                 ignore(lock.release(segment.me()));
                               },
                               observe, audit});
  kill_everywhere_in(segment, {"shared twice, then write, then share",
                               [&] {
                                 auto& me = segment.me();
                                 ignore(lock.acquire_shared(me));
                                 ignore(lock.acquire_shared(me));
                                 ignore(lock.acquire(me));  // refused
                                 ignore(lock.release_shared(me));
                                 ignore(lock.release_shared(me));
                                 ignore(lock.acquire(me));
                                 ignore(lock.release(me));
                                 ignore(lock.acquire_shared(me));
                                 ignore(lock.release_shared(me));
                               },
                               observe, audit});
}

TEST_CASE("a lock that another shares or writes stays his, wherever one who asks for it is killed", "[kill]") {
  TestSegment segment(8u << 20);
  RwLock lock(segment.make(kPlan));
  auto& me = segment.me();
  auto observe = [&] { return std::to_string(lock.readers()) + " " + std::to_string(lock.held_by(me)); };
  auto audit = [&]() -> std::string {
    return lock.shared_by(me) != lock.held_by(me) ? "" : "the caller's hold is lost";
  };
  auto try_both = [&] {
    // In the recording run this is the caller itself, who is told; its victims are strangers.
    ignore(lock.acquire(segment.me(), Deadline::already()));
    if (lock.acquire_shared(segment.me(), Deadline::already()) == Status::kOk)
      ignore(lock.release_shared(segment.me()));
  };
  REQUIRE(lock.acquire_shared(me) == Status::kOk);
  kill_everywhere_in(segment, {"attempts on a shared lock", try_both, observe, audit});
  REQUIRE(lock.release_shared(me) == Status::kOk);
  REQUIRE(lock.acquire(me) == Status::kOk);
  kill_everywhere_in(segment, {"attempts on a written lock", try_both, observe, audit});
  REQUIRE(lock.release(me) == Status::kOk);
}

TEST_CASE("who sleeps gets in, wherever the one who leaves is killed", "[kill]") {
  shm::set_sleeper_check_for_test(kNoCheck);
  shm::set_holder_check_for_test(std::chrono::hours(1));
  for (bool victim_writes : {false, true}) {
    for (bool waiter_writes : {true, false}) {
      if (!victim_writes && !waiter_writes) continue;  // they share
      INFO("victim writes: " << victim_writes << ", waiter writes: " << waiter_writes);
      KillStage stage(20);
      RwLock lock(stage.segment.make(kPlan));
      stage.save();
      Waiter waiter(stage, lock);
      KillPlan plan = stage.plan("leave with one asleep", [&](shm::ThreadContext& me) {
        ignore(victim_writes ? lock.release(me) : lock.release_shared(me));
      });
      plan.prepare = [&] {
        waiter.end();
        stage.restore();
        waiter.may_start->store(0);
        waiter.start(waiter_writes);
      };
      plan.enter = [&, join = plan.enter] {
        join();
        ignore(victim_writes ? lock.acquire(stage.me()) : lock.acquire_shared(stage.me()));
        waiter.may_start->store(1);
        waiter.await_sleep();
      };
      plan.verify = [&](pid_t, std::size_t) -> std::string {
        (void)shm::recover_all_dead(*stage.segment, stage.me());
        std::string wrong = waiter.ended();
        if (wrong.empty()) wrong = usable(stage.segment, lock);
        return wrong.empty() ? stage.recover(0, 0) : wrong;
      };
      expect_clean(run_kill_plan(plan));
    }
  }
  shm::set_sleeper_check_for_test(kUsualCheck);
  shm::set_holder_check_for_test(std::chrono::milliseconds(100));
}

TEST_CASE("a writer that is about to sleep finds that a reader died before it was told") {
  TestSegment segment;
  const shm::ObjectAddress where = segment.make(kPlan);
  auto* control = segment->at<shm::RwLockControl>(where.control);
  auto& me = segment.me();
  control->readers_seen.store(1);  // by an earlier reader
  control->draining.store(1);      // as a writer does before it looks for readers
  const std::uint32_t before = control->drained.load();
  pid_t reader = spawn([&] {
    shm::ObjectInfo info;
    ignore(shm::object_info(*segment, where.object, info));
    ignore(shm::add_reference(*segment, info.id));  // as every process does that has a proxy of it
    ignore(RwLock(where).acquire_shared(segment.me(), Deadline::already()));
    (void)segment.me().retract_last_shared(where.control);
    raise(SIGKILL);
  });
  (void)wait_for(reader);
  (void)shm::recover_all_dead(*segment, me);
  CHECK(control->drained.load() != before);  // else it would sleep beside a lock that nobody shares
  control->draining.store(0);
}

TEST_CASE("who sleeps gets in, wherever a writer that waits for readers is killed", "[kill]") {
  shm::set_holder_check_for_test(std::chrono::hours(1));
  KillStage stage(20);
  RwLock lock(stage.segment.make(kPlan));
  REQUIRE(lock.acquire_shared(stage.me()) == Status::kOk);
  stage.save();
  KillPlan plan = stage.plan("a writer that gives up", [&](shm::ThreadContext& me) {
    ignore(lock.acquire(me, Deadline::at(std::chrono::steady_clock::now() - std::chrono::hours(1))));
  });
  plan.verify = [&](pid_t, std::size_t) -> std::string {
    (void)shm::recover_all_dead(*stage.segment, stage.me());
    pid_t reader = spawn([&] {
      alarm(20);
      if (lock.acquire_shared(stage.me(), Deadline::already()) != Status::kOk) throw std::runtime_error("shut out");
      ignore(lock.release_shared(stage.me()));
      stage.segment->leave();
    });
    if (wait_for(reader) != 0) return "a reader is shut out";
    if (lock.readers() != 1) return "the caller's share is lost";
    return stage.recover(0, 0);
  };
  expect_clean(run_kill_plan(plan));
  shm::set_holder_check_for_test(std::chrono::milliseconds(100));
}
