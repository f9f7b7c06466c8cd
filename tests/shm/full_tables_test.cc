// Tables that are full of the dead are not full.
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "shm/dict_table.h"
#include "shm/lock_word.h"
#include "shm/recovery.h"
#include "shm/references.h"
#include "shm/reserved_session.h"
#include "support/full_tables.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

shm::LockWord& shard_lock(const shm::ObjectAddress& where) {
  return shm::dict_shard(*where.segment->at<shm::DictControl>(where.control), 0).writing;
}

// Held, and reached by nothing, when the process that calls this is killed.
[[noreturn]] void die_with_lock_and_chunk(shm::ThreadContext& me, const shm::ObjectAddress& where) {
  shm::Offset chunk;
  if (shm::lock(me, shard_lock(where)) != Status::kOk) abort();
  if (take_chunk(me, shm::ChunkOwner(where.object, shm::kMaxShards), 3000, chunk) != Status::kOk) abort();
  kill(getpid(), SIGKILL);
  abort();
}

// A process that was killed while it held a lock, a reference and a chunk that nothing reaches.
void die_with_locks(const TestSegment& segment, const shm::ObjectAddress& where) {
  pid_t child = spawn([&] {
    if (shm::add_reference(*segment, {where.object, 1}) != Status::kOk) abort();
    die_with_lock_and_chunk(segment.me(), where);
  });
  REQUIRE(wait_for(child) == -SIGKILL);
}

// The same, but for the reference, in the name of a reserved session.
void die_in_reserved_session(const TestSegment& segment, const shm::ObjectAddress& where, bool as_server) {
  pid_t child = spawn([&] {
    shm::ReservedSession reserved(*segment, as_server);
    if (!reserved) abort();
    die_with_lock_and_chunk(reserved.me(), where);
  });
  REQUIRE(wait_for(child) == -SIGKILL);
}

int used_sessions(const TestSegment& segment) {
  int used = 0;
  for (std::uint32_t i = 0; i < shm::kMaxSessions; ++i) used += (segment->session(i).state.load() & 0xff) != 0;
  return used;
}
int used_threads(const TestSegment& segment) {
  int used = 0;
  for (std::uint32_t i = 0; i < shm::kMaxThreads; ++i) used += (segment->thread(i).claim.load() & 0xffff'ffff) != 0;
  return used;
}

// This process is the only one that is left, and the dict is as good as new.
void require_alone_and_sound(const TestSegment& segment, const shm::ObjectAddress& where) {
  CHECK(used_sessions(segment) == 1);
  CHECK(used_threads(segment) == 1);
  CHECK(shm::Dict(where).put(segment.me(), text("b"), text("2")) == Status::kOk);
  CHECK(shm::recover_all_dead(*segment, segment.me()) == 0);
  CHECK(shm::Dict(where).audit(segment.me()).error == "");
  CHECK(shard_lock(where).state.load() == 0);
}

}  // namespace

TEST_CASE("a process joins although the session table is full of the dead, and what they held is free") {
  TestSegment segment;
  auto where = segment.make_dict(1);
  segment->leave();
  die_with_locks(segment, where);
  fill_sessions(*segment, shm::kReservedSessions, shm::kMaxSessions, ended_process());
  REQUIRE(segment->here() != nullptr);
  require_alone_and_sound(segment, where);
}

TEST_CASE("a thread gets a slot although all are claimed by the dead") {
  TestSegment segment;
  auto where = segment.make_dict(1);
  const std::uint32_t dead = 100;
  fill_sessions(*segment, dead, dead + 1, ended_process());
  fill_threads(*segment, shm::kReservedThreads, shm::kMaxThreads, dead);
  bool works = false;
  std::thread([&] { works = shm::Dict(where).put(segment.me(), text("a"), text("1")) == Status::kOk; }).join();
  CHECK(works);
  CHECK(used_sessions(segment) == 1);
  CHECK(used_threads(segment) == 1);
}

TEST_CASE("reserved records that the dead hold are taken over with all that they left") {
  TestSegment segment;
  auto where = segment.make_dict(1);
  segment->leave();
  SECTION("by a process that finds no room") {
    die_in_reserved_session(segment, where, false);
    fill_sessions(*segment, 0, shm::kMaxSessions, ended_process());
  }
  SECTION("by a process that finds no room but in the record of the server") {
    die_in_reserved_session(segment, where, true);
    fill_sessions(*segment, 0, shm::kMaxSessions, ended_process());
  }
  REQUIRE(segment->here() != nullptr);
  require_alone_and_sound(segment, where);
}

TEST_CASE("a server joins although every session and slot is the dead's, those of its predecessor too") {
  TestSegment segment;
  auto where = segment.make_dict(1);
  segment->leave();
  const pid_t ended = ended_process();
  die_in_reserved_session(segment, where, true);
  fill_sessions(*segment, 0, shm::kMaxSessions, ended);
  fill_threads(*segment, 0, shm::kServerThreads, 0);
  fill_threads(*segment, shm::kReservedThreads, shm::kMaxThreads, 1000);
  segment->set_serving(true);
  REQUIRE(segment->here() != nullptr);
  CHECK(segment->session_index() == shm::SessionIndex{0});
  CHECK(segment->here()->index() < shm::kServerThreads);
  CHECK(shm::recover_all_dead(*segment, segment.me()) > 0);
  require_alone_and_sound(segment, where);
}

TEST_CASE("a server joins while all other records are in use by the living") {
  TestSegment segment;
  segment->leave();
  LivingFiller living(*segment, 1, shm::kMaxSessions);
  CHECK(segment->here() == nullptr);
  CHECK(segment->join_failure() == Status::kTooMany);
  segment->set_serving(true);
  CHECK(segment->here() != nullptr);
}

TEST_CASE("many processes that find the table full of the dead at once all join") {
  TestSegment segment;
  auto where = segment.make_dict(4);
  segment->leave();
  fill_sessions(*segment, shm::kReservedSessions, shm::kMaxSessions, ended_process());
  Shared<std::atomic<int>> ready;
  std::vector<pid_t> all;
  for (int i = 0; i < 12; ++i) {
    all.push_back(spawn([&] {
      alarm(60);
      ++*ready;
      while (ready->load() < 12) usleep(100);
      if (shm::Dict(where).put(segment.me(), text(std::to_string(i)), text("1")) != Status::kOk) {
        throw std::runtime_error("cannot put");
      }
      segment->leave();
    }));
  }
  for (pid_t child : all) CHECK(wait_for(child) == 0);
  CHECK(used_sessions(segment) == 0);
  CHECK(used_threads(segment) == 0);
}

TEST_CASE("a process whose threads find no slot does not recover itself") {
  TestSegment segment;
  auto where = segment.make_dict(1);
  auto& me = segment.me();
  const std::uint32_t own = shm::index_of(segment->session_index());
  REQUIRE(shm::lock(me, shard_lock(where)) == Status::kOk);
  fill_threads(*segment, shm::kReservedThreads, shm::kMaxThreads, own);
  shm::ThreadContext* other = &me;
  std::thread([&] { other = segment->here(); }).join();
  CHECK(other == nullptr);
  CHECK(segment->join_failure() == Status::kTooMany);
  CHECK((shard_lock(where).state.load() & ~shm::kLockWaiters) == me.owner());
  CHECK(shm::unlock(me, shard_lock(where)) == Status::kOk);
  for (std::uint32_t i = 0; i < shm::kMaxThreads; ++i) {
    if (i != me.index()) segment->thread(i).claim.store(0);
  }
}
