// Words that say how much there is, who holds a lock and whose an object is, when they are garbage.
#include <sys/stat.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "shm/dict_layout.h"
#include "shm/lock_fast.h"
#include "shm/object_types.h"
#include "shm/recovery.h"
#include "shm/references.h"
#include "shm/sweep.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::LockWord;
using shm::Status;
using shm::Word;
using namespace std::chrono_literals;

namespace {

std::uint64_t backed_bytes(const TestSegment& segment) {
  struct stat status {};
  REQUIRE(fstat(segment->memory_fd(), &status) == 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

// Waiters look after the holder of a lock this often, for a scope.
class HolderCheck {
 public:
  explicit HolderCheck(std::chrono::nanoseconds interval) { shm::set_holder_check_for_test(interval); }
  ~HolderCheck() { shm::set_holder_check_for_test(100ms); }
};

LockWord& lock_of(const TestSegment& segment, const shm::ObjectAddress& dict, std::uint64_t shard) {
  return shm::dict_shard(*segment->at<shm::DictControl>(dict.control), shard).writing;
}

}  // namespace

TEST_CASE("a number of object records that have no memory behind them is not believed") {
  TestSegment segment;
  const auto dict = segment.make_dict(1);
  REQUIRE(shm::Dict(dict).put(segment.me(), text("k"), text("v")) == Status::kOk);
  const std::uint64_t backed = backed_bytes(segment);
  for (Word garbage : {Word{1} << 31, Word{shm::kMaxObjects}, ~Word{0}, Word{0}}) {
    INFO("objects_committed " << garbage);
    segment->header().objects_committed.store(garbage);
    CHECK(segment->committed_objects() <= 1024);
    int objects = 0;
    shm::for_each_object(*segment, [&](const shm::ObjectInfo&) { ++objects; });
    CHECK(objects == (garbage == 0 ? 0 : 1));
    std::vector<bool> referred;
    shm::mark_referred(*segment, referred);
    CHECK(shm::count_all_references(*segment).size() <= 1024);
    shm::ObjectId found;
    CHECK(shm::find_object(*segment, "no such name", found) == Status::kNotFound);
    CHECK(shm::object_control(*segment, {shm::kMaxObjects - 1, 1}) == 0);
    CHECK(shm::add_reference(*segment, {shm::kMaxObjects - 1, 1}) == Status::kGone);
  }
  CHECK(backed_bytes(segment) <= backed + (1u << 20));
  // One that is too small costs no live object its record.
  shm::ObjectId made;
  REQUIRE(shm::create_object(segment.me(), {shm::ObjectKind::kDict, "", "", {1}}, made) == Status::kOk);
  CHECK(made.index != dict.object);
  CHECK(shm::object_control(*segment, {dict.object, 1}) == dict.control);
}

TEST_CASE("a number of extents that have no memory behind them is not believed") {
  TestSegment segment;
  const auto dict = segment.make_dict(1);
  const std::uint64_t backed = backed_bytes(segment), extents = segment->committed_extents();
  const Word before = segment->header().committed_extents.load();
  for (Word garbage : {Word{segment->tables().max_extents}, ~Word{0}, extents + 16}) {
    segment->header().committed_extents.store(garbage);
    CHECK(segment->committed_extents() == extents);
    CHECK_FALSE(segment->holds(segment->tables().data + extents * shm::kExtent, 8));
    CHECK(shm::bytes_owned_by(*segment, dict.object) != 0);
  }
  CHECK(backed_bytes(segment) == backed);
  segment->header().committed_extents.store(before);
  const std::string large(3u << 20, 'l');  // real growth is seen
  CHECK(shm::Dict(dict).put(segment.me(), text("k"), text(large)) == Status::kOk);
  CHECK(segment->committed_extents() > extents);
}

TEST_CASE("a lock word that names a live thread which does not hold the lock is freed") {
  const HolderCheck check(5ms);
  TestSegment segment;
  const auto dict = segment.make_dict(2);
  REQUIRE(shm::Dict(dict).put(segment.me(), text("k"), text("v")) == Status::kOk);
  std::atomic<std::uint32_t> other{0};
  std::atomic<bool> done{false};
  std::thread live([&] {
    other = segment.me().owner();
    while (!done) std::this_thread::sleep_for(1ms);
  });
  while (other == 0) std::this_thread::yield();
  for (std::uint32_t owner : {other.load(), segment.me().owner()}) {
    for (std::uint64_t shard : {0, 1}) lock_of(segment, dict, shard).state.store(owner);
    CHECK(shm::Dict(dict).put(segment.me(), text("k"), text("w")) == Status::kOk);
    const shm::DictPair pairs[] = {{text("a"), text("1")}, {text("b"), text("2")}, {text("c"), text("3")}};
    CHECK(shm::Dict(dict).put_many(segment.me(), pairs) == Status::kOk);
    CHECK(shm::Dict(dict).clear(segment.me()) == Status::kOk);
  }
  segment->header().extents_lock.state.store(other);
  const std::string large(100'000, 'l');
  CHECK(shm::Dict(dict).put(segment.me(), text("k"), text(large)) == Status::kOk);
  done = true;
  live.join();
  CHECK(shm::Dict(dict).audit(segment.me()).error.empty());
}

TEST_CASE("a lock word with waiters and no holder is free") {
  TestSegment segment;
  const auto dict = segment.make_dict(2);
  REQUIRE(shm::Dict(dict).put(segment.me(), text("a"), text("v")) == Status::kOk);
  for (std::uint64_t shard : {0, 1}) lock_of(segment, dict, shard).state.store(shm::kLockWaiters);
  CHECK(shm::Dict(dict).put(segment.me(), text("a"), text("w")) == Status::kOk);
  CHECK(shm::Dict(dict).clear(segment.me()) == Status::kOk);  // takes both
  for (std::uint64_t shard : {0, 1}) CHECK(lock_of(segment, dict, shard).state.load() == 0);
  CHECK(shm::Dict(dict).audit(segment.me()).error.empty());
}

TEST_CASE("a lock whose holder announced the word or its object is never taken for unheld") {
  const HolderCheck check(1ms);
  TestSegment segment;
  const auto dict = segment.make_dict(1);
  LockWord& word = lock_of(segment, dict, 0);
  for (const bool whole_object : {false, true}) {
    std::atomic<int> step{0};
    std::thread holder([&] {
      auto& me = segment.me();
      whole_object ? me.announce_object(dict.control) : me.announce(word);
      (void)shm::lock_announced(me, word);
      step = 1;
      while (step != 2) std::this_thread::sleep_for(1ms);
      shm::unlock_announced(word);
      whole_object ? me.retract_object(dict.control) : me.retract(word);
    });
    while (step != 1) std::this_thread::yield();
    const Status waited = shm::lock(segment.me(), word, shm::Deadline::after(60ms));
    CHECK(waited == Status::kTimedOut);
    step = 2;
    holder.join();
    CHECK(word.state.load() == 0);
  }
}

// The proof that a lock is not held must not be fooled by a thread that frees it and takes it again meanwhile.
TEST_CASE("a lock that threads take and free without a pause is never taken for unheld") {
  const HolderCheck check(1us);
  TestSegment segment;
  const auto dict = segment.make_dict(1);
  LockWord& word = lock_of(segment, dict, 0);
  std::atomic<bool> done{false};
  std::atomic<int> inside{0}, overlaps{0};
  std::atomic<std::uint64_t> turns{0};
  const auto turn = [&] {
    if (inside.fetch_add(1) != 0) overlaps.fetch_add(1);
    inside.fetch_sub(1);
    turns.fetch_add(1);
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      auto& me = segment.me();
      while (!done) {
        if (!shm::take_free_lock(me, word)) continue;
        turn();
        const shm::TakenLock held(me, word);
      }
    });
    threads.emplace_back([&] {
      auto& me = segment.me();
      while (!done) {
        (void)shm::free_unheld_lock(me, word);
        const shm::HeldLock held(me, word);
        turn();
      }
    });
  }
  std::this_thread::sleep_for(700ms);
  done = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(turns > 1000);
  CHECK(overlaps == 0);
}

TEST_CASE("who recovers another does not look for its own session in its slot") {
  TestSegment segment;
  auto& me = segment.me();
  for (const shm::Word garbage : {shm::Word{0}, shm::Word{0x4000'0001}}) {
    const pid_t victim = spawn([&] {
      (void)segment.me();
      kill(getpid(), SIGKILL);
    });
    REQUIRE(wait_for(victim) == -SIGKILL);
    const shm::Word claim = me.record().claim.exchange(garbage);
    CHECK(shm::recover_all_dead(*segment, me) == 1);
    me.record().claim = claim;
  }
}

TEST_CASE("a record of a recovery by a session that there cannot be holds up no other recovery") {
  TestSegment segment;
  const auto dict = segment.make_dict(1);
  const std::uint32_t used = segment->sessions_used();
  REQUIRE(wait_for(spawn([&] { (void)shm::lock(segment.me(), lock_of(segment, dict, 0)); })) == 0);
  REQUIRE(segment->sessions_used() > used - 1);
  const std::uint32_t dead = segment->sessions_used() - 1;
  auto& state = segment->session(dead).state;
  state.store(state.load() >> 32 << 32 | Word{0xffff'ff} << 8 | static_cast<Word>(shm::SessionState::kRecovering));
  CHECK(shm::Dict(dict).put(segment.me(), text("k"), text("v")) == Status::kOk);
}

TEST_CASE("a lock whose owner's session record says that it is free is freed") {
  TestSegment segment;
  const auto dict = segment.make_dict(1);
  REQUIRE(wait_for(spawn([&] { (void)shm::lock(segment.me(), lock_of(segment, dict, 0)); })) == 0);
  auto& state = segment->session(segment->sessions_used() - 1).state;
  state.store(state.load() >> 32 << 32);
  CHECK(shm::Dict(dict).put(segment.me(), text("k"), text("v")) == Status::kOk);
}
