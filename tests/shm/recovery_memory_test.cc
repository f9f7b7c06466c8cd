// Recovery, and the sweep, in a process that has no memory, or no room for another announcement.
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <new>
#include <thread>

#include "shm/dict_table.h"
#include "shm/liveness.h"
#include "shm/lock_word.h"
#include "shm/ordered_queue.h"
#include "shm/queue.h"
#include "shm/recovery.h"
#include "support/link_ground.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

// How many allocations of this thread succeed; below 0: all.
constinit thread_local int allocations_left = -1;

}  // namespace

void* operator new(std::size_t size) {
  if (allocations_left == 0) throw std::bad_alloc();
  if (allocations_left > 0) --allocations_left;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace {

shm::LockWord& shard_lock(const shm::ObjectAddress& where, std::uint64_t shard) {
  return shm::dict_shard(*where.segment->at<shm::DictControl>(where.control), shard).writing;
}

void lock_and_lose_chunks(const TestSegment& segment, const shm::ObjectAddress& where, std::uint64_t shards) {
  for (std::uint64_t s = 0; s < shards; ++s) {
    shm::Offset chunk;
    if (shm::lock(segment.me(), shard_lock(where, s)) != Status::kOk) abort();
    if (take_chunk(segment.me(), shm::ChunkOwner(where.object, static_cast<std::uint32_t>(s)), 3000, chunk) !=
        Status::kOk) {
      abort();
    }
  }
}

void die_with_locks(const TestSegment& segment, const shm::ObjectAddress& where, std::uint64_t shards) {
  pid_t child = spawn([&] {
    lock_and_lose_chunks(segment, where, shards);
    kill(getpid(), SIGKILL);
  });
  REQUIRE(wait_for(child) == -SIGKILL);
}

// The objects that somebody holds a lock of.
std::vector<std::string> locked_objects(const TestSegment& segment) {
  std::vector<std::string> found;
  shm::for_each_object(*segment, [&](const shm::ObjectInfo& info) {
    const shm::ObjectType* type = shm::object_type(info.kind);
    bool held = false;
    if (type->each_lock != nullptr) {
      type->each_lock({&*segment, info.id.index, info.control}, &held, [](void* context, shm::LockWord& word) {
        if (word.state.load() != 0) *static_cast<bool*>(context) = true;
      });
    }
    if (held) found.push_back(info.name);
  });
  return found;
}

}  // namespace

TEST_CASE("a process that lives is not taken for dead for want of the memory to look") {
  TestSegment segment;
  segment.me();
  Shared<std::atomic<std::uint32_t>> session;
  const pid_t child = spawn([&] {
    (void)segment.me();
    (void)syscall(SYS_close_range, 3u, ~0u, 0u);  // and so loses its byte of the lock file
    *session = shm::index_of(segment->session_index()) + 1;
    for (;;) pause();
  });
  while (session->load() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  for (int allocations = 0; allocations < 40; ++allocations) {
    allocations_left = allocations;
    const bool dead = shm::session_is_dead(*segment, shm::SessionIndex{*session - 1});
    allocations_left = -1;
    INFO(allocations << " allocations");
    CHECK_FALSE(dead);
  }
  kill(child, SIGKILL);
  CHECK(wait_for(child) == -SIGKILL);
  CHECK(shm::session_is_dead(*segment, shm::SessionIndex{*session - 1}));
}

TEST_CASE("a sweep that runs out of memory holds no lock, and the next one ends it") {
  TestSegment segment;
  auto& me = segment.me();
  shm::Dict dict(segment.make({shm::ObjectKind::kDict, "dict", "dict"}));
  shm::List list(segment.make({shm::ObjectKind::kList, "list", "list", {1}}));
  const shm::Queue queue(segment.make({shm::ObjectKind::kQueue, "queue", "queue"}));
  const shm::OrderedQueue ordered(segment.make({shm::ObjectKind::kPriorityQueue, "ordered", "queue", {0, 0, 3}}));
  std::vector<shm::ObjectId> kept;
  for (std::int64_t i = 0; i < 40; ++i) {
    kept.push_back(make_object(segment, shm::ObjectKind::kLock));
    const Link link(kept.back());
    switch (i % 4) {
      case 0:
        REQUIRE(dict.put(me, integer(i), link.item()) == Status::kOk);
        break;
      case 1:
        REQUIRE(list.push_back(me, link.item()) == Status::kOk);
        break;
      case 2:
        REQUIRE(queue.put(me, link.item(), shm::Deadline::never()) == Status::kOk);
        break;
      default:
        REQUIRE(ordered.put(me, link.item(), 0, shm::Deadline::never()) == Status::kOk);
    }
  }
  int failed = 0;
  for (int allowed = 0;; ++allowed) {
    const shm::ObjectId lost = make_object(segment, shm::ObjectKind::kLock);
    bool unfinished = false;
    allocations_left = allowed;
    (void)shm::sweep_unreferred_objects(me, {}, &unfinished);
    allocations_left = -1;
    REQUIRE(locked_objects(segment) == std::vector<std::string>{});
    if (!unfinished) break;
    ++failed;
    REQUIRE(wrong_after_sweep(segment) == "");
    REQUIRE_FALSE(is_alive(segment, lost));
  }
  CHECK(failed > 10);
  for (shm::ObjectId id : kept) REQUIRE(is_alive(segment, id));
}

TEST_CASE("a recovery that runs out of memory is done again by the next who has some") {
  TestSegment segment;
  auto where = segment.make_dict(4);
  auto& me = segment.me();
  for (int i = 0; i < 100; ++i) {
    const std::string key = std::to_string(i);
    REQUIRE(shm::Dict(where).put(me, text(key), text(std::string(50, 'v'))) == Status::kOk);
  }
  int failed = 0;
  for (int allowed = 0;; ++allowed) {
    die_with_locks(segment, where, 3);
    allocations_left = allowed;
    int recovered = -1;
    bool threw = false;
    try {
      recovered = shm::recover_all_dead(*segment, me);
    } catch (const std::bad_alloc&) {
      threw = true;
    }
    allocations_left = -1;
    REQUIRE_FALSE(threw);
    if (recovered == 1) break;
    ++failed;
    REQUIRE(recovered == 0);
    REQUIRE(shm::recover_all_dead(*segment, me) == 1);
    for (std::uint64_t s = 0; s < 4; ++s) REQUIRE(shard_lock(where, s).state.load() == 0);
    auto audit = shm::Dict(where).audit(me);
    REQUIRE(audit.error == "");
    REQUIRE(audit.lost_chunks == 0);
  }
  CHECK(failed > 3);
  CHECK(shm::Dict(where).audit(me).error == "");
}

TEST_CASE("a thread that ends with locks while there is no memory is recovered later") {
  TestSegment segment;
  auto where = segment.make_dict(4);
  for (int i = 0; i < 100; ++i) {
    const std::string key = std::to_string(i);
    REQUIRE(shm::Dict(where).put(segment.me(), text(key), text(std::string(50, 'v'))) == Status::kOk);
  }
  std::thread([&] {
    lock_and_lose_chunks(segment, where, 2);
    allocations_left = 0;
  }).join();
  CHECK(shard_lock(where, 0).state.load() != 0);
  CHECK(shm::lock(segment.me(), shard_lock(where, 0), shm::Deadline::after(std::chrono::seconds(20))) == Status::kOk);
  CHECK(shm::unlock(segment.me(), shard_lock(where, 0)) == Status::kOk);
  CHECK(shard_lock(where, 1).state.load() == 0);
  CHECK(shm::Dict(where).audit(segment.me()).error == "");
}

TEST_CASE("a thread that ends recovers a dead process though another thread's locks are left") {
  TestSegment segment;
  auto where = segment.make_dict(4);
  for (int i = 0; i < 100; ++i) {
    const std::string key = std::to_string(i);
    REQUIRE(shm::Dict(where).put(segment.me(), text(key), text(std::string(50, 'v'))) == Status::kOk);
  }
  pid_t child = spawn([&] {
    std::thread([&] {
      shm::Offset chunk;
      if (shm::lock(segment.me(), shard_lock(where, 1)) != Status::kOk) abort();
      if (take_chunk(segment.me(), shm::ChunkOwner(where.object, 1), 3000, chunk) != Status::kOk) abort();
      std::thread([&] {
        lock_and_lose_chunks(segment, where, 1);
        allocations_left = 0;
      }).join();
      const pid_t dead = spawn([&] {
        if (shm::lock(segment.me(), segment->header().extents_lock) != Status::kOk) abort();
        kill(getpid(), SIGKILL);
      });
      if (wait_for(dead) != -SIGKILL) abort();
    }).join();  // the repair of what it leaves waits for the extents' lock
    if (shard_lock(where, 1).state.load() != 0) throw std::runtime_error("a lock is left");
  });
  CHECK(wait_or_kill(child) == 0);
  (void)shm::recover_all_dead(*segment, segment.me());
  CHECK(shm::Dict(where).audit(segment.me()).error == "");
  CHECK(shm::Dict(where).audit(segment.me()).lost_chunks == 0);
}

TEST_CASE("a lock that its thread waits for stays announced while the thread recovers the one who held it") {
  TestSegment segment;
  auto where = segment.make_dict(32);
  auto& me = segment.me();
  die_with_locks(segment, where, 1);
  // All room for announcements is in use, most of it for locks that another thread has freed.
  for (std::uint64_t s = 1; s < shm::kAnnouncements; ++s) REQUIRE(shm::lock(me, shard_lock(where, s)) == Status::kOk);
  std::thread([&] {
    for (std::uint64_t s = 2; s < shm::kAnnouncements; ++s) (void)shm::unlock(segment.me(), shard_lock(where, s));
  }).join();
  REQUIRE(shm::lock(me, shard_lock(where, 0)) == Status::kOk);
  int announced = 0;
  const shm::Word mark = segment->offset_of(&shard_lock(where, 0)) | static_cast<shm::Word>(shm::Announced::kWord);
  for (auto& entry : me.record().announced) announced += entry.load() == mark;
  CHECK(announced == 1);
  CHECK(me.record().overflow.load() == 0);
  CHECK(shm::unlock(me, shard_lock(where, 0)) == Status::kOk);
  CHECK(shm::unlock(me, shard_lock(where, 1)) == Status::kOk);
  for (auto& entry : me.record().announced) CHECK(entry.load() == 0);
}
