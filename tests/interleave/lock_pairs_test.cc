// Each two operations on a lock of any kind, one interrupted anywhere by the other.
#include <fmt/ranges.h>

#include <algorithm>

#include "interleave/lock_operations.h"
#include "interleave/waits.h"
#include "shm/rlock.h"
#include "shm/rw_lock.h"
#include "shm/semaphore.h"
#include "shm/user_lock.h"
#include "support/further_operations.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::Status;
using shm::ThreadContext;

namespace {

constexpr std::size_t kSomePairs = 6;

// Its permits, and those that living processes hold.
std::string state_of(const shm::Semaphore& semaphore) {
  shm::Word held = 0;
  for (const shm::Semaphore::Holder& holder : semaphore.holders()) held += holder.permits;
  return fmt::format("{} free, {} held", semaphore.value(), held);
}

std::vector<Operation> operations_of(const shm::Semaphore& semaphore) {
  const auto acquire = [&](ThreadContext& me) { return semaphore.acquire(me); };
  const auto release = [&](ThreadContext& me) { return semaphore.release(me); };
  return {
      {"acquire", [=](ThreadContext& me) { return word_of(acquire(me)); }},
      {"acquire without a wait", [&](ThreadContext& me) { return word_of(semaphore.acquire(me, Deadline::already())); },
       kSemaphoreWithoutWait},
      {"acquire in time",
       [&](ThreadContext& me) { return word_of(semaphore.acquire(me, Deadline::after(kShortWait))); },
       kSemaphoreInTime},
      holding("acquire and release", acquire, release),
      {"release", [=](ThreadContext& me) { return word_of(release(me)); }},
      {"release two", [&](ThreadContext& me) { return word_of(semaphore.release(me, 2)); }},
  };
}

// Who holds it: readers, each as often as it reads, and whether somebody writes.
std::string state_of(const shm::RwLock& lock) {
  std::vector<std::uint32_t> times;
  for (const shm::RwLock::Reader& reader : lock.all_readers()) times.push_back(reader.times);
  std::ranges::sort(times);
  return fmt::format("read {} times, {}", fmt::join(times, " and "),
                     lock.writer_pid() != 0 ? "written" : "not written");
}

}  // namespace

TEST_CASE("two operations on a lock, one of them interrupted anywhere, are done one after the other") {
  KillStage stage;
  const shm::UserLock lock(stage.segment.make({shm::ObjectKind::kLock, "", "lock"}));
  const auto release = [&](ThreadContext& me) { return lock.release(me); };
  const std::vector<Operation> operations{
      {"acquire", [&](ThreadContext& me) { return word_of(lock.acquire(me)); }},
      {"acquire without a wait", [&](ThreadContext& me) { return word_of(lock.acquire(me, Deadline::already())); },
       kNoWait},
      {"acquire in time", [&](ThreadContext& me) { return word_of(lock.acquire(me, Deadline::after(kShortWait))); },
       kShortWaitAtMost},
      {"release", [&](ThreadContext& me) { return word_of(release(me)); }},
      holding(
          "acquire and release", [&](ThreadContext& me) { return lock.acquire(me); }, release),
      bounded(holding(
                  "acquire in time and release",
                  [&](ThreadContext& me) { return lock.acquire(me, Deadline::after(kShortWait)); }, release),
              kShortWaitAtMost),
  };
  explore_all_pairs(stage, "lock", operations,
                    {[&] { return std::string(lock.locked() ? "locked" : "free"); }, [] { return std::string(); },
                     [&] { return works(lock, stage.me()); }});
}

// An owner that acquires again waits until another unlocks it.
TEST_CASE("two operations on a lock that is handed over, one of them interrupted anywhere, come one after the other") {
  KillStage stage;
  const shm::UserLock lock(stage.segment.make({shm::ObjectKind::kLock, "", "lock", {0, 1}}));
  const Call acquire = [&](ThreadContext& me) { return word_of(lock.acquire(me)); };
  const Call at_once = [&](ThreadContext& me) { return word_of(lock.acquire(me, Deadline::already())); };
  const Call in_time = [&](ThreadContext& me) { return word_of(lock.acquire(me, Deadline::after(kShortWait))); };
  const Call release = [&](ThreadContext& me) { return word_of(lock.release(me)); };
  const std::vector<Operation> operations{
      {"acquire twice", {acquire, acquire}},
      {"acquire twice, release", {acquire, acquire, release}},
      {"release", release},
      {"release twice", {release, release}},
      {"acquire and release", {acquire, release}},
      {"acquire without a wait", at_once, kNoWait},
      bounded({"acquire without a wait, acquire in time", {at_once, in_time}}, kShortWaitAtMost),
  };
  explore_all_pairs(stage, "lock that is handed over", operations,
                    {[&] { return std::string(lock.locked() ? "locked" : "free"); }, [] { return std::string(); },
                     [&] { return works(lock, stage.me()); }},
                    kSomePairs);
}

TEST_CASE("two operations on a semaphore, one of them interrupted anywhere, are done one after the other") {
  KillStage stage;
  const shm::Semaphore semaphore(stage.segment.make({shm::ObjectKind::kSemaphore, "", "semaphore", {1}}));
  explore_all_pairs(
      stage, "semaphore", operations_of(semaphore),
      {[&] { return state_of(semaphore); }, [] { return std::string(); }, [&] { return works(semaphore, stage.me()); }},
      2 * kSomePairs);
}

// No release takes it above its start, and no death.
TEST_CASE("two operations on a bounded semaphore, one of them interrupted anywhere, are done one after the other") {
  KillStage stage;
  const shm::Semaphore semaphore(stage.segment.make({shm::ObjectKind::kSemaphore, "", "semaphore", {2, 1}}));
  const auto further = [&]() -> std::string {
    if (semaphore.value() != 2) return fmt::format("{} of 2 permits are back", semaphore.value());
    if (semaphore.release(stage.me()) != Status::kOutOfRange) return "there is room above its bound";
    return all_done({{"acquire", semaphore.acquire(stage.me())}, {"release", semaphore.release(stage.me())}});
  };
  std::vector<Operation> operations = operations_of(semaphore);
  const Call acquire = operations.front().calls.front();
  operations.push_back({"acquire twice", {acquire, acquire}});
  const Call release_two = [&](ThreadContext& me) { return word_of(semaphore.release(me, 2)); };
  operations.push_back({"acquire twice, release two", {acquire, acquire, release_two}});
  explore_all_pairs(stage, "bounded semaphore", operations,
                    {[&] { return state_of(semaphore); }, [] { return std::string(); }, further}, kSomePairs);
}

// Nobody holds what was acquired: a death gives nothing back.
TEST_CASE("two operations on a semaphore of items, one of them interrupted anywhere, are done one after the other") {
  for (const shm::Word items : {0, 1}) {
    KillStage stage;
    const shm::Semaphore semaphore(stage.segment.make({shm::ObjectKind::kSemaphore, "", "semaphore", {items, 0, 1}}));
    explore_all_pairs(stage, fmt::format("semaphore of items, with {}", items), operations_of(semaphore),
                      {[&] { return state_of(semaphore); }, [] { return std::string(); },
                       [&] { return works(semaphore, stage.me()); }},
                      kSomePairs);
  }
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
  const auto where = stage.segment.make({shm::ObjectKind::kRwLock, "", "rwlock"});
  const shm::RwLock lock(where);
  const bool seen_before = GENERATE(false, true);  // whether it says already that it has had readers
  if (seen_before) {
    REQUIRE(lock.acquire_shared(stage.me()) == Status::kOk);
    REQUIRE(lock.release_shared(stage.me()) == Status::kOk);
  }
  const std::string nobody = state_of(lock);
  const auto read = [&](ThreadContext& me) { return lock.acquire_shared(me); };
  const auto write = [&](ThreadContext& me) { return lock.acquire(me); };
  const auto read_soon = [&](ThreadContext& me) { return lock.acquire_shared(me, Deadline::after(kShortWait)); };
  const auto write_soon = [&](ThreadContext& me) { return lock.acquire(me, Deadline::after(kShortWait)); };
  const auto end_read = [&](ThreadContext& me) { return lock.release_shared(me); };
  const auto end_write = [&](ThreadContext& me) { return lock.release(me); };
  const Call reads = [=](ThreadContext& me) { return word_of(read(me)); };
  const Call ends_read = [=](ThreadContext& me) { return word_of(end_read(me)); };
  const std::vector<Operation> operations{
      {"read", reads},
      {"write", [=](ThreadContext& me) { return word_of(write(me)); }},
      holding("read and release", read, end_read),
      holding("write and release", write, end_write),
      {"read twice, release twice", {reads, reads, ends_read, ends_read}},
      {"read twice, release once", {reads, reads, ends_read}},
      {"read in time", [=](ThreadContext& me) { return word_of(read_soon(me)); }, kShortWaitAtMost},
      {"write in time", [=](ThreadContext& me) { return word_of(write_soon(me)); }, kShortWaitAtMost},
      bounded(holding("write in time and release", write_soon, end_write), kShortWaitAtMost),
      {"read without a wait", [&](ThreadContext& me) { return word_of(lock.acquire_shared(me, Deadline::already())); },
       kNoWait},
      {"write without a wait", [&](ThreadContext& me) { return word_of(lock.acquire(me, Deadline::already())); },
       kNoWait},
      {"release of a read", ends_read, kNoWait},
      {"release of a write", [=](ThreadContext& me) { return word_of(end_write(me)); }, kNoWait},
  };
  Observation observation{[&] { return state_of(lock); }, [] { return std::string(); },
                          [&] { return works(lock, stage.me()); }};
  // Where two meet that wait for a time, or not at all, each may see the other on its way in, and neither gets it.
  observation.permits = [&](const Outcome& outcome) {
    const std::string in_the_way = word_of(Status::kTimedOut);
    return outcome.results[0].starts_with(in_the_way) && outcome.results[1].starts_with(in_the_way) &&
           outcome.contents == nobody;
  };
  explore_all_pairs(stage, seen_before ? "rwlock that was read" : "rwlock",
                    by_users_of(stage.segment, where, operations), observation, kSomePairs);
}

TEST_CASE("two operations on a recursive lock, one of them interrupted anywhere, are done one after the other") {
  KillStage stage;
  const shm::RLock lock(stage.segment.make({shm::ObjectKind::kRLock, "", "rlock"}));
  const Call acquire = [&](ThreadContext& me) { return word_of(lock.acquire(me)); };
  const Call at_once = [&](ThreadContext& me) { return word_of(lock.acquire(me, Deadline::already())); };
  const Call in_time = [&](ThreadContext& me) { return word_of(lock.acquire(me, Deadline::after(kShortWait))); };
  const Call release = [&](ThreadContext& me) { return word_of(lock.release(me)); };
  const std::vector<Operation> operations{
      {"acquire", acquire},
      {"acquire without a wait", at_once, kNoWait},
      {"acquire in time", in_time, kShortWaitAtMost},
      bounded({"acquire in time, acquire without a wait, release once", {in_time, at_once, release}}, kShortWaitAtMost),
      {"acquire and release", {acquire, release}},
      {"acquire twice, release twice", {acquire, acquire, release, release}},
      {"release", release},
  };
  explore_all_pairs(stage, "rlock", operations,
                    {[&] { return fmt::format("depth {}", lock.depth()); }, [] { return std::string(); },
                     [&] { return works(lock, stage.me()); }},
                    2 * kSomePairs);
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
