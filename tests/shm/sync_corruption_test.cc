// Locks, barriers, conditions, events and semaphores in a segment that somebody wrote over: bounded calls may fail, but
// they end at their deadline.
#include <signal.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <random>
#include <vector>

#include "shm/barrier.h"
#include "shm/condition.h"
#include "shm/event.h"
#include "shm/object_types.h"
#include "shm/rw_lock.h"
#include "shm/semaphore.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::ObjectKind;
using shm::Status;

namespace {

// Overwrites words of the control block, but for its locks: that another one holds them is no damage that could be seen.
void damage(const TestSegment& segment, const shm::ObjectAddress& where, ObjectKind kind, std::mt19937_64& random) {
  std::vector<const void*> locks;
  shm::object_type(kind)->each_lock(where, &locks, [](void* context, shm::LockWord& word) {
    static_cast<std::vector<const void*>*>(context)->push_back(&word);
  });
  for (std::uint64_t i = 1 + random() % 3; i != 0; --i) {
    auto* word = segment->at<shm::AtomicWord>(where.control) + random() % 8;
    if (std::find(locks.begin(), locks.end(), word) != locks.end()) continue;
    switch (random() % 3) {
      case 0:
        word->store(random());
        break;
      case 1:
        word->store(random() % 9);
        break;
      default:
        word->store(word->load() ^ shm::Word{1} << random() % 64);
    }
  }
}

void ignore(Status) {}

void use(const TestSegment& segment, const shm::ObjectAddress& where, ObjectKind kind, std::mt19937_64& random) {
  auto& me = segment.me();
  for (int i = 0; i < 6; ++i) {
    const Deadline soon = random() % 2 == 0 ? Deadline::already() : Deadline::after(std::chrono::microseconds(300));
    if (kind == ObjectKind::kBarrier) {
      shm::Barrier barrier(where);
      shm::Barrier::Arrival arrival;
      Status status = barrier.wait(me, soon, random() % 2 == 0, arrival);
      if (status == Status::kOk && arrival.must_act) ignore(barrier.finish_action(me, arrival, random() % 2 == 0));
      random() % 2 == 0 ? barrier.abort(me) : ignore(barrier.reset(me));
    } else if (kind == ObjectKind::kCondition) {
      shm::Condition condition(where);
      if (condition.acquire(me, soon) != Status::kOk) continue;
      if (random() % 2 == 0) ignore(condition.notify(me, random() % 3));
      ignore(condition.wait(me, soon));
      ignore(condition.release(me));
    } else if (kind == ObjectKind::kEvent) {
      shm::Event event(where);
      ignore(event.wait(soon));
      random() % 2 == 0 ? event.set(me) : event.clear();
    } else if (kind == ObjectKind::kSemaphore) {
      shm::Semaphore semaphore(where);
      ignore(semaphore.acquire(me, soon));
      (void)semaphore.held(me);
      if (random() % 3 == 0) ignore(semaphore.release(me));
    } else if (kind == ObjectKind::kRwLock) {
      shm::RwLock lock(where);
      if (random() % 2 == 0) {
        if (lock.acquire(me, soon) == Status::kOk) ignore(lock.release(me));
      } else if (lock.acquire_shared(me, soon) == Status::kOk) {
        ignore(lock.release_shared(me));
      }
    } else {
      shm::UserLock lock(where);
      std::uint32_t died = 0;
      Status status = lock.acquire(me, soon, &died);
      (void)lock.mark_consistent();
      if (status != Status::kOk) continue;
      (void)lock.fencing_token(me);
      ignore(lock.release(me));
    }
  }
}

}  // namespace

TEST_CASE("bounded waits at damaged locks, barriers, conditions, events and semaphores end") {
  std::uint64_t seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937_64 seeds(seed);
  struct Kind {
    ObjectKind kind;
    const char* name;
    shm::Word first, second;
  };
  const Kind kinds[] = {
      {ObjectKind::kBarrier, "barrier", 2, 1'000'000},
      {ObjectKind::kCondition, "condition", 0, 0},
      {ObjectKind::kEvent, "event", 0, 0},
      {ObjectKind::kSemaphore, "semaphore", 2, 0},
      {ObjectKind::kRwLock, "rwlock", 0, 0},
      {ObjectKind::kLock, "lock", 1, 0},
  };
  for (int round = 0; round < 240; ++round) {
    const Kind& one = kinds[round % std::size(kinds)];
    std::uint64_t own = seeds();
    INFO("round " << round << ", a " << one.name << ", seed " << own);
    pid_t child = spawn([&] {
      alarm(30);
      std::mt19937_64 random(own);
      TestSegment segment(8u << 20);
      auto where = segment.make({one.kind, "", one.name, {one.first, one.second}});
      for (int i = 0; i < 4; ++i) {
        damage(segment, where, one.kind, random);
        use(segment, where, one.kind, random);
      }
    });
    int end = wait_for(child);
    std::filesystem::remove_all(fmt::format("/dev/shm/commonhold-test-{}-0", child));
    REQUIRE(end == 0);
  }
}
