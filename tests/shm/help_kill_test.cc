// Who helps a recoverer that is stopped, killed at every instruction.
#include <signal.h>

#include <string>

#include "shm/recovery.h"
#include "shm/sleep_notice.h"
#include "support/stopped_repair.h"
#include "support/structure_kill.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::Status;

TEST_CASE("whoever helps a stopped recoverer and is killed anywhere leaves its work to the next", "[kill]") {
  TestSegment segment(8u << 20);
  auto& me = segment.me();
  shm::set_sleeper_check_for_test(1'000'000);
  const Objects objects(segment);
  objects.die_with_all(segment);
  shm::SessionIndex dead{0};
  for (std::uint32_t i = shm::kReservedSessions; i < 64; ++i) {
    const shm::SessionIndex session{i};
    if (shm::session_state(segment->session(i).state) == shm::SessionState::kLive && session != me.session()) {
      dead = session;
    }
  }
  const pid_t recoverer = stop_at_page(page_of_heap(objects.dict, 0), [&] {
    (void)shm::recover_all_dead(*segment, segment.me());
    segment->leave();
  });
  REQUIRE(shm::session_state(segment->session(shm::index_of(dead)).state) == shm::SessionState::kRecovering);
  const auto in_time = [] { return Deadline::after(std::chrono::seconds(20)); };
  const auto audit = [&]() -> std::string {
    shm::LockWord& shard = shard_lock(objects.dict, 1);
    if (shm::lock(me, shard, in_time()) != Status::kOk) return "a shard stayed locked";
    (void)shm::unlock(me, shard);
    const shm::UserLock lock(objects.lock);
    if (lock.acquire(me, in_time()) != Status::kOk) return "a lock stayed locked";
    if (lock.release(me) != Status::kOk || lock.died_pid() == 0) return "nobody is told of the death";
    const shm::RwLock rw(objects.rw);
    if (rw.acquire(me, in_time()) != Status::kOk) return "a readers-writer lock stayed shared";
    if (rw.release(me) != Status::kOk) return "a readers-writer lock was lost";
    const shm::Semaphore semaphore(objects.semaphore);
    for (int i = 0; i < 2; ++i) {
      if (semaphore.acquire(me, in_time()) != Status::kOk) return "a permit is lost";
    }
    if (semaphore.acquire(me, Deadline::already()) == Status::kOk) return "a permit came back twice";
    if (semaphore.release(me, 2) != Status::kOk || semaphore.value() != 2) return "a permit is too many";
    return shm::Barrier(objects.barrier).broken() ? "" : "the barrier is not broken";
  };
  KillCase one{"help", [&] { (void)shm::recover_session(*segment, segment.me(), dead); },
               []() -> std::string { return ""; }, audit};
  one.extents_watched = 16;
  one.kills_of_recovery = 1;
  one.least_recovered = 0;  // one who helps as well waits for its lock
  kill_everywhere_in(segment, one);
  kill(recoverer, SIGCONT);
  CHECK(wait_for(recoverer) == 0);
  CHECK(audit() == "");
  CHECK(shm::Dict(objects.dict).audit(me).error == "");
  CHECK(shm::session_state(segment->session(shm::index_of(dead)).state) == shm::SessionState::kFree);
  shm::set_sleeper_check_for_test(100'000'000);
}
