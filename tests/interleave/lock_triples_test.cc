// Three operations on a lock of any kind: a holder, a waiter and a newcomer.
#include "interleave/lock_operations.h"
#include "interleave/triple_fixture.h"
#include "interleave/waits.h"
#include "shm/rlock.h"
#include "shm/rw_lock.h"
#include "shm/semaphore.h"
#include "shm/user_lock.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::ThreadContext;

namespace {

// The holder may have it, and the waiter may sleep, before anybody is interrupted.
const std::vector<std::string> kHandOver{"", "A+", "A+ B*"};

}  // namespace

TEST_CASE("a lock's holder, a waiter and a newcomer, interrupted anywhere, come one after the other") {
  KillStage stage;
  const shm::UserLock lock(stage.segment.make({shm::ObjectKind::kLock, "", "lock"}));
  const auto acquire = [&](ThreadContext& me) { return lock.acquire(me); };
  const auto soon = [&](ThreadContext& me) { return lock.acquire(me, Deadline::after(kShortWait)); };
  const auto release = [&](ThreadContext& me) { return lock.release(me); };
  const Observation observation{[&] { return std::string(lock.locked() ? "locked" : "free"); },
                                [] { return std::string(); }};
  const Operation holder = holding("hold", acquire, release), waiter = holding("wait", acquire, release),
                  newcomer = holding("come", acquire, release),
                  in_time = bounded(holding("wait in time", soon, release), kShortWaitAtMost);
  explore_and_check(stage, {"lock: holder, waiter, newcomer", {holder, waiter, newcomer}, observation, kHandOver});
  explore_and_check(stage, {"lock: holder, waiter, one in time", {holder, waiter, in_time}, observation, kHandOver});
  explore_and_check(stage,
                    {"lock: holder, one in time, newcomer", {holder, in_time, newcomer}, observation, kHandOver});
}

TEST_CASE("a semaphore's holder, a waiter and a newcomer, interrupted anywhere, come one after the other") {
  KillStage stage;
  const shm::Semaphore semaphore(stage.segment.make({shm::ObjectKind::kSemaphore, "", "semaphore", {1}}));
  const auto acquire = [&](ThreadContext& me) { return semaphore.acquire(me); };
  const auto soon = [&](ThreadContext& me) { return semaphore.acquire(me, Deadline::after(kShortWait)); };
  const auto release = [&](ThreadContext& me) { return semaphore.release(me); };
  const Observation observation{[&] { return std::to_string(semaphore.value()); }, [] { return std::string(); }};
  const Operation holder = holding("hold", acquire, release), waiter = holding("wait", acquire, release),
                  newcomer = holding("come", acquire, release), in_time = holding("wait in time", soon, release);
  const Operation keeper{"acquire in time", [=](ThreadContext& me) { return word_of(soon(me)); }, kSemaphoreInTime};
  explore_and_check(stage, {"semaphore: holder, waiter, newcomer", {holder, waiter, newcomer}, observation, kHandOver});
  explore_and_check(stage,
                    {"semaphore: holder, waiter, one in time", {holder, waiter, in_time}, observation, kHandOver});
  explore_and_check(stage,
                    {"semaphore: holder, waiter, one who keeps it", {holder, waiter, keeper}, observation, kHandOver});
}

TEST_CASE("two permits of a semaphore, released while two processes wait for one each, wake both") {
  KillStage stage;
  const shm::Semaphore semaphore(stage.segment.make({shm::ObjectKind::kSemaphore, "", "semaphore", {0}}));
  const Operation acquire{"acquire", [&](ThreadContext& me) { return word_of(semaphore.acquire(me)); }};
  const Call release = [&](ThreadContext& me) { return word_of(semaphore.release(me)); };
  const Operation one_by_one{"release twice", {release, release}};
  const Operation at_once{"release two", [&](ThreadContext& me) { return word_of(semaphore.release(me, 2)); }};
  const Observation observation{[&] { return std::to_string(semaphore.value()); }, [] { return std::string(); }};
  const std::vector<std::string> asleep{"", "B* C*"};
  explore_and_check(stage,
                    {"semaphore: one by one, two sleepers", {one_by_one, acquire, acquire}, observation, asleep});
  explore_and_check(stage, {"semaphore: two at once, two sleepers", {at_once, acquire, acquire}, observation, asleep});
}

TEST_CASE("readers and writers of a lock, three of them, interrupted anywhere, come in an order") {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kRwLock, "", "rwlock"});
  const shm::RwLock lock(where);
  const auto read = [&](ThreadContext& me) { return lock.acquire_shared(me); };
  const auto write = [&](ThreadContext& me) { return lock.acquire(me); };
  const auto end_read = [&](ThreadContext& me) { return lock.release_shared(me); };
  const auto end_write = [&](ThreadContext& me) { return lock.release(me); };
  const auto read_soon = [&](ThreadContext& me) { return lock.acquire_shared(me, Deadline::after(kShortWait)); };
  const auto write_soon = [&](ThreadContext& me) { return lock.acquire(me, Deadline::after(kShortWait)); };
  const Observation observation{
      [&] { return fmt::format("{} read, {}", lock.readers(), lock.writer_pid() != 0 ? "written" : "not written"); },
      [] { return std::string(); }};
  const Operation reader = holding("read", read, end_read), writer = holding("write", write, end_write),
                  reader_in_time = bounded(holding("read in time", read_soon, end_read), kShortWaitAtMost),
                  writer_in_time = bounded(holding("write in time", write_soon, end_write), kShortWaitAtMost);
  const auto explore = [&](const std::string& name, const std::vector<Operation>& operations) {
    explore_and_check(stage, {name, by_users_of(stage.segment, where, operations), observation, kHandOver});
  };
  explore("rwlock: writer, reader, reader", {writer, reader, reader});
  explore("rwlock: reader, writer, reader", {reader, writer, reader});
  explore("rwlock: writer, writer, reader", {writer, writer, reader});
  explore("rwlock: writer, writer, reader in time", {writer, writer, reader_in_time});
  explore("rwlock: reader, writer in time, reader", {reader, writer_in_time, reader});
  explore("rwlock: reader, reader, writer in time", {reader, reader, writer_in_time});
}

TEST_CASE("a recursive lock's holder, a waiter and a newcomer, interrupted anywhere, come one after the other") {
  KillStage stage;
  const shm::RLock lock(stage.segment.make({shm::ObjectKind::kRLock, "", "rlock"}));
  const Call acquire = [&](ThreadContext& me) { return word_of(lock.acquire(me)); };
  const Call release = [&](ThreadContext& me) { return word_of(lock.release(me)); };
  const Operation once{"acquire and release", {acquire, release}};
  const Operation twice{"acquire twice, release twice", {acquire, acquire, release, release}};
  const Observation observation{[&] { return fmt::format("depth {}", lock.depth()); }, [] { return std::string(); }};
  explore_and_check(stage, {"rlock: holder, waiter, newcomer", {twice, once, once}, observation, kHandOver});
  const auto soon = [&](ThreadContext& me) { return lock.acquire(me, Deadline::after(kShortWait)); };
  const Operation in_time =
      bounded(holding("wait in time", soon, [&](ThreadContext& me) { return lock.release(me); }), kShortWaitAtMost);
  explore_and_check(stage, {"rlock: holder, waiter, one in time", {twice, once, in_time}, observation, kHandOver});
  explore_and_check(stage, {"rlock: holder, one in time, newcomer", {twice, in_time, once}, observation, kHandOver});
}
