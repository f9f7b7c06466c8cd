// Operations on locks and on what processes wait in, and references, beside the recovery of a third process, which died
// holding the object, waiting in it, or in the middle of a change of it.
#include "interleave/waits.h"
#include "interleave/world_fixture.h"
#include "shm/barrier.h"
#include "shm/condition.h"
#include "shm/event.h"
#include "shm/references.h"
#include "shm/rlock.h"
#include "shm/rw_lock.h"
#include "shm/semaphore.h"
#include "shm/sweep.h"
#include "shm/user_lock.h"
#include "support/further_operations.h"
#include "support/link_ground.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::ObjectId;
using shm::Status;
using shm::ThreadContext;

namespace {

template <typename Object>
Observation nothing_but(std::function<std::string()> contents, const KillStage& stage, const Object& object) {
  return {std::move(contents), [] { return std::string(); }, [&] { return works(object, stage.me()); }};
}

// With what the one who acquires is told of a death.
template <typename Lock>
std::string acquired(const Lock& lock, ThreadContext& me, Deadline deadline = Deadline::never()) {
  std::uint32_t died = 0;
  const Status status = lock.acquire(me, deadline, &died);
  return word_of(status) + (died != 0 ? " after a death" : "");
}

}  // namespace

TEST_CASE("an operation on a lock beside the recovery of its dead user finds it free, and is told once") {
  KillStage stage;
  const shm::UserLock lock(stage.segment.make({shm::ObjectKind::kLock, "", "lock"}));
  const Call acquire = [&](ThreadContext& me) { return acquired(lock, me); };
  const Call release = [&](ThreadContext& me) { return word_of(lock.release(me)); };
  const Call both = in_turn({acquire, release});
  const std::vector<Operation> operations{
      {"acquire", acquire},
      {"acquire and release", {acquire, release}},
      {"acquire twice", {acquire, release, acquire, release}},
      {"acquire without a wait", [&](ThreadContext& me) { return acquired(lock, me, Deadline::already()); }, kNoWait},
      {"acquire in time", [&](ThreadContext& me) { return acquired(lock, me, Deadline::after(kShortWait)); },
       kShortWaitAtMost},
      {"release", release},
  };
  explore_beside_recovery(stage, "lock", {{"acquire", acquire}, {"acquire and release", both}}, operations,
                          nothing_but([&] { return std::string(lock.locked() ? "locked" : "free"); }, stage, lock));
}

TEST_CASE("an operation on a recursive lock beside the recovery of its dead user finds it free, and is told once") {
  KillStage stage;
  const shm::RLock lock(stage.segment.make({shm::ObjectKind::kRLock, "", "rlock"}));
  const Call acquire = [&](ThreadContext& me) { return acquired(lock, me); };
  const Call release = [&](ThreadContext& me) { return word_of(lock.release(me)); };
  const Call twice = in_turn({acquire, acquire, release, release});
  const std::vector<Operation> operations{
      {"acquire and release", {acquire, release}},
      {"acquire twice, release twice", {acquire, acquire, release, release}},
      {"acquire without a wait", [&](ThreadContext& me) { return acquired(lock, me, Deadline::already()); }, kNoWait},
  };
  explore_beside_recovery(stage, "rlock", {{"acquire and release, twice", twice}}, operations,
                          nothing_but([&] { return fmt::format("depth {}", lock.depth()); }, stage, lock));
}

TEST_CASE("an operation on a lock for readers and writers beside the recovery of its dead user finds it free") {
  KillStage stage;
  const shm::RwLock lock(stage.segment.make({shm::ObjectKind::kRwLock, "", "rwlock"}));
  const Call read = [&](ThreadContext& me) { return word_of(lock.acquire_shared(me)); };
  const Call write = [&](ThreadContext& me) { return word_of(lock.acquire(me)); };
  const Call end_read = [&](ThreadContext& me) { return word_of(lock.release_shared(me)); };
  const Call end_write = [&](ThreadContext& me) { return word_of(lock.release(me)); };
  const Call read_once = in_turn({read, end_read});
  const Call write_once = in_turn({write, end_write});
  const std::vector<Operation> operations{
      {"read", {read, end_read}},
      {"write", {write, end_write}},
      {"write in time", [&](ThreadContext& me) { return word_of(lock.acquire(me, Deadline::after(kShortWait))); },
       kShortWaitAtMost},
      {"read in time", [&](ThreadContext& me) { return word_of(lock.acquire_shared(me, Deadline::after(kShortWait))); },
       kShortWaitAtMost},
  };
  explore_beside_recovery(
      stage, "rwlock", {{"read", read}, {"write", write}, {"read once", read_once}, {"write once", write_once}},
      operations, nothing_but([&] { return fmt::format("{} readers", lock.readers()); }, stage, lock));
}

TEST_CASE("an operation on a semaphore beside the recovery of its dead user finds the permits that are back") {
  KillStage stage;
  const shm::Semaphore semaphore(stage.segment.make({shm::ObjectKind::kSemaphore, "", "semaphore", {1}}));
  const Call acquire = [&](ThreadContext& me) { return word_of(semaphore.acquire(me)); };
  const Call release = [&](ThreadContext& me) { return word_of(semaphore.release(me)); };
  const Call both = in_turn({acquire, release});
  const std::vector<Operation> operations{
      {"acquire", acquire},
      {"acquire and release", {acquire, release}},
      {"acquire in time",
       [&](ThreadContext& me) { return word_of(semaphore.acquire(me, Deadline::after(kShortWait))); },
       kSemaphoreInTime},
      {"release", release},
  };
  explore_beside_recovery(stage, "semaphore",
                          {{"acquire", acquire},
                           {"acquire and release", both},
                           {"release", release},
                           DeadProcess::asleep("acquire", acquire, acquire)},
                          operations,
                          nothing_but(
                              [&] {
                                // One attempt leaves the permits to the next where a live process holds the semaphore that long.
                                (void)shm::recover_all_dead(*stage.segment, stage.me());
                                return std::to_string(semaphore.value());
                              },
                              stage, semaphore));
}

TEST_CASE("an operation on a condition beside the recovery of its dead user is not forgotten") {
  KillStage stage;
  const shm::Condition condition(stage.segment.make({shm::ObjectKind::kCondition, "", "condition", {}}));
  const Call acquire = [&](ThreadContext& me) { return acquired(condition, me); };
  const Call release = [&](ThreadContext& me) { return word_of(condition.release(me)); };
  const Call wait = [&](ThreadContext& me) { return word_of(condition.wait(me)); };
  const Call notify = [&](ThreadContext& me) { return word_of(condition.notify(me, 1)); };
  const Call notify_once = in_turn({acquire, notify, release});
  const Call short_wait =
      in_turn({acquire, [&](ThreadContext& me) { return word_of(condition.wait(me, Deadline::after(1us))); }, release});
  const std::vector<Operation> operations{
      {"wait", {acquire, wait, release}},
      {"wait in time",
       {acquire, [&](ThreadContext& me) { return word_of(condition.wait(me, Deadline::after(kShortWait))); }, release}},
      {"notify", {acquire, notify, release}},
  };
  explore_beside_recovery(
      stage, "condition",
      {{"notify", notify_once}, {"a short wait", short_wait}, DeadProcess::asleep("wait", wait, acquire)}, operations,
      nothing_but([&] { return fmt::format("{} wait", condition.waiting()); }, stage, condition));
}

TEST_CASE("an operation on an event beside the recovery of its dead user finds it set or clear") {
  KillStage stage;
  const shm::Event event(stage.segment.make({shm::ObjectKind::kEvent, "", "event"}));
  const Call set = [&](ThreadContext& me) {
    event.set(me);
    return std::string("set");
  };
  const Call wait = [&](ThreadContext&) { return word_of(event.wait(Deadline::never())); };
  const std::vector<Operation> operations{
      {"wait", wait},
      {"wait in time", [&](ThreadContext&) { return word_of(event.wait(Deadline::after(kShortWait))); },
       kShortWaitAtMost},
      {"set", set},
      {"clear",
       [&](ThreadContext&) {
         event.clear();
         return std::string("cleared");
       }},
  };
  explore_beside_recovery(stage, "event", {{"set", set}, DeadProcess::asleep("wait", wait)}, operations,
                          nothing_but([&] { return std::string(event.is_set() ? "set" : "clear"); }, stage, event));
}

TEST_CASE("an operation on a barrier beside the recovery of its dead party passes or is told") {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kBarrier, "", "barrier", {2}});
  const shm::Barrier barrier(where);
  const auto wait = [&](ThreadContext& me, Deadline deadline) {
    shm::Barrier::Arrival arrival;
    const Status status = barrier.wait(me, deadline, false, arrival);
    return word_of(status) + (status == Status::kOk ? fmt::format(" {}", arrival.index) : "");
  };
  const Call long_wait = [&](ThreadContext& me) { return wait(me, Deadline::never()); };
  const Call reset = [&](ThreadContext& me) { return word_of(barrier.reset(me)); };
  const Call abort = [&](ThreadContext& me) {
    barrier.abort(me);
    return std::string("aborted");
  };
  const std::vector<Operation> operations{
      {"wait", long_wait},
      {"wait in time", [&](ThreadContext& me) { return wait(me, Deadline::after(kShortWait)); }, kShortWaitAtMost},
      {"reset", reset},
      {"abort", abort},
  };
  explore_beside_recovery(
      stage, "barrier", {{"abort", abort}, {"reset", reset}, DeadProcess::asleep("wait", long_wait)}, operations,
      {[&] { return fmt::format("{} inside, {}", barrier.waiting(), barrier.broken() ? "broken" : "whole"); },
       [&] { return shm::Barrier::audit(stage.me(), where); }, [&] { return works(barrier, stage.me()); }});
}

TEST_CASE("references beside the recovery of a dead process keep what is referred to alive") {
  KillStage stage;
  const ObjectId outer = make_object(stage.segment, shm::ObjectKind::kDict, "outer");
  shm::Dict dict(address_of(stage.segment, outer));
  const ObjectId inner = make_object(stage.segment, shm::ObjectKind::kLock);
  const shm::Word word = inner.word();
  const shm::Item link{shm::ItemKind::kReference, &word, sizeof word};
  REQUIRE(dict.put(stage.me(), text("inner"), link) == Status::kOk);
  const Call refer = [&](ThreadContext&) { return word_of(shm::add_reference(*stage.segment, inner)); };
  const Call refer_and_drop = [&](ThreadContext& me) {
    std::string referred = refer(me);
    shm::drop_reference(*stage.segment, inner);
    return referred;
  };
  const Call put = [&](ThreadContext& me) { return word_of(dict.put(me, text("again"), link)); };
  const Call erase = [&](ThreadContext& me) { return word_of(dict.erase(me, text("inner"))); };
  const Call sweep = [&](ThreadContext& me) {
    (void)shm::sweep_unreferred_objects(me);
    return std::string("swept");
  };
  const std::vector<Operation> operations{
      {"refer", refer}, {"refer and put it elsewhere", {refer, put}}, {"erase", erase}, {"sweep", sweep}};
  explore_beside_recovery(stage, "references",
                          {{"refer and drop", refer_and_drop},
                           {"put it elsewhere", put, refer},
                           {"erase", erase},
                           {"erase what it refers to", erase, refer},
                           {"sweep", sweep}},
                          operations,
                          {[&] {
                             // As the next sweep leaves it.
                             while (shm::sweep_unreferred_objects(stage.me()) != 0) {
                             }
                             return fmt::format("{}, {} entries, {}", is_alive(stage.segment, inner) ? "alive" : "gone",
                                                dict.size(), shm::count_references(*stage.segment, inner));
                           },
                           [&] { return dict.audit(stage.me()).error; }, [&] { return works(dict, stage.me()); }});
}
