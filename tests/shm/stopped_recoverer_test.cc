// A process that is stopped while it recovers another keeps the lock that it is at, and no other.
#include <signal.h>
#include <sys/wait.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "shm/barrier.h"
#include "shm/liveness.h"
#include "shm/lock_word.h"
#include "shm/recovery.h"
#include "shm/rw_lock.h"
#include "shm/semaphore.h"
#include "shm/user_lock.h"
#include "support/process_shared.h"
#include "support/stopped_repair.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::ObjectKind;
using shm::Status;

namespace {

int used_sessions(const TestSegment& segment) {
  int used = 0;
  for (std::uint32_t i = 0; i < 64; ++i) used += (segment->session(i).state.load() & 0xff) != 0;
  return used;
}

}  // namespace

TEST_CASE("a recoverer that is stopped keeps the lock that it repairs, and everything else goes on") {
  TestSegment segment;
  Objects objects(segment);
  auto& me = segment.me();
  objects.die_with_all(segment);
  const pid_t recoverer = stop_at_page(page_of_heap(objects.dict, 0), [&] {
    if (shm::recover_all_dead(*segment, segment.me()) != 1) throw std::runtime_error("it recovered nobody");
    segment->leave();
  });
  CHECK(shm::lock(me, shard_lock(objects.dict, 1), Deadline::after(20s)) == Status::kOk);
  CHECK(shm::unlock(me, shard_lock(objects.dict, 1)) == Status::kOk);
  CHECK(shm::UserLock(objects.lock).acquire(me, Deadline::after(20s)) == Status::kOk);
  CHECK(shm::UserLock(objects.lock).died_pid() != 0);
  CHECK(shm::RwLock(objects.rw).acquire(me, Deadline::after(20s)) == Status::kOk);
  CHECK(shm::Semaphore(objects.semaphore).acquire(me, Deadline::after(20s)) == Status::kOk);
  CHECK(shm::Semaphore(objects.semaphore).acquire(me, Deadline::after(20s)) == Status::kOk);
  shm::Barrier::Arrival arrival;
  CHECK(shm::Barrier(objects.barrier).wait(me, Deadline::after(20s), false, arrival) == Status::kBroken);
  // Like any holder that is stopped: a bounded wait ends, and the holder can be named.
  shm::LockWord& held = shard_lock(objects.dict, 0);
  CHECK(shm::lock(me, held, Deadline::after(250ms)) == Status::kTimedOut);
  CHECK(shm::awaited_pid(*segment, held.state.load() & ~shm::kLockWaiters) == static_cast<std::uint32_t>(recoverer));

  const std::uint64_t owner = me.owner();
  kill(recoverer, SIGCONT);
  CHECK(wait_for(recoverer) == 0);
  CHECK((objects.lock.segment->at<shm::UserLockControl>(objects.lock.control)->word.state.load() &
         ~shm::kLockWaiters) == owner);  // it came late, and took nothing from us
  CHECK(shm::Semaphore(objects.semaphore).value() == 0);
  CHECK(shm::Semaphore(objects.semaphore).held(me) == 2);
  CHECK(shm::RwLock(objects.rw).held_by(me));
  CHECK(used_sessions(segment) == 1);
  CHECK(shm::Dict(objects.dict).put(me, text("a"), text("b")) == Status::kOk);
  CHECK(shm::Dict(objects.dict).audit(me).error == "");
}

TEST_CASE("a recoverer that is stopped and killed then is recovered with what it was at") {
  TestSegment segment;
  Objects objects(segment);
  objects.die_with_all(segment);
  const pid_t recoverer =
      stop_at_page(page_of_heap(objects.dict, 0), [&] { (void)shm::recover_all_dead(*segment, segment.me()); });
  auto& me = segment.me();
  CHECK(shm::UserLock(objects.lock).acquire(me, Deadline::after(20s)) == Status::kOk);
  kill(recoverer, SIGKILL);
  wait_for(recoverer);
  CHECK(shm::lock(me, shard_lock(objects.dict, 0), Deadline::after(20s)) == Status::kOk);
  CHECK(shm::unlock(me, shard_lock(objects.dict, 0)) == Status::kOk);
  (void)shm::recover_all_dead(*segment, me);
  CHECK(shm::Semaphore(objects.semaphore).value() == 2);
  CHECK(used_sessions(segment) == 1);
  auto audit = shm::Dict(objects.dict).audit(me);
  CHECK(audit.error == "");
  CHECK(audit.lost_chunks == 0);
}

TEST_CASE("many processes help a stopped recoverer at once, and it does no harm when it goes on") {
  TestSegment segment;
  Objects objects(segment);
  for (int round = 0; round < 5; ++round) {
    objects.die_with_all(segment);
    const pid_t recoverer = stop_at_page(page_of_heap(objects.dict, 0), [&] {
      (void)shm::recover_all_dead(*segment, segment.me());
      segment->leave();
    });
    Shared<std::atomic<bool>> done;
    Shared<std::atomic<int>> puts;
    std::vector<pid_t> helpers;
    for (int h = 0; h < 4; ++h) {
      helpers.push_back(spawn([&] {
        alarm(60);
        shm::set_holder_check_for_test(1ms);
        for (int i = 0; !done->load(); ++i) {
          const std::string key = std::to_string(h) + "/" + std::to_string(i % 100);
          (void)shm::recover_all_dead(*segment, segment.me());
          for (std::uint64_t shard = 1; shard < 4; ++shard) {
            if (shm::lock(segment.me(), shard_lock(objects.dict, shard), Deadline::after(10s)) != Status::kOk) abort();
            (void)shm::unlock(segment.me(), shard_lock(objects.dict, shard));
          }
          const std::uint64_t seed = segment->at<shm::DictControl>(objects.dict.control)->seed;
          if (shm::hash_shard(shm::hash_key(text(key), seed), 4) == 0) continue;
          if (shm::Dict(objects.dict).put(segment.me(), text(key), text("x")) != Status::kOk) abort();
          ++*puts;
        }
        segment->leave();
      }));
    }
    while (puts->load() < 200) std::this_thread::sleep_for(1ms);
    kill(recoverer, SIGCONT);
    CHECK(wait_for(recoverer) == 0);
    *done = true;
    for (pid_t helper : helpers) CHECK(wait_for(helper) == 0);
    REQUIRE(shm::Dict(objects.dict).audit(segment.me()).error == "");
    REQUIRE(shm::Semaphore(objects.semaphore).value() == 2);
    REQUIRE(used_sessions(segment) == 1);
    (void)shm::Barrier(objects.barrier).reset(segment.me());
  }
}

TEST_CASE("a reader of a dict whose writer died does not wait for who is stopped with the lock that the repair needs") {
  TestSegment segment;
  const Objects objects(segment);
  objects.die_with_all(segment);
  const pid_t stopped = spawn([&] {
    if (shm::lock(segment.me(), segment->header().extents_lock) != Status::kOk) abort();
    raise(SIGSTOP);
    (void)shm::unlock(segment.me(), segment->header().extents_lock);
    segment->leave();
  });
  int status = 0;
  REQUIRE(waitpid(stopped, &status, WUNTRACED) == stopped);
  REQUIRE(WIFSTOPPED(status));
  const pid_t reader = spawn([&] {
    std::vector<shm::DictEntryCopy> entries;
    if (shm::Dict(objects.dict).snapshot(segment.me(), entries) != Status::kOk || entries.size() != 200) abort();
    if (shm::Dict(objects.dict).size() != 200) abort();
    segment->leave();
  });
  CHECK(wait_or_kill(reader) == 0);
  kill(stopped, SIGCONT);
  CHECK(wait_for(stopped) == 0);
  (void)shm::recover_all_dead(*segment, segment.me());
  CHECK(shm::Dict(objects.dict).audit(segment.me()).error == "");
  CHECK(used_sessions(segment) == 1);
}
