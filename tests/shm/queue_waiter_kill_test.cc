// Those who wait in a queue, for an item or for room, killed at every instruction: asleep, woken, and with what they
// waited for in their hands. Another one waits behind them, who must get what they did not take.
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <thread>

#include "shm/any_queue.h"
#include "shm/spin.h"
#include "support/process_shared.h"
#include "support/structure_kill.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::Status;
using shm::ThreadContext;

namespace {

void ignore(Status) {}

struct WaiterStage : KillStage {
  WaiterStage(bool redelivers, std::uint64_t limit)
      : KillStage(20),
        where(segment.make({shm::ObjectKind::kQueue, "", "queue<text>", {0, limit, 0, redelivers ? 1u : 0u}})) {}
  ~WaiterStage() { end_helper(); }
  void end_helper() {
    if (helper == 0) return;
    kill(helper, SIGKILL);
    (void)wait_for(std::exchange(helper, 0));
  }
  Status put(ThreadContext& me, const std::string& item, Deadline deadline) const {
    return queue.is_ring() ? queue.ring().put(me, text(item), deadline)
                           : queue.ordered().put(me, text(item), 0, deadline);
  }
  Status get(ThreadContext& me, std::string& item, Deadline deadline) const {
    return queue.is_ring() ? queue.ring().get(me, item, deadline) : queue.ordered().get(me, item, nullptr, deadline);
  }
  std::vector<std::string> items() const {
    return queue.visit([](auto& found) { return found.items_for_test(); });
  }

  shm::ObjectAddress where;
  shm::AnyQueue queue{where};
  pid_t helper = 0;
};

struct Progress {
  std::atomic<pid_t> victim, other;  // threads
  std::atomic<bool> changed;         // the helper did what the victim waits for
  std::atomic<bool> other_done;
  std::atomic<char> other_item;
};

// wait(me) is what the victim and the other do, change(me) what the helper does so that one of them can go on, and once
// more for the other when the victim has used it up.
struct WaiterCase {
  const char* name;
  std::function<Status(ThreadContext& me, bool victim)> wait;
  std::function<Status(ThreadContext& me)> change;
  std::function<bool()> used_up;  // what change() did, by the victim or the other
  bool comes_again;               // when the victim dies, so that the other always gets it
};

void kill_waiter(WaiterStage& stage, Progress& progress, const WaiterCase& one) {
  shm::set_longest_sleep_for_test(3600'000'000'000);  // nothing but a wake-up helps
  shm::spinning = false;                              // the victim's path must not depend on the time
  stage.save();
  KillPlan plan = stage.plan(one.name, [&](ThreadContext& me) { ignore(one.wait(me, true)); });
  plan.max_every = soaking() ? 20'000 : 1500;
  plan.sample = 200;
  plan.seed = Catch::rngSeed();
  plan.timeout_ms = 20'000;
  plan.prepare = [&] {
    stage.end_helper();
    stage.restore();
    progress.victim = progress.other = 0;
    progress.changed = progress.other_done = false;
    stage.helper = spawn([&] {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      auto sleeps = [](const std::atomic<pid_t>& thread) {
        for (int seen = 0; seen < 2; poll(nullptr, 0, 1)) seen = thread != 0 && is_asleep(thread) ? seen + 1 : 0;
      };
      sleeps(progress.victim);
      alarm(20);
      std::thread other([&] {
        auto& me = stage.segment.me();
        progress.other = static_cast<pid_t>(syscall(SYS_gettid));
        if (one.wait(me, false) != Status::kOk) abort();
        progress.other_done = true;
      });
      sleeps(progress.other);  // behind the victim
      if (one.change(stage.me()) != Status::kOk) abort();
      progress.changed = true;
      other.join();
      stage.segment->leave();
    });
  };
  plan.enter = [&, join = plan.enter] {
    join();
    progress.victim = getpid();
  };
  std::size_t slept = 0, took = 0;
  plan.verify = [&](pid_t, std::size_t) -> std::string {
    // Killed before the helper saw it asleep, or at any time after that.
    if (progress.other == 0) {
      stage.end_helper();
      (void)shm::recover_all_dead(*stage.segment, stage.me());
      return stage.leftovers();
    }
    ++slept;
    while (!progress.changed && kill(stage.helper, 0) == 0) poll(nullptr, 0, 1);
    (void)shm::recover_all_dead(*stage.segment, stage.me());  // the helper may have been first
    // Until the other has it, or sleeps: then it is to be woken (the alarm says if it is not), or the victim has used
    // up what it waits for.
    for (int seen = 0; seen < 3 && !progress.other_done; poll(nullptr, 0, 1)) {
      seen = is_asleep(progress.other) ? seen + 1 : 0;
    }
    if (!progress.other_done && one.used_up()) {
      ++took;
      ignore(one.change(stage.me()));
    }
    if (wait_for(std::exchange(stage.helper, 0)) != 0) return "who waited behind it is stuck";
    if (auto audit = stage.queue.audit(stage.me()); !audit.error.empty()) return audit.error;
    return stage.recover(0, 0);
  };
  expect_clean(run_kill_plan(plan));
  CHECK(slept > 0);
  CHECK((took > 0) != one.comes_again);
  stage.end_helper();
  shm::set_longest_sleep_for_test(1'000'000'000);
  shm::spinning = true;
}

}  // namespace

TEST_CASE("a consumer that waits in an empty queue takes no wake-up with it, wherever it is killed", "[kill]") {
  Shared<Progress> progress;
  for (bool redelivers : {false, true}) {
    WaiterStage stage(redelivers, 0);
    kill_waiter(stage, *progress,
                {redelivers ? "get from an empty queue that redelivers" : "get from an empty queue",
                 [&](ThreadContext& me, bool) {
                   std::string item;
                   item.reserve(64);
                   return stage.get(me, item, Deadline::never());
                 },
                 [&](ThreadContext& me) { return stage.put(me, "x", Deadline::already()); },
                 [&] { return stage.items().empty(); }, redelivers});
  }
}

TEST_CASE("a producer that waits in a full queue takes no wake-up with it, wherever it is killed", "[kill]") {
  Shared<Progress> progress;
  for (bool redelivers : {false, true}) {
    WaiterStage stage(redelivers, 1);
    REQUIRE(stage.put(stage.me(), "first", Deadline::already()) == Status::kOk);
    kill_waiter(stage, *progress,
                {redelivers ? "put into a full queue that redelivers" : "put into a full queue",
                 [&](ThreadContext& me, bool victim) {
                   return stage.put(me, victim ? "victim's" : "other's", Deadline::never());
                 },
                 [&](ThreadContext& me) {
                   std::string item;
                   item.reserve(64);
                   return stage.get(me, item, Deadline::already());
                 },
                 [&] { return !stage.items().empty(); }, false});
  }
}
