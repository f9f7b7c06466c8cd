// Each two operations on a lock of any kind, one interrupted anywhere by the other.
#include "interleave/further_operations.h"
#include "interleave/lock_operations.h"
#include "shm/rlock.h"
#include "shm/rw_lock.h"
#include "shm/semaphore.h"
#include "shm/user_lock.h"

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
