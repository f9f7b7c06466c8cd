// Everybody who uses a recursive lock, a condition, an event and a barrier is killed at random; what they leave must be
// whole, and usable by the next.
#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <thread>

#include "shm/barrier.h"
#include "shm/condition.h"
#include "shm/event.h"
#include "shm/recovery.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::Status;

namespace {

void ignore(Status) {}

struct Ground {
  TestSegment segment;
  shm::ObjectAddress rlock_at = segment.make({shm::ObjectKind::kRLock, "", "rlock", {}});
  shm::ObjectAddress condition_at = segment.make({shm::ObjectKind::kCondition, "", "condition", {}});
  shm::ObjectAddress event_at = segment.make({shm::ObjectKind::kEvent, "", "event", {}});
  shm::ObjectAddress barrier_at = segment.make({shm::ObjectKind::kBarrier, "", "barrier", {2, ~shm::Word{0} >> 1}});
  shm::RLock rlock{rlock_at};
  shm::Condition condition{condition_at};
  shm::Event event{event_at};
  shm::Barrier barrier{barrier_at};

  [[noreturn]] void work(std::uint64_t seed) const {
    std::mt19937_64 random(seed);
    auto& me = segment.me();
    for (;;) {
      auto deadline =
          random() % 4 == 0 ? Deadline::never() : Deadline::after(std::chrono::microseconds(random() % 300));
      shm::Barrier::Arrival arrival;
      switch (random() % 8) {
        case 0:
          ignore(rlock.acquire(me));
          ignore(rlock.acquire(me));
          ignore(rlock.release(me));
          ignore(rlock.release(me));
          break;
        case 1:
        case 2:
          ignore(condition.acquire(me));
          ignore(condition.wait(me, deadline));
          ignore(condition.release(me));
          break;
        case 3:
        case 4:
          ignore(condition.acquire(me));
          ignore(condition.notify(me, random() % 3));
          ignore(condition.release(me));
          event.set(me);
          break;
        case 5:
          ignore(event.wait(deadline));
          event.clear();
          break;
        case 6:
          ignore(barrier.wait(me, deadline, random() % 2 == 0, arrival));
          if (arrival.must_act) ignore(barrier.finish_action(me, arrival, random() % 4 != 0));
          break;
        default:
          if (random() % 4 == 0) barrier.abort(me);
          (void)barrier.reset(me);
      }
    }
  }
};

}  // namespace

TEST_CASE("when all are killed at once, what they shared is whole and can be used again") {
  Ground ground;
  std::mt19937_64 random(Catch::rngSeed());
  for (int round = 0; round < 60; ++round) {
    INFO("round " << round);
    std::vector<pid_t> workers;
    for (int i = 0; i < 4; ++i) {
      workers.push_back(spawn([&, seed = random()] {
        shm::set_wait_check_for_test(5ms);
        ground.work(seed);
      }));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20000));
    // One after the other, while the rest goes on and recovers it; the last is recovered here.
    for (pid_t worker : workers) {
      kill(worker, SIGKILL);
      REQUIRE(wait_for(worker) == -SIGKILL);
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
    }
    auto& me = ground.segment.me();
    (void)shm::recover_all_dead(*ground.segment, me);
    REQUIRE_FALSE(ground.rlock.base().locked());
    REQUIRE(ground.rlock.depth() == 0);
    REQUIRE_FALSE(ground.condition.base().locked());
    REQUIRE(ground.condition.waiting() == 0);
    REQUIRE(shm::Barrier::audit(me, ground.barrier_at) == "");

    // Used again, by two.
    (void)ground.barrier.reset(me);
    ground.event.clear();
    std::atomic<int> inside{0};
    std::thread other([&] {
      auto& own = ground.segment.me();
      ignore(ground.condition.acquire(own));
      inside = 1;
      Status told = ground.condition.wait(own, Deadline::after(60s));
      ignore(ground.condition.release(own));
      shm::Barrier::Arrival arrival;
      Status passed = ground.barrier.wait(own, Deadline::after(60s), false, arrival);
      if (told == Status::kOk && passed == Status::kOk) ground.event.set(own);
    });
    while (inside == 0) std::this_thread::yield();
    REQUIRE(ground.condition.acquire(me) == Status::kOk);
    REQUIRE(ground.condition.notify(me, 1) == Status::kOk);
    REQUIRE(ground.condition.release(me) == Status::kOk);
    shm::Barrier::Arrival arrival;
    REQUIRE(ground.barrier.wait(me, Deadline::after(60s), false, arrival) == Status::kOk);
    REQUIRE(ground.event.wait(Deadline::after(60s)) == Status::kOk);
    other.join();
  }
}

TEST_CASE("no notification is lost while waiters and notifiers are killed") {
  Ground ground;
  struct Work {  // under the condition's lock
    std::uint64_t left, done;
  };
  Shared<Work> work;
  std::mt19937_64 random(Catch::rngSeed());
  auto consume = [&] {
    shm::set_wait_check_for_test(1h);  // the recovery below must do
    auto& me = ground.segment.me();
    ignore(ground.condition.acquire(me));
    for (;;) {
      while (work->left == 0) ignore(ground.condition.wait(me));
      --work->left;
      ++work->done;
    }
  };
  std::vector<pid_t> consumers;
  for (int i = 0; i < 3; ++i) consumers.push_back(spawn(consume));
  auto& me = ground.segment.me();
  std::uint64_t made = 0;
  auto done_so_far = [&] {
    REQUIRE(ground.condition.acquire(me) == Status::kOk);
    std::uint64_t done = work->done + work->left;
    bool idle = work->left == 0;
    REQUIRE(ground.condition.release(me) == Status::kOk);
    REQUIRE(done <= made);
    REQUIRE(made - done <= 300);  // a consumer that dies between its two steps takes one with it, no more
    return idle;
  };
  for (int round = 0; round < 300; ++round) {
    std::uint64_t more = 1 + random() % 3;
    for (std::uint64_t i = 0; i < more; ++i) {
      REQUIRE(ground.condition.acquire(me) == Status::kOk);
      ++work->left;
      ++made;
      REQUIRE(ground.condition.notify(me, 1) == Status::kOk);
      REQUIRE(ground.condition.release(me) == Status::kOk);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
    pid_t& doomed = consumers[random() % consumers.size()];
    kill(doomed, SIGKILL);
    REQUIRE(wait_for(doomed) == -SIGKILL);
    (void)shm::recover_all_dead(*ground.segment, me);
    // The two that live must take all that is left, without being told again.
    auto deadline = Deadline::after(20s);
    while (!done_so_far()) REQUIRE_FALSE(deadline.passed());
    doomed = spawn(consume);
  }
  for (pid_t consumer : consumers) {
    kill(consumer, SIGKILL);
    (void)wait_for(consumer);
  }
}
