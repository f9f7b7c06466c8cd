// A SIGKILL at every instruction of watching a lock, semaphore, event or barrier, and of what its watchers sleep for.
#include "shm/ready_watch.h"

#include <poll.h>
#include <sys/prctl.h>

#include "shm/barrier.h"
#include "shm/event.h"
#include "shm/semaphore.h"
#include "shm/sleep_notice.h"
#include "shm/user_lock.h"
#include "support/process_shared.h"
#include "support/structure_kill.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::Status;
using shm::ThreadContext;

namespace {

struct Stage : KillStage {
  shm::ObjectAddress lock_at = segment.make({shm::ObjectKind::kLock, "", "lock"});
  shm::ObjectAddress semaphore_at = segment.make({shm::ObjectKind::kSemaphore, "", "semaphore", {1}});
  shm::ObjectAddress event_at = segment.make({shm::ObjectKind::kEvent, "", "event"});
  shm::ObjectAddress barrier_at = segment.make({shm::ObjectKind::kBarrier, "", "barrier", {2}});
  shm::UserLock lock{lock_at};
  shm::Semaphore semaphore{semaphore_at};
  shm::Event event{event_at};
  shm::Barrier barrier{barrier_at};

  struct Watched {
    const char* name;
    std::function<std::unique_ptr<shm::Watcher>()> watch;
    std::function<bool(ThreadContext&)> take;        // so that whoever watches has to wait
    std::function<bool(ThreadContext&)> make_ready;  // what it waits for
  };
  const std::vector<Watched> all{
      {"lock", [this] { return shm::watch_lock(lock_at); },
       [this](ThreadContext& me) { return lock.acquire(me, Deadline::already()) == Status::kOk; },
       [this](ThreadContext& me) { return lock.release(me) == Status::kOk; }},
      {"semaphore", [this] { return shm::watch_semaphore(semaphore_at); },
       [this](ThreadContext& me) { return semaphore.acquire(me, Deadline::already()) == Status::kOk; },
       [this](ThreadContext& me) { return semaphore.release(me) == Status::kOk; }},
      {"event", [this] { return shm::watch_event(event_at); }, [](ThreadContext&) { return true; },
       [this](ThreadContext& me) { return event.set(me), true; }},
      {"barrier", [this] { return shm::watch_barrier(barrier_at); }, [](ThreadContext&) { return true; },
       [this](ThreadContext& me) { return barrier.abort(me), true; }},
  };
};

}  // namespace

TEST_CASE("a watcher killed anywhere leaves objects that others take, make ready and watch", "[kill]") {
  Stage stage;
  for (const auto& watched : stage.all) {
    INFO(watched.name);
    REQUIRE(watched.take(stage.me()));
    stage.save();
    KillPlan plan = stage.plan(std::string("watch a taken ") + watched.name, [&](ThreadContext& me) {
      (void)shm::wait_for_change(me, *watched.watch(), Deadline::already());
    });
    plan.verify = [&](pid_t, std::size_t) -> std::string {
      if (std::string wrong = stage.recover(); !wrong.empty()) return wrong;
      const auto watcher = watched.watch();
      bool ready = true;
      (void)watcher->look(stage.me(), ready);
      if (ready) return "it is ready, and nobody made it so";
      if (!watched.make_ready(stage.me())) return "it cannot be made ready";
      (void)watcher->look(stage.me(), ready);
      if (!ready) return "that it is ready is not told";
      return watched.take(stage.me()) ? "" : "it cannot be taken afterwards";
    };
    expect_clean(run_kill_plan(plan));
    stage.restore();
    REQUIRE(watched.make_ready(stage.me()));
  }
}

TEST_CASE("who sleeps until an object is ready is woken, wherever the one who made it so is killed", "[kill]") {
  Stage stage;
  stage.save();
  shm::set_sleeper_check_for_test(3600'000'000'000);  // nothing but a wake-up helps
  pid_t waiter = 0;
  Shared<std::atomic<pid_t>> watching;
  Shared<std::atomic<bool>> taken;
  const auto end_waiter = [&] {
    if (waiter == 0) return;
    kill(waiter, SIGKILL);
    (void)wait_for(std::exchange(waiter, 0));
  };
  for (const auto& watched : stage.all) {
    KillPlan plan = stage.plan(std::string("make ready a watched ") + watched.name, [&](ThreadContext& me) {
      if (!watched.make_ready(me)) _exit(9);
    });
    plan.prepare = [&] {
      end_waiter();
      stage.restore();
      watching->store(0);
      taken->store(false);
      waiter = spawn([&] {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(20);
        while (!taken->load()) poll(nullptr, 0, 1);
        const auto watcher = watched.watch();
        watching->store(getpid());
        if (shm::wait_for_change(stage.me(), *watcher, Deadline::never()) != Status::kOk)
          throw std::runtime_error("no");
        stage.segment->leave();
      });
    };
    plan.enter = [&, join = plan.enter] {
      join();
      if (!watched.take(stage.me())) _exit(9);
      taken->store(true);
      while (watching->load() == 0) poll(nullptr, 0, 1);
      for (int seen = 0; seen < 2; poll(nullptr, 0, 1)) seen = is_asleep(watching->load()) ? seen + 1 : 0;
    };
    // The death of its holder makes a lock and a semaphore ready, too; an event and a barrier stay as they were.
    const bool stays = std::string(watched.name) == "event" || std::string(watched.name) == "barrier";
    plan.verify = [&](pid_t, std::size_t) -> std::string {
      (void)shm::recover_all_dead(*stage.segment, stage.me());
      if (stays && !stage.event.is_set() && !stage.barrier.broken()) {
        end_waiter();  // nothing to tell
        (void)shm::recover_all_dead(*stage.segment, stage.me());
        return stage.leftovers();
      }
      if (wait_for(std::exchange(waiter, 0)) != 0) return "the watcher was not woken";
      return stage.recover(0, 0);
    };
    expect_clean(run_kill_plan(plan));
    end_waiter();
  }
  shm::set_sleeper_check_for_test(100'000'000);
}
