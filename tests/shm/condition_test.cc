// Waiting under a lock: who is told, in which order, and what deaths leave.
#include "shm/condition.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "shm/recovery.h"
#include "shm/references.h"
#include "shm/sweep.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::Status;

namespace {

void must(Status status) {
  if (status != Status::kOk) throw std::runtime_error(shm::to_string(status));
}

struct Stage {
  TestSegment segment;
  shm::ObjectAddress where = segment.make({shm::ObjectKind::kCondition, "", "condition", {}});
  shm::Condition condition{where};
  struct Seen {
    std::atomic<int> order[16];
    std::atomic<int> told;
  };
  Shared<Seen> seen;

  // A process that waits once, notes its turn and ends.
  pid_t start_waiter(int number, std::chrono::nanoseconds check = 1h) {
    auto before = condition.waiting();
    pid_t process = spawn([&] {
      alarm(30);
      shm::set_wait_check_for_test(check);
      auto& me = segment.me();
      must(condition.acquire(me));
      must(condition.wait(me));
      seen->order[seen->told.fetch_add(1)] = number;
      must(condition.release(me));
    });
    while (condition.waiting() != before + 1 || !is_asleep(process)) std::this_thread::yield();
    return process;
  }
  void notify(std::uint64_t most) {  // also by threads, which must not use the test framework at the same time
    auto& me = segment.me();
    must(condition.acquire(me));
    must(condition.notify(me, most));
    must(condition.release(me));
  }
};

}  // namespace

TEST_CASE("only the holder of the lock may wait and notify") {
  Stage stage;
  auto& me = stage.segment.me();
  REQUIRE(stage.condition.wait(me, Deadline::already()) == Status::kNotHeld);
  REQUIRE(stage.condition.notify(me, 1) == Status::kNotHeld);
  REQUIRE(stage.condition.release(me) == Status::kNotHeld);
  std::thread holder([&] { REQUIRE(stage.condition.acquire(stage.segment.me()) == Status::kOk); });
  holder.join();
}

TEST_CASE("those who wait longest are told first, and not more than asked for") {
  Stage stage;
  std::vector<pid_t> waiters;
  for (int i = 0; i < 6; ++i) waiters.push_back(stage.start_waiter(i));
  stage.notify(0);
  REQUIRE(stage.condition.waiting() == 6);
  for (int i = 0; i < 2; ++i) {
    stage.notify(1);
    REQUIRE(wait_for(waiters[static_cast<std::size_t>(i)]) == 0);
    REQUIRE(stage.condition.waiting() == static_cast<std::uint32_t>(5 - i));
    REQUIRE(stage.seen->order[i] == i);
  }
  stage.notify(2);
  REQUIRE(wait_for(waiters[2]) == 0);
  REQUIRE(wait_for(waiters[3]) == 0);
  REQUIRE(stage.condition.waiting() == 2);
  stage.notify(100);
  REQUIRE(wait_for(waiters[4]) == 0);
  REQUIRE(wait_for(waiters[5]) == 0);
}

TEST_CASE("a notification of nobody is not remembered") {
  Stage stage;
  auto& me = stage.segment.me();
  stage.notify(5);
  REQUIRE(stage.condition.acquire(me) == Status::kOk);
  REQUIRE(stage.condition.wait(me, Deadline::after(20ms)) == Status::kTimedOut);
  REQUIRE(stage.condition.release(me) == Status::kOk);
}

TEST_CASE("a wait gives an rlock up at any depth and has it again as deep") {
  Stage stage;
  auto& me = stage.segment.me();
  auto& depth = stage.where.segment->at<shm::ConditionControl>(stage.where.control)->own.depth;
  for (int i = 0; i < 3; ++i) REQUIRE(stage.condition.acquire(me) == Status::kOk);
  for (auto deadline : {Deadline::already(), Deadline::after(5ms)}) {
    REQUIRE(stage.condition.wait(me, deadline) == Status::kTimedOut);
    REQUIRE(depth == 3);
  }
  std::thread other([&] { stage.notify(1); });  // gets the lock because the wait gives it up
  REQUIRE(stage.condition.wait(me) == Status::kOk);
  REQUIRE(depth == 3);
  other.join();
  for (int i = 0; i < 3; ++i) REQUIRE(stage.condition.release(me) == Status::kOk);
  REQUIRE_FALSE(stage.condition.base().locked());
}

TEST_CASE("conditions may share a lock, and a plain one") {
  TestSegment segment;
  auto nonce = segment->header().nonce;
  for (auto kind : {shm::ObjectKind::kLock, shm::ObjectKind::kRLock}) {
    shm::ObjectId lock;
    REQUIRE(shm::create_object(segment.me(), {kind, "", "", {}}, lock) == Status::kOk);
    shm::Condition a(segment.make({shm::ObjectKind::kCondition, "", "condition", {lock.word(), nonce}}));
    shm::Condition b(segment.make({shm::ObjectKind::kCondition, "", "condition", {lock.word(), nonce}}));
    auto& me = segment.me();
    REQUIRE(a.acquire(me) == Status::kOk);
    REQUIRE(b.held_by(me));
    REQUIRE(a.notify(me, 1) == Status::kOk);
    REQUIRE(b.wait(me, Deadline::already()) == Status::kTimedOut);
    REQUIRE(b.release(me) == Status::kOk);
    REQUIRE_FALSE(a.base().locked());
  }
}

TEST_CASE("a condition is made with a lock of its own segment alone") {
  TestSegment segment;
  auto nonce = segment->header().nonce;
  shm::ObjectId lock, event, made;
  auto& me = segment.me();
  REQUIRE(shm::create_object(me, {shm::ObjectKind::kLock, "", "", {}}, lock) == Status::kOk);
  REQUIRE(shm::create_object(me, {shm::ObjectKind::kEvent, "", "", {}}, event) == Status::kOk);
  auto make = [&](shm::Word word, shm::Word of) {
    return shm::create_object(me, {shm::ObjectKind::kCondition, "", "condition", {word, of}}, made);
  };
  REQUIRE(make(event.word(), nonce) == Status::kOutOfRange);
  REQUIRE(make(lock.word(), nonce + 1) == Status::kOutOfRange);
  REQUIRE(make(lock.word() + (shm::Word{1} << 32), nonce) == Status::kOutOfRange);
  REQUIRE(make(~shm::Word{0}, nonce) == Status::kOutOfRange);
  REQUIRE(make(lock.word(), nonce) == Status::kOk);
}

TEST_CASE("a condition keeps its lock as long as it lives itself") {
  TestSegment segment;
  auto& me = segment.me();
  shm::ObjectId lock, condition;
  REQUIRE(shm::create_object(me, {shm::ObjectKind::kLock, "", "", {}}, lock) == Status::kOk);
  shm::ObjectPlan plan{shm::ObjectKind::kCondition, "", "condition", {lock.word(), segment->header().nonce}};
  REQUIRE(shm::create_object(me, plan, condition) == Status::kOk);
  REQUIRE(shm::add_reference(*segment, condition) == Status::kOk);
  REQUIRE(shm::sweep_unreferred_objects(me) == 0);
  REQUIRE(shm::object_control(*segment, lock) != 0);
  shm::drop_reference(*segment, condition);
  REQUIRE(shm::sweep_unreferred_objects(me) == 2);
  REQUIRE(shm::object_control(*segment, lock) == 0);
}

TEST_CASE("one whose time passed takes no notification, and one who waits long is found among many who came later") {
  Stage stage;
  auto& me = stage.segment.me();
  pid_t waiter = stage.start_waiter(1), second = stage.start_waiter(2);
  REQUIRE(stage.condition.acquire(me) == Status::kOk);
  for (std::uint64_t i = 0; i < 2 * shm::kRecentTickets; ++i) {
    REQUIRE(stage.condition.wait(me, Deadline::already()) == Status::kTimedOut);
  }
  REQUIRE(stage.condition.release(me) == Status::kOk);
  stage.notify(1);
  REQUIRE(wait_for(waiter) == 0);
  REQUIRE(stage.condition.waiting() == 1);
  stage.notify(1);
  REQUIRE(wait_for(second) == 0);
}

TEST_CASE("a wait that times out while it is notified loses no notification") {
  Stage stage;
  struct Tokens {  // under the condition's lock
    std::uint64_t left = 0, taken[2] = {};
    bool patient_waits = false, over = false;
  };
  Shared<Tokens> tokens;
  constexpr std::uint64_t kTokens = 3000;
  auto consume = [&](bool patient) {
    alarm(60);
    auto& me = stage.segment.me();
    must(stage.condition.acquire(me));
    while (!tokens->over) {
      if (patient) tokens->patient_waits = true;
      Status status = stage.condition.wait(me, patient ? Deadline::never() : Deadline::after(20us));
      if (patient) tokens->patient_waits = false;
      if (status == Status::kTimedOut) continue;  // and takes nothing, whatever is there
      must(status);
      if (tokens->left == 0) continue;
      --tokens->left;
      ++tokens->taken[patient];
    }
    must(stage.condition.release(me));
  };
  pid_t patient = spawn([&] { consume(true); }), hasty = spawn([&] { consume(false); });
  auto& me = stage.segment.me();
  auto with_lock = [&](auto&& body) {
    REQUIRE(stage.condition.acquire(me) == Status::kOk);
    bool result = body();
    REQUIRE(stage.condition.release(me) == Status::kOk);
    return result;
  };
  auto deadline = Deadline::after(60s);
  for (std::uint64_t made = 0; made < kTokens;) {
    // The patient one waits, so somebody takes the token that is told of once.
    bool told = with_lock([&] {
      if (!tokens->patient_waits) return false;
      ++tokens->left;
      return stage.condition.notify(me, 1) == Status::kOk;
    });
    made += told;
    while (told && !with_lock([&] { return tokens->left == 0; })) REQUIRE_FALSE(deadline.passed());
  }
  with_lock([&] {
    tokens->over = true;
    return stage.condition.notify(me, 2) == Status::kOk;
  });
  REQUIRE(wait_for(patient) == 0);
  REQUIRE(wait_for(hasty) == 0);
  REQUIRE(tokens->taken[0] + tokens->taken[1] == kTokens);
}

TEST_CASE("a waiter that is killed takes no notification from the next") {
  Stage stage;
  pid_t doomed = stage.start_waiter(1), next = stage.start_waiter(2);
  SECTION("before it is told, and recovered") {
    kill(doomed, SIGKILL);
    (void)wait_for(doomed);
    REQUIRE(shm::recover_all_dead(*stage.segment, stage.segment.me()) >= 1);
    stage.notify(1);
  }
  SECTION("before it is told, and not recovered") {
    kill(doomed, SIGKILL);
    (void)wait_for(doomed);
    stage.notify(1);  // goes to the dead one
    REQUIRE(shm::recover_all_dead(*stage.segment, stage.segment.me()) >= 1);
  }
  SECTION("after it was told") {
    kill(doomed, SIGSTOP);
    stage.notify(1);
    kill(doomed, SIGKILL);
    (void)wait_for(doomed);
    REQUIRE(shm::recover_all_dead(*stage.segment, stage.segment.me()) >= 1);
  }
  REQUIRE(wait_for(next) == 0);
}

TEST_CASE("without a server the other waiters find the one that died with a notification") {
  Stage stage;
  pid_t doomed = stage.start_waiter(1), next = stage.start_waiter(2, 50ms);
  kill(doomed, SIGKILL);
  (void)wait_for(doomed);
  stage.notify(1);
  REQUIRE(wait_for(next) == 0);
}

TEST_CASE("a notification of the dead does not go to one who began to wait after it") {
  Stage stage;
  pid_t doomed = stage.start_waiter(1);
  kill(doomed, SIGSTOP);
  stage.notify(1);
  pid_t later = stage.start_waiter(2);
  kill(doomed, SIGKILL);
  (void)wait_for(doomed);
  REQUIRE(shm::recover_all_dead(*stage.segment, stage.segment.me()) >= 1);
  REQUIRE(stage.condition.waiting() == 1);
  stage.notify(1);
  REQUIRE(wait_for(later) == 0);
}

TEST_CASE("when the holder of the lock is killed all who wait under it are woken") {
  Stage stage;
  bool recovered_here = GENERATE(true, false);
  auto check = recovered_here ? std::chrono::nanoseconds(1h) : std::chrono::nanoseconds(50ms);
  pid_t a = stage.start_waiter(1, check), b = stage.start_waiter(2, check);
  pid_t holder = spawn([&] {
    must(stage.condition.acquire(stage.segment.me()));
    kill(getpid(), SIGKILL);
  });
  REQUIRE(wait_for(holder) == -SIGKILL);
  if (recovered_here) REQUIRE(shm::recover_all_dead(*stage.segment, stage.segment.me()) >= 1);
  REQUIRE(wait_for(a) == 0);
  REQUIRE(wait_for(b) == 0);
  REQUIRE(stage.condition.base().died_pid() == static_cast<std::uint32_t>(holder));
}

TEST_CASE("a wait under a lock that was poisoned meanwhile says so, and holds it") {
  TestSegment segment;
  shm::ObjectId lock;
  auto& me = segment.me();
  REQUIRE(shm::create_object(me, {shm::ObjectKind::kLock, "", "", {1}}, lock) == Status::kOk);
  shm::Condition condition(
      segment.make({shm::ObjectKind::kCondition, "", "condition", {lock.word(), segment->header().nonce}}));
  REQUIRE(condition.acquire(me) == Status::kOk);
  pid_t holder = spawn([&] {
    must(condition.acquire(segment.me()));
    kill(getpid(), SIGKILL);
  });
  REQUIRE(condition.wait(me, Deadline::after(20s)) == Status::kPoisoned);
  REQUIRE(condition.held_by(me));
  REQUIRE(condition.release(me) == Status::kOk);
  REQUIRE(condition.acquire(me) == Status::kPoisoned);
  REQUIRE(wait_for(holder) == -SIGKILL);
}

TEST_CASE("threads hand things to each other under a condition") {
  Stage stage;
  std::vector<int> things;  // under the condition's lock
  std::uint64_t taken = 0, sum = 0;
  constexpr int kThings = 2000;
  auto consume = [&] {
    auto& me = stage.segment.me();
    must(stage.condition.acquire(me));
    for (;;) {
      while (things.empty()) must(stage.condition.wait(me));
      if (things.back() < 0) break;
      sum += static_cast<std::uint64_t>(things.back());
      things.pop_back();
      ++taken;
    }
    must(stage.condition.release(me));
  };
  std::thread a(consume), b(consume);
  auto& me = stage.segment.me();
  for (int i = 1; i <= kThings; ++i) {
    must(stage.condition.acquire(me));
    things.push_back(i);
    must(stage.condition.notify(me, 1));
    must(stage.condition.release(me));
  }
  for (bool done = false; !done; std::this_thread::yield()) {
    must(stage.condition.acquire(me));
    done = things.empty();
    if (done) things.push_back(-1);
    must(stage.condition.notify(me, done ? 2 : 0));
    must(stage.condition.release(me));
  }
  a.join();
  b.join();
  REQUIRE(taken == kThings);
  REQUIRE(sum == std::uint64_t{kThings} * (kThings + 1) / 2);
}
