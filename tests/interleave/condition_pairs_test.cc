// Each two operations on conditions that use another object's lock, or share one, one interrupted anywhere by the
// other.
#include "interleave/pair_fixture.h"
#include "interleave/waits.h"
#include "shm/condition.h"
#include "shm/object_table.h"
#include "shm/rlock.h"
#include "shm/user_lock.h"
#include "support/further_operations.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::Status;
using shm::ThreadContext;

namespace {

constexpr std::size_t kSomePairs = 8;
constexpr std::uint64_t kAll = ~std::uint64_t{0};

// Of an object of that kind.
shm::Condition condition_on(const TestSegment& segment, const shm::ObjectAddress& lock) {
  shm::ObjectInfo info;
  REQUIRE(shm::object_info(*segment, lock.object, info) == Status::kOk);
  return shm::Condition(
      segment.make({shm::ObjectKind::kCondition, "", "condition", {info.id.word(), segment->header().nonce}}));
}

Call acquire_of(const shm::Condition& condition) {
  return [&condition](ThreadContext& me) { return word_of(condition.acquire(me)); };
}
Call release_of(const shm::Condition& condition) {
  return [&condition](ThreadContext& me) { return word_of(condition.release(me)); };
}
Call wait_in(const shm::Condition& condition) {
  return [&condition](ThreadContext& me) { return word_of(condition.wait(me)); };
}
// It has its lock again before it returns, so it waits longer for one that is stopped and holds the lock.
Call wait_in_time_in(const shm::Condition& condition) {
  return [&condition](ThreadContext& me) { return word_of(condition.wait(me, Deadline::after(kShortWait))); };
}
Call notify_in(const shm::Condition& condition, std::uint64_t most) {
  return [&condition, most](ThreadContext& me) { return word_of(condition.notify(me, most)); };
}

std::string state_of(const shm::Condition& condition) {
  const shm::UserLock lock = condition.base();
  return fmt::format("{} wait, {}, depth {}", condition.waiting(), lock.locked() ? "locked" : "free",
                     lock.control().depth.load());
}

// With the lock as its own users hold it: `lock`.
template <typename Lock>
std::vector<Operation> operations_of(const shm::Condition& condition, const Lock& lock) {
  const Call acquire = acquire_of(condition), release = release_of(condition), wait = wait_in(condition);
  const Call take = [&lock](ThreadContext& me) { return word_of(lock.acquire(me)); };
  const Call free = [&lock](ThreadContext& me) { return word_of(lock.release(me)); };
  return {
      {"wait", {acquire, wait, release}},
      {"wait in time", {acquire, wait_in_time_in(condition), release}},
      {"notify one", {acquire, notify_in(condition, 1), release}},
      {"notify all", {acquire, notify_in(condition, kAll), release}},
      {"wait under the lock", {take, wait, free}},
      {"notify under the lock", {take, notify_in(condition, 1), free}},
      {"acquire and release the lock", {take, free}},
      {"wait without the lock", {wait}},
      {"notify without the lock", {notify_in(condition, 1)}},
  };
}

}  // namespace

TEST_CASE("two operations on a condition with another object's lock, one interrupted anywhere, come in an order") {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kLock, "", "lock"});
  const shm::UserLock lock(where);
  const shm::Condition condition = condition_on(stage.segment, where);
  explore_all_pairs(stage, "condition on a lock", operations_of(condition, lock),
                    {[&] { return state_of(condition); }, [] { return std::string(); },
                     [&] { return works(condition, stage.me()) + works(lock, stage.me()); }, wait_in_vain},
                    kSomePairs);
}

TEST_CASE("two operations on a condition with another object's rlock, one interrupted anywhere, come in an order") {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kRLock, "", "rlock"});
  const shm::RLock lock(where);
  const shm::Condition condition = condition_on(stage.segment, where);
  std::vector<Operation> operations = operations_of(condition, lock);
  const Call take = [&](ThreadContext& me) { return word_of(lock.acquire(me)); };
  const Call free = [&](ThreadContext& me) { return word_of(lock.release(me)); };
  operations.push_back({"wait, deep", {take, acquire_of(condition), wait_in(condition), free, release_of(condition)}});
  explore_all_pairs(stage, "condition on an rlock", operations,
                    {[&] { return state_of(condition); }, [] { return std::string(); },
                     [&] { return works(condition, stage.me()) + works(lock, stage.me()); }, wait_in_vain},
                    kSomePairs);
}

// A notification of one is for nobody who waits in the other.
TEST_CASE("two operations on two conditions with one lock, one of them interrupted anywhere, come in an order") {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kRLock, "", "rlock"});
  const shm::Condition full = condition_on(stage.segment, where), empty = condition_on(stage.segment, where);
  const Call acquire = acquire_of(full), release = release_of(empty);
  const std::vector<Operation> operations{
      {"wait in one", {acquire, wait_in(full), release}},
      {"wait in the other", {acquire, wait_in(empty), release}},
      {"wait in one in time", {acquire, wait_in_time_in(full), release}},
      {"notify one", {acquire, notify_in(full, kAll), release}},
      {"notify the other", {acquire, notify_in(empty, 1), release}},
      {"notify both", {acquire, notify_in(full, 1), notify_in(empty, kAll), release}},
      {"notify the other, wait in one", {acquire, notify_in(empty, 1), wait_in(full), release}},
      {"notify one, wait in the other", {acquire, notify_in(full, 1), wait_in(empty), release}},
  };
  explore_all_pairs(stage, "two conditions on a lock", operations,
                    {[&] { return state_of(full) + ", " + state_of(empty); }, [] { return std::string(); },
                     [&] { return works(full, stage.me()) + works(empty, stage.me()); }, wait_in_vain},
                    kSomePairs);
}

// Nobody holds the lock meanwhile but who waits.
TEST_CASE("a wait in a condition ends when its time is over, whoever counts the waiters or waits beside it") {
  KillStage stage;
  const shm::Condition condition(stage.segment.make({shm::ObjectKind::kCondition, "", "condition", {}}));
  const Operation in_time = bounded(
      {"wait in time", {acquire_of(condition), wait_in_time_in(condition), release_of(condition)}}, kShortWaitAtMost);
  const Operation count{"count",
                        [&](ThreadContext&) { return std::string(condition.waiting() <= 1 ? "counted" : "two wait"); }};
  const Observation observation{[&] { return state_of(condition); }, [] { return std::string(); },
                                [&] { return works(condition, stage.me()); }};
  explore_pairs(stage, "condition in time", {{&in_time, &count}}, observation, kAllPairs);
}
