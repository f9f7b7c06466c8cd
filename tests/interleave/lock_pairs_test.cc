// Each two operations on a lock of any kind, one interrupted anywhere by the other.
#include "interleave/lock_operations.h"
#include "shm/rlock.h"
#include "shm/rw_lock.h"
#include "shm/semaphore.h"
#include "shm/user_lock.h"
#include "support/further_operations.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::Status;
using shm::ThreadContext;

namespace {

constexpr auto kShortWait = 10ms;

}  // namespace

TEST_CASE("two operations on a lock, one of them interrupted anywhere, are done one after the other") {
  KillStage stage;
  const shm::UserLock lock(stage.segment.make({shm::ObjectKind::kLock, "", "lock"}));
  const auto release = [&](ThreadContext& me) { return lock.release(me); };
  const std::vector<Operation> operations{
      {"acquire", [&](ThreadContext& me) { return word_of(lock.acquire(me)); }},
      {"acquire without a wait", [&](ThreadContext& me) { return word_of(lock.acquire(me, Deadline::already())); }, 0},
      {"acquire in time", [&](ThreadContext& me) { return word_of(lock.acquire(me, Deadline::after(kShortWait))); },
       2 * std::chrono::nanoseconds(kShortWait).count()},
      {"release", [&](ThreadContext& me) { return word_of(release(me)); }},
      holding(
          "acquire and release", [&](ThreadContext& me) { return lock.acquire(me); }, release),
      holding(
          "acquire in time and release",
          [&](ThreadContext& me) { return lock.acquire(me, Deadline::after(kShortWait)); }, release),
  };
  explore_all_pairs(stage, "lock", operations,
                    {[&] { return std::string(lock.locked() ? "locked" : "free"); }, [] { return std::string(); },
                     [&] { return works(lock, stage.me()); }});
}

TEST_CASE("two operations on a semaphore, one of them interrupted anywhere, are done one after the other") {
  KillStage stage;
  const shm::Semaphore semaphore(stage.segment.make({shm::ObjectKind::kSemaphore, "", "semaphore", {1}}));
  const std::vector<Operation> operations{
      {"acquire", [&](ThreadContext& me) { return word_of(semaphore.acquire(me)); }},
      {"acquire in time",
       [&](ThreadContext& me) { return word_of(semaphore.acquire(me, Deadline::after(kShortWait))); }},
      holding(
          "acquire and release", [&](ThreadContext& me) { return semaphore.acquire(me); },
          [&](ThreadContext& me) { return semaphore.release(me); }),
      {"release", [&](ThreadContext& me) { return word_of(semaphore.release(me)); }},
  };
  explore_all_pairs(stage, "semaphore", operations,
                    {[&] { return std::to_string(semaphore.value()); }, [] { return std::string(); },
                     [&] { return works(semaphore, stage.me()); }});
}

// Its end counts what it held as used up, and takes the mark that somebody sleeps out of the semaphore's state.
TEST_CASE("who waits for a permit gets that of a later release, whoever ended in order meanwhile that held one") {
  KillStage stage;
  const shm::Semaphore semaphore(stage.segment.make({shm::ObjectKind::kSemaphore, "", "semaphore", {1}}));
  const Call acquire = [&](ThreadContext&) { return word_of(semaphore.acquire(*stage.segment->here())); };
  const Call release = [&](ThreadContext&) { return word_of(semaphore.release(*stage.segment->here())); };
  const Call end_and_join = [&](ThreadContext&) {
    stage.segment->leave();
    return std::string(stage.segment->here() != nullptr ? "joined" : "refused");
  };
  const Operation waiter{"acquire", acquire};
  const Operation ends{"acquire, end, join and release", {acquire, end_and_join, release}};
  const Observation observation{[&] { return std::to_string(semaphore.value()); }, [] { return std::string(); },
                                [&] { return works(semaphore, stage.me()); }};
  explore_pairs(stage, "semaphore, an end in order", {{&ends, &waiter}}, observation, kAllPairs);
}

TEST_CASE("two operations on a lock for readers and writers, one of them interrupted anywhere, are done in an order") {
  KillStage stage;
  const shm::RwLock lock(stage.segment.make({shm::ObjectKind::kRwLock, "", "rwlock"}));
  const auto read = [&](ThreadContext& me) { return lock.acquire_shared(me); };
  const auto write = [&](ThreadContext& me) { return lock.acquire(me); };
  const std::vector<Operation> operations{
      {"read", [=](ThreadContext& me) { return word_of(read(me)); }},
      {"write", [=](ThreadContext& me) { return word_of(write(me)); }},
      holding("read and release", read, [&](ThreadContext& me) { return lock.release_shared(me); }),
      holding("write and release", write, [&](ThreadContext& me) { return lock.release(me); }),
      {"write in time", [&](ThreadContext& me) { return word_of(lock.acquire(me, Deadline::after(kShortWait))); }},
  };
  explore_all_pairs(
      stage, "rwlock", operations,
      {[] { return std::string(); }, [] { return std::string(); }, [&] { return works(lock, stage.me()); }});
}

TEST_CASE("two operations on a recursive lock, one of them interrupted anywhere, are done one after the other") {
  KillStage stage;
  const shm::RLock lock(stage.segment.make({shm::ObjectKind::kRLock, "", "rlock"}));
  const Call acquire = [&](ThreadContext& me) { return word_of(lock.acquire(me)); };
  const Call release = [&](ThreadContext& me) { return word_of(lock.release(me)); };
  const std::vector<Operation> operations{
      {"acquire", acquire},
      {"acquire without a wait", [&](ThreadContext& me) { return word_of(lock.acquire(me, Deadline::already())); }, 0},
      {"acquire and release", {acquire, release}},
      {"acquire twice, release twice", {acquire, acquire, release, release}},
      {"release", release},
  };
  explore_all_pairs(stage, "rlock", operations,
                    {[&] { return fmt::format("depth {}", lock.depth()); }, [] { return std::string(); },
                     [&] { return works(lock, stage.me()); }});
}

TEST_CASE("operations on a lock whose owner died, one of them interrupted anywhere, are told of it once") {
  for (const bool poisons : {false, true}) {
    KillStage stage;
    const shm::UserLock lock(stage.segment.make({shm::ObjectKind::kLock, "", "lock", {poisons ? shm::kPoisons : 0}}));
    REQUIRE(lock.acquire(stage.me()) == Status::kOk);
    shm::UserLock::repair_control(stage.me(), lock.control());  // as after the death of its owner
    REQUIRE(lock.release(stage.me()) == Status::kOk);
    const Call acquire = [&](ThreadContext& me) { return word_of(lock.acquire(me)); };
    const Call release = [&](ThreadContext& me) { return word_of(lock.release(me)); };
    const Call told = [&](ThreadContext&) { return std::string(lock.take_died() != 0 ? "told" : "not told"); };
    const Call mark = [&](ThreadContext&) {
      return std::string(lock.mark_consistent() ? "consistent" : "another died");
    };
    std::vector<Operation> operations{{"acquire", {acquire, told}}, {"told", {told, told}}};
    if (poisons) {
      operations.push_back({"mark consistent and acquire", {mark, acquire}});
      operations.push_back({"acquire, mark consistent and acquire", {acquire, mark, acquire}});
    } else {
      operations.push_back({"acquire and release", {acquire, told, release}});
      operations.push_back({"acquire", acquire});
    }
    Observation observation{
        [&] { return fmt::format("{} {}", lock.locked() ? "locked" : "free", lock.died_pid() != 0); },
        [] { return std::string(); }};
    // The other one died as the lock's owner while this one marked it: it is poisoned still.
    observation.permits = [](const Outcome& outcome) {
      const auto is_told_so = [&](std::size_t one) {
        return outcome.died[1 - one] && outcome.results[one].find("another died") != std::string::npos;
      };
      return (is_told_so(0) || is_told_so(1)) && outcome.contents == "free true";
    };
    explore_all_pairs(stage, poisons ? "poisoned lock" : "lock whose owner died", operations, observation, 6);
  }
}

TEST_CASE("owners of a lock that draw fencing tokens, one of them interrupted anywhere, draw them in their order") {
  KillStage stage;
  const shm::UserLock lock(stage.segment.make({shm::ObjectKind::kLock, "", "lock"}));
  const Call acquire = [&](ThreadContext& me) { return word_of(lock.acquire(me)); };
  const Call release = [&](ThreadContext& me) { return word_of(lock.release(me)); };
  const Call draw = [&](ThreadContext& me) { return std::to_string(lock.fencing_token(me)); };
  const std::vector<Operation> operations{{"acquire and draw", {acquire, draw, draw}},
                                          {"acquire, draw and release", {acquire, draw, release}},
                                          {"release, acquire and draw", {release, acquire, draw}}};
  Observation observation{[&] { return std::string(lock.locked() ? "locked" : "free"); }, [] { return std::string(); }};
  // An owner that was unlocked while it drew a token gets none; that one is lost, and the next owner draws a higher one.
  observation.permits = [](const Outcome& outcome) {
    return std::ranges::any_of(outcome.results,
                               [](const std::string& result) { return result.find(", 0") != std::string::npos; });
  };
  explore_all_pairs(stage, "lock with fencing tokens", operations, observation);
}
