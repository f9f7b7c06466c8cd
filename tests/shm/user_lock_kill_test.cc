// A lock's owner, killed at every instruction.
#include "shm/user_lock.h"

#include <signal.h>

#include "support/process_shared.h"
#include "support/structure_kill.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {
void ignore(Status) {}
}  // namespace

TEST_CASE("an owner of a lock killed anywhere leaves it free, and told if it held it", "[kill]") {
  for (bool poisons : {false, true}) {
    TestSegment segment(8u << 20);
    auto where = segment.make({shm::ObjectKind::kLock, "", "lock", {poisons ? 1u : 0u}});
    shm::UserLock lock(where);
    auto* control = segment->at<shm::UserLockControl>(where.control);
    // What a death leaves depends on its moment; what must hold is that the lock is usable again.
    auto observe = [&]() -> std::string { return ""; };
    auto audit = [&]() -> std::string {
      if (lock.locked()) return "the lock stayed locked";
      std::uint64_t before = control->fence.load();
      bool died = lock.died_pid() != 0;
      Status status = lock.acquire(segment.me());
      if (poisons && died) {
        if (status != Status::kPoisoned || lock.locked()) return "the poison was not told";
        lock.mark_consistent();
        status = lock.acquire(segment.me());
      }
      if (status != Status::kOk) return std::string("the lock could not be taken: ") + shm::to_string(status);
      if (lock.fencing_token(segment.me()) <= before) return "the fencing token did not rise";
      if (poisons && lock.died_pid() != 0) return "the poison was not ended";
      (void)lock.take_died();
      return lock.release(segment.me()) == Status::kOk ? "" : "the lock could not be released";
    };
    kill_everywhere_in(segment, {"acquire and release",
                                 [&] {
                                   if (lock.acquire(segment.me()) == Status::kOk) ignore(lock.release(segment.me()));
                                 },
                                 observe, audit});
    kill_everywhere_in(segment, {"fencing_token",
                                 [&] {
                                   if (lock.acquire(segment.me()) != Status::kOk) return;
                                   (void)lock.fencing_token(segment.me());
                                   ignore(lock.release(segment.me()));
                                 },
                                 observe, audit});
    if (!poisons) continue;
    pid_t owner = spawn([&] {
      ignore(lock.acquire(segment.me()));
      kill(getpid(), SIGKILL);
    });
    REQUIRE(wait_for(owner) == -SIGKILL);
    REQUIRE(shm::recover_all_dead(*segment, segment.me()) == 1);
    kill_everywhere_in(segment, {"mark_consistent",
                                 [&] {
                                   if (lock.acquire(segment.me()) == Status::kPoisoned) (void)lock.mark_consistent();
                                   if (lock.acquire(segment.me()) == Status::kOk) ignore(lock.release(segment.me()));
                                 },
                                 observe, audit});
  }
}
