// Who watches a lock, semaphore, event or barrier beside whoever uses it, interrupted anywhere: the watcher is told when a
// call would not wait, takes nothing, and a wake-up that it gets in a waiter's place reaches the waiter.
#include "interleave/lock_operations.h"
#include "interleave/triple_fixture.h"
#include "interleave/waits.h"
#include "shm/ready_watch.h"
#include "shm/rlock.h"
#include "shm/user_lock.h"
#include "support/further_operations.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::Status;
using shm::ThreadContext;

namespace {

using MakeWatcher = std::unique_ptr<shm::Watcher> (*)(const shm::ObjectAddress& where);

Operation watch_until_ready(MakeWatcher make, const shm::ObjectAddress& where) {
  return {"watch until ready",
          [=](ThreadContext& me) { return word_of(shm::wait_for_change(me, *make(where), Deadline::never())); }};
}

// What it ends with is not compared: its time may have passed while the other was stopped.
Operation watch_for_a_time(MakeWatcher make, const shm::ObjectAddress& where) {
  return {"watch for a time",
          [=](ThreadContext& me) {
            (void)shm::wait_for_change(me, *make(where), Deadline::after(kShortWait));
            return std::string("watched");
          },
          kShortWaitAtMost};
}

std::vector<Operation> watching(MakeWatcher make, const shm::ObjectAddress& where) {
  return {watch_until_ready(make, where), watch_for_a_time(make, where)};
}

// The holder may have it, and the others may sleep, in either order, before anybody is interrupted.
const std::vector<std::string> kAsleep{"", "A+ B* C*", "A+ C* B*"};

}  // namespace

TEST_CASE("a lock and whoever watches it until it is free, one of them interrupted anywhere") {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kLock, "", "lock"});
  const shm::UserLock lock(where);
  const auto acquire = [&](ThreadContext& me) { return lock.acquire(me); };
  const auto release = [&](ThreadContext& me) { return lock.release(me); };
  const Operation hold = holding("acquire and release", acquire, release);
  const Observation observation{[&] { return std::string(lock.locked() ? "locked" : "free"); },
                                [] { return std::string(); }, [&] { return works(lock, stage.me()); }};
  const std::vector<Operation> users{hold, {"acquire", [=](ThreadContext& me) { return word_of(acquire(me)); }}};
  const std::vector<Operation> watchers = watching(shm::watch_lock, where);
  explore_pairs(stage, "watched lock", each_with(users, watchers), observation, kAllPairs);
  explore_and_check(stage, {"lock: holder, waiter, watcher", {hold, hold, watchers[0]}, observation, kAsleep});
}

TEST_CASE("a recursive lock and whoever watches it until it is free, one of them interrupted anywhere") {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kRLock, "", "rlock"});
  const shm::RLock lock(where);
  const Call acquire = [&](ThreadContext& me) { return word_of(lock.acquire(me)); };
  const Call release = [&](ThreadContext& me) { return word_of(lock.release(me)); };
  const std::vector<Operation> users{{"acquire twice, release twice", {acquire, acquire, release, release}}};
  const std::vector<Operation> watchers = watching(shm::watch_lock, where);
  explore_pairs(stage, "watched rlock", each_with(users, watchers),
                {[&] { return fmt::format("depth {}", lock.depth()); }, [] { return std::string(); },
                 [&] { return works(lock, stage.me()); }},
                kAllPairs);
}

TEST_CASE("a semaphore and whoever watches it until there is a permit, one of them interrupted anywhere") {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kSemaphore, "", "semaphore", {1}});
  const shm::Semaphore semaphore(where);
  const auto acquire = [&](ThreadContext& me) { return semaphore.acquire(me); };
  const auto release = [&](ThreadContext& me) { return semaphore.release(me); };
  const Operation hold = holding("acquire and release", acquire, release);
  const Observation observation{[&] { return std::to_string(semaphore.value()); }, [] { return std::string(); },
                                [&] { return works(semaphore, stage.me()); }};
  const std::vector<Operation> users{hold, {"acquire", [=](ThreadContext& me) { return word_of(acquire(me)); }}};
  const std::vector<Operation> watchers = watching(shm::watch_semaphore, where);
  explore_pairs(stage, "watched semaphore", each_with(users, watchers), observation, kAllPairs);
  explore_and_check(stage, {"semaphore: holder, waiter, watcher", {hold, hold, watchers[0]}, observation, kAsleep});
}

TEST_CASE("an event and whoever watches it until it is set, one of them interrupted anywhere") {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kEvent, "", "event"});
  const shm::Event event(where);
  const Call set = [&](ThreadContext& me) {
    event.set(me);
    return std::string("set");
  };
  const Call clear = [&](ThreadContext&) {
    event.clear();
    return std::string("cleared");
  };
  const Operation wait{"wait", [&](ThreadContext&) { return word_of(event.wait(Deadline::never())); }};
  const std::vector<Operation> users{{"set", set}, {"set and clear", {set, clear}}, {"clear", clear}, wait};
  const std::vector<Operation> watchers = watching(shm::watch_event, where);
  const Observation observation{[&] { return std::string(event.is_set() ? "set" : "clear"); },
                                [] { return std::string(); }, [&] { return works(event, stage.me()); }};
  explore_pairs(stage, "watched event", each_with(users, watchers), observation, kAllPairs);
  explore_and_check(
      stage, {"event: waker, waiter, watcher", {users[0], wait, watchers[0]}, observation, {"", "B* C*", "C* B*"}});
}

TEST_CASE("a barrier and whoever watches it until the other party has come, one of them interrupted anywhere") {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kBarrier, "", "barrier", {2}});
  const shm::Barrier barrier(where);
  const auto wait = [&](ThreadContext& me, Deadline deadline) {
    shm::Barrier::Arrival arrival;
    return word_of(barrier.wait(me, deadline, false, arrival));
  };
  const std::vector<Operation> users{
      {"wait", [=](ThreadContext& me) { return wait(me, Deadline::never()); }},
      {"wait in time", [=](ThreadContext& me) { return wait(me, Deadline::after(50ms)); }, waits(2 * 50ms)},
      {"abort",
       [&](ThreadContext& me) {
         barrier.abort(me);
         return std::string("aborted");
       }},
      {"reset", [&](ThreadContext& me) { return word_of(barrier.reset(me)); }},
      {"wait in time, reset",
       {[=](ThreadContext& me) { return wait(me, Deadline::after(50ms)); },
        [&](ThreadContext& me) { return word_of(barrier.reset(me)); }}},
  };
  const std::vector<Operation> watchers = watching(shm::watch_barrier, where);
  explore_pairs(stage, "watched barrier", each_with(users, watchers),
                {[&] { return fmt::format("{} inside, {}", barrier.waiting(), barrier.broken() ? "broken" : "whole"); },
                 [&] { return shm::Barrier::audit(stage.me(), where); }, [&] { return works(barrier, stage.me()); }},
                kAllPairs);
}
