// Who would recover a dead session, or the lock of one, and is stopped at the instruction before the claim.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <string>

#include "shm/dict_table.h"
#include "shm/lock_word.h"
#include "shm/recovery.h"
#include "shm/thread_recovery.h"
#include "support/process_shared.h"
#include "support/stepped_child.h"
#include "support/stopped_repair.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

TEST_CASE("a proof that a server died does not let anybody claim what the next server recovers") {
  std::uint64_t claims_at = 0;
  for (std::uint64_t before : {0, 1, 2, 4, 8}) {  // 0: how many instructions there are up to the claim
    TestSegment segment;
    const shm::ObjectAddress dict = segment.make_dict(4);
    fix_seed(dict);
    for (int i = 0; i < 200; ++i) {
      REQUIRE(shm::Dict(dict).put(segment.me(), text(std::to_string(i)), text(std::string(100, 'v'))) == Status::kOk);
    }
    Shared<std::atomic<std::uint32_t>> dead;
    const pid_t victim = spawn([&] {
      shm::Offset chunk;
      if (shm::lock(segment.me(), shard_lock(dict, 0)) != Status::kOk) abort();
      if (take_chunk(segment.me(), shm::ChunkOwner(dict.object, 0), 3000, chunk) != Status::kOk) abort();
      *dead = shm::index_of(segment->session_index());
      kill(getpid(), SIGKILL);
    });
    REQUIRE(wait_for(victim) == -SIGKILL);
    std::byte* const page = page_of_heap(dict, 0);
    const auto serve = [&] {
      segment->set_serving(true);
      (void)shm::recover_all_dead(*segment, segment.me());
    };
    const pid_t server = stop_at_page(page, serve);
    kill(server, SIGKILL);
    wait_for(server);
    const shm::AtomicWord& state = segment->session(*dead).state;
    REQUIRE(shm::session_state(state) == shm::SessionState::kRecovering);
    REQUIRE(shm::recoverer_of(state) == 1);

    Shared<std::atomic<int>> result;
    SteppedChild late(
        {&state}, [&] { (void)segment.me(); },
        [&] {
          *result = static_cast<int>(shm::recover_session(*segment, segment.me(), shm::SessionIndex{dead->load()}));
        });
    if (before == 0) {
      REQUIRE(late.run_until_change(1));
      claims_at = late.instructions();
      continue;
    }
    REQUIRE(late.run_until(claims_at - before));
    const pid_t next = stop_at_page(page, serve);
    const shm::Word claimed = state;
    CHECK(shm::recoverer_of(claimed) == 1);
    CHECK(late.finish() == 0);
    CHECK(*result == static_cast<int>(Status::kRetry));
    CHECK(state == claimed);
    kill(next, SIGCONT);
    CHECK(wait_for(next) == 0);
    CHECK(shm::session_state(state) == shm::SessionState::kFree);
    CHECK(shm::Dict(dict).audit(segment.me()).error == "");
  }
}

TEST_CASE("who has seen that a session is dead does not claim the process that its record has next") {
  std::uint64_t claims_at = 0;
  for (std::uint64_t before : {0, 1, 2, 4, 8}) {  // as above
    TestSegment segment;
    Shared<std::atomic<std::uint32_t>> dead;
    const pid_t victim = spawn([&] {
      *dead = shm::index_of(segment.me().session());
      kill(getpid(), SIGKILL);
    });
    REQUIRE(wait_for(victim) == -SIGKILL);
    const shm::SessionIndex record{dead->load()};
    const shm::AtomicWord& state = segment->session(*dead).state;
    Shared<std::atomic<int>> result;
    SteppedChild late(
        {&state}, [&] { (void)segment.me(); },
        [&] { *result = static_cast<int>(shm::recover_session(*segment, segment.me(), record)); });
    if (before == 0) {
      REQUIRE(late.run_until_change(1));
      claims_at = late.instructions();
      continue;
    }
    REQUIRE(late.run_until(claims_at - before));
    REQUIRE(shm::recover_session(*segment, segment.me(), record) == Status::kOk);
    Shared<std::atomic<std::uint32_t>> next_index;
    Shared<std::atomic<bool>> may_end;
    const pid_t next = spawn([&] {
      *next_index = shm::index_of(segment.me().session()) + 1;
      while (!*may_end) usleep(1000);
    });
    while (*next_index == 0) usleep(1000);
    REQUIRE(*next_index == *dead + 1);
    const shm::Word live = state;
    CHECK(late.finish() == 0);
    CHECK(state == live);
    CHECK(shm::session_state(state) == shm::SessionState::kLive);
    *may_end = true;
    CHECK(wait_for(next) == 0);
  }
}

TEST_CASE("who has seen that a lock's holder is dead does not repair what the lock's next holder is changing") {
  std::uint64_t hands_over_at = 0;
  for (std::uint64_t before : {0, 1, 2, 4, 8}) {  // as above
    TestSegment segment;
    const shm::ObjectAddress dict = segment.make_dict(4);
    shm::LockWord& word = shard_lock(dict, 0);
    Shared<std::atomic<std::uint32_t>> dead_owner;
    const pid_t victim = spawn([&] {
      if (shm::lock(segment.me(), word) != Status::kOk) abort();
      *dead_owner = segment.me().owner();
      kill(getpid(), SIGKILL);
    });
    REQUIRE(wait_for(victim) == -SIGKILL);
    SteppedChild late(
        {reinterpret_cast<const std::atomic<std::uint64_t>*>(&word)}, [&] { (void)segment.me(); },
        [&] { shm::recover_word(segment.me(), word, *dead_owner); });
    if (before == 0) {
      REQUIRE(late.run_until_change(1));
      hands_over_at = late.instructions();
      continue;
    }
    REQUIRE(late.run_until(hands_over_at - before));
    shm::recover_word(segment.me(), word, *dead_owner);
    // In the middle of a change: a repair would give the chunk back, which nothing leads to yet.
    REQUIRE(shm::lock(segment.me(), word) == Status::kOk);
    shm::Offset chunk = 0;
    const shm::ChunkOwner owner(dict.object, 0);
    REQUIRE(shm::take_chunk(segment.me(), owner, 3000, chunk) == Status::kOk);
    CHECK(late.finish() == 0);
    CHECK(shm::chunk_owner(*segment, chunk) == owner);
    shm::give_chunk(segment.me(), chunk, 3000);
    CHECK(shm::unlock(segment.me(), word) == Status::kOk);
    CHECK(shm::Dict(dict).audit(segment.me()).error == "");
  }
}
