// What a large batch has written when its writer ends, or finds garbage.
#include <catch2/catch.hpp>
#include <thread>

#include "shm/recovery.h"
#include "support/batched_dict.h"

using namespace commonhold::test;
using namespace commonhold::shm;

TEST_CASE("entries that a dead writer left in a shard whose lock was held then go with the next large batch") {
  const Batch batch("batch/", 0, 30), next("next/", 0, 8);
  BatchedDict batched(2);
  auto& me = batched.segment.me();
  const std::uint64_t before = [&] {
    require_ok(batched.dict.put_many(me, batch.pairs));
    require_ok(batched.dict.clear(me));
    return bytes_owned_by(*batched.segment, batched.where.object);
  }();
  std::uint64_t holder_stops = 0;
  {
    SteppedChild writer = batch_writer(batched, batch, batched.staged_words());
    REQUIRE(writer.run_until_change(25));
    while (batched.locks_held() != 0) REQUIRE(writer.run_until(writer.instructions() + 1));
    const std::string key = "holder";
    SteppedChild holder(
        {}, [&] { batched.segment.me(); }, [&] { batched.put(key, "put"); });
    while (batched.locks_held() == 0) REQUIRE(holder.run_until(holder_stops += 20));
    kill(writer.pid(), SIGKILL);
    REQUIRE(writer.finish() == -SIGKILL);
    recover_all_dead(*batched.segment, me);
    CHECK(batched.control().preparing.state.load() == 0);
    CHECK(batched.dict.audit(me).left_staged == 1);
    REQUIRE(holder.finish_at_full_speed() == 0);
  }
  Contents expected{{"holder", "put"}};
  CHECK(batched.contents() == expected);
  CHECK(batched.dict.audit(me).error == "");
  {
    const StagingForTest as_if_large(2, 2);
    require_ok(batched.dict.put_many(me, next.pairs));
  }
  next.add_to(expected);
  CHECK(batched.contents() == expected);
  CHECK(batched.fault() == "");
  require_ok(batched.dict.clear(me));
  CHECK(bytes_owned_by(*batched.segment, batched.where.object) <= before);
}

TEST_CASE("whoever recovers a large batch's writer keeps the shards' locks that it holds itself") {
  const Batch batch("batch/", 0, 30);
  BatchedDict batched(4);
  auto& me = batched.segment.me();
  SteppedChild writer = batch_writer(batched, batch, batched.staged_words());
  REQUIRE(writer.run_until_change(20));
  while (batched.locks_held() != 0) REQUIRE(writer.run_until(writer.instructions() + 1));
  kill(writer.pid(), SIGKILL);
  REQUIRE(writer.finish() == -SIGKILL);
  set_holder_check_for_test(std::chrono::microseconds(100));  // as after a long stop in the middle of a short wait
  {
    const DictShards shards = batched.shards();
    const DictAllLocked held(me, batched.where, shards);
    recover_all_dead(*batched.segment, me);
    CHECK(batched.control().preparing.state.load() == 0);
    for (std::uint64_t i = 0; i < shards.size(); ++i) {
      CHECK((shards[i].writing.state.load() & ~kLockWaiters) == me.owner());
    }
  }
  set_holder_check_for_test(std::chrono::milliseconds(100));
  CHECK(batched.dict.audit(me).left_staged != 0);
  batched.dict.give_idle_memory(me);
  CHECK(batched.contents().empty());
  CHECK(batched.fault() == "");
}

TEST_CASE(
    "what a dead large batch has left in a shard that was held is idle memory, also where none was found before") {
  const Batch batch("batch/", 0, 30);
  BatchedDict batched(2);
  auto& me = batched.segment.me();
  SteppedChild writer = batch_writer(batched, batch, batched.staged_words());
  REQUIRE(writer.run_until_change(20));
  while (batched.locks_held() != 0) REQUIRE(writer.run_until(writer.instructions() + 1));
  batched.dict.found_no_idle_memory();
  REQUIRE(!batched.dict.may_have_idle_memory());
  kill(writer.pid(), SIGKILL);
  REQUIRE(writer.finish() == -SIGKILL);
  {
    const DictAllLocked reader(me, batched.where, batched.shards());
    recover_all_dead(*batched.segment, me);
  }
  REQUIRE(batched.dict.audit(me).left_staged != 0);
  CHECK(batched.dict.may_have_idle_memory());
}

TEST_CASE("without a server, who runs out of memory gets back what a dead large batch had written") {
  BatchedDict batched(4, 4u << 20);
  batched.put("old", "put");
  const Batch batch("batch/", 0, 4'000);
  const pid_t writer = spawn([&] {
    const DictShards shards = batched.shards();
    const auto keys = sort_batch(batched.control(), shards, batch.pairs);
    std::vector<StagedEntry> staged(keys.size());
    DictStaging staging(batched.segment.me(), batched.where, batched.control(), shards);
    if (staging.write(keys, staged, DictStaging::Scalars::kAnew) == Status::kOk) kill(getpid(), SIGKILL);
  });
  REQUIRE(wait_for(writer) == -SIGKILL);
  const std::uint64_t left = bytes_owned_by(*batched.segment, batched.where.object);
  REQUIRE(left > 2u << 20);
  batched.dict.found_no_idle_memory();
  batched.put("large", std::string((4u << 20) - left, 'l'));
  CHECK(batched.control().preparing.state.load() == 0);
  CHECK(batched.contents().size() == 2);
  CHECK(batched.fault() == "");
}

TEST_CASE("a thread that ends in the middle of a large batch leaves nothing of it") {
  const Batch batch("batch/", 0, 30);
  for (const bool holds_a_shard : {false, true}) {
    BatchedDict batched(4);
    batched.put("old", "put");
    std::thread([&] {
      ThreadContext& me = batched.segment.me();
      const auto* shards = new DictShards(batched.shards());  // nobody destroys what it has, as after pthread_exit
      const auto keys = sort_batch(batched.control(), *shards, batch.pairs);
      std::vector<StagedEntry> staged(keys.size());
      auto* staging = new DictStaging(me, batched.where, batched.control(), *shards);
      if (staging->write(keys, staged, DictStaging::Scalars::kAnew) != Status::kOk) std::abort();
      if (holds_a_shard) new HeldLock(me, (*shards)[1].writing);
    }).join();
    REQUIRE(batched.dict.audit(batched.segment.me()).error == "");
    CHECK(batched.control().preparing.state.load() == 0);
    CHECK(batched.locks_held() == 0);
    CHECK(batched.contents() == Contents{{"old", "put"}});
    CHECK(batched.fault() == "");
  }
}

TEST_CASE("a damaged list of staged entries is told, and frees nothing") {
  BatchedDict batched(1);
  auto& me = batched.segment.me();
  const Batch old("old/", 0, 20);
  require_ok(batched.dict.put_many(me, old.pairs));
  Contents expected;
  old.add_to(expected);
  DictShard& shard = batched.shards()[0];
  // Held by somebody, so that nobody takes the list for one of the dead.
  const HeldLock preparing(me, batched.control().preparing);
  for (const Word garbage : {Word{8}, Word{16}, ~Word{0}, Word{1} << 40}) {
    INFO("staged " << garbage);
    shard.staged = garbage;
    CHECK(batched.dict.audit(me).error != "");
    batched.dict.give_idle_memory(me);
    CHECK(batched.contents() == expected);
    shard.staged = 0;
    batched.dict.give_idle_memory(me);
    CHECK(batched.fault() == "");
  }
}

TEST_CASE("a walk over a cycle of staged entries ends, whatever the heap says that it owns") {
  BatchedDict batched(1);
  auto& me = batched.segment.me();
  const Batch batch("batch/", 0, 20);
  SteppedChild writer = batch_writer(batched, batch, batched.staged_words());
  REQUIRE(writer.run_until_change(20));
  while (batched.locks_held() != 0) REQUIRE(writer.run_until(writer.instructions() + 1));
  DictShard& shard = batched.shards()[0];
  set_sequence(*batched.segment, shard.staged, shard.staged);
  shard.heap.owned_bytes = ~Word{0};
  CHECK(batched.dict.audit(me).error != "");
}

TEST_CASE("a large batch whose entries another has freed, as only garbage can bring about, puts none in place") {
  const Batch batch("batch/", 0, 30), other("other/", 0, 30);
  for (std::uint64_t entries : {3u, 17u, 30u}) {
    BatchedDict batched(4);
    auto& me = batched.segment.me();
    SteppedChild writer(
        batched.staged_words(), [&] { batched.segment.me(); },
        [&] {
          const StagingForTest as_if_large(2, 1);
          if (batched.dict.put_many(batched.segment.me(), batch.pairs) != Status::kCorrupt) _exit(1);
        });
    REQUIRE(writer.run_until_change(entries));
    while (batched.locks_held() != 0) REQUIRE(writer.run_until(writer.instructions() + 1));
    batched.control().preparing.state = 0;
    {
      const StagingForTest as_if_large(2, 1);
      require_ok(batched.dict.put_many(me, other.pairs));
    }
    INFO("stopped when " << entries << " entries are written");
    CHECK(writer.finish_at_full_speed() == 0);
    Contents expected;
    other.add_to(expected);
    CHECK(batched.contents() == expected);
    CHECK(batched.fault() == "");
  }
}
