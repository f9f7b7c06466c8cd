// A large batch writes its entries before it holds the locks that it needs: what others do meanwhile loses nothing.
#include "shm/dict_staging.h"

#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <random>
#include <thread>

#include "shm/dict_spread.h"
#include "shm/recovery.h"
#include "support/require_ok.h"
#include "support/stepped_child.h"
#include "support/test_segment.h"

using namespace commonhold::test;
using namespace commonhold::shm;

namespace {

using Contents = std::map<std::string, std::string>;

// Texts of several sizes and one that is a chunk, under keys "<prefix>/<number>".
struct Batch {
  Batch(const std::string& prefix, int from, int to) {
    for (int i = from; i < to; ++i) {
      keys.push_back(prefix + std::to_string(i));
      values.emplace_back(i % 7 == 3 ? 3'000 : 5 + 9 * (i % 5), static_cast<char>('a' + i % 26));
    }
    for (std::size_t i = 0; i < keys.size(); ++i) pairs.push_back({text(keys[i]), text(values[i])});
  }
  void add_to(Contents& contents) const {
    for (std::size_t i = 0; i < keys.size(); ++i) contents[keys[i]] = values[i];
  }
  std::vector<std::string> keys, values;
  std::vector<DictPair> pairs;
};

struct BatchedDict {
  explicit BatchedDict(std::uint64_t shards, std::uint64_t memory_limit = 32u << 20)
      : segment(memory_limit), where(segment.make_dict(shards)), dict(where) {}

  DictControl& control() const { return *segment->at<DictControl>(where.control); }
  DictShards shards() const { return {*segment, control()}; }
  int locks_held() const {
    int held = 0;
    for (std::uint64_t i = 0; i < shards().size(); ++i) held += shards()[i].writing.state.load() != 0;
    return held;
  }
  std::vector<const AtomicWord*> staged_words() const {
    std::vector<const AtomicWord*> words;
    for (std::uint64_t i = 0; i < shards().size(); ++i) words.push_back(&shards()[i].staged);
    return words;
  }
  void put(const std::string& key, const std::string& value) {
    require_ok(dict.put(segment.me(), text(key), text(value)));
  }
  Contents contents() const {
    std::vector<DictEntryCopy> entries;
    require_ok(dict.snapshot(segment.me(), entries));
    Contents found;
    for (const DictEntryCopy& entry : entries) found[std::string(entry.key())] = entry.value();
    return found;
  }
  std::string fault() const {
    const auto audit = dict.audit(segment.me());
    return audit.left_staged != 0 ? "entries of a batch were left" : audit.error;
  }

  TestSegment segment;
  ObjectAddress where;
  Dict dict;
};

// In its own process, which takes a batch of two keys for a large one and writes one entry at a time.
SteppedChild batch_writer(BatchedDict& batched, const Batch& batch, std::vector<const AtomicWord*> watched = {}) {
  return SteppedChild(
      std::move(watched), [&] { batched.segment.me(); },
      [&] {
        const StagingForTest as_if_large(2, 1);
        require_ok(batched.dict.put_many(batched.segment.me(), batch.pairs));
      });
}

}  // namespace

TEST_CASE("while a large batch writes its entries it holds one shard's lock at a time, and others put what they like") {
  const Batch batch("batch/", 0, 30);
  for (std::uint64_t entries : {1u, 2u, 9u, 17u, 29u, 30u}) {
    BatchedDict batched(16);
    batched.segment.me();
    Contents expected;
    batch.add_to(expected);
    SteppedChild writer = batch_writer(batched, batch, batched.staged_words());
    REQUIRE(writer.run_until_change(entries));
    INFO("stopped when " << entries << " entries are written");
    REQUIRE(batched.locks_held() <= 1);
    const DictShards shards = batched.shards();
    for (int i = 0; i < 50; ++i) {
      const std::string key = "mine/" + std::to_string(i);
      if (shards[shards.index_of(hash_key(text(key), batched.control().seed))].writing.state.load() != 0) continue;
      batched.put(key, "put");
      expected[key] = "put";
    }
    REQUIRE(expected.size() > batch.keys.size() + 20);
    REQUIRE(batched.dict.size() == expected.size() - batch.keys.size());  // nothing of the batch is seen yet
    REQUIRE(writer.finish_at_full_speed() == 0);
    REQUIRE(batched.contents() == expected);
    REQUIRE(batched.fault() == "");
  }
}

TEST_CASE("whatever is done to a dict while a large batch is being written, the batch comes after it as a whole") {
  struct Meanwhile {
    const char* name;
    std::uint64_t shards;
    std::function<void(BatchedDict&, Contents&)> run;  // changes the contents likewise
  };
  const Batch batch("batch/", 0, 7), other("other/", 0, 30);
  auto put_all = [](const Batch& pairs) {
    return [&pairs](BatchedDict& batched, Contents& contents) {
      require_ok(batched.dict.put_many(batched.segment.me(), pairs.pairs));
      pairs.add_to(contents);
    };
  };
  const std::vector<Meanwhile> all{
      {"its own keys are put", 2,
       [&](BatchedDict& batched, Contents& contents) {
         for (int i = 0; i < 7; i += 2) batched.put("batch/" + std::to_string(i), "put meanwhile");
         contents["batch/0"] = contents["batch/6"] = "put meanwhile";  // new ones, then
       }},
      {"one of its keys is erased", 2,
       [](BatchedDict& batched, Contents&) { (void)batched.dict.erase(batched.segment.me(), text("batch/3")); }},
      {"idle memory is given back", 2,
       [](BatchedDict& batched, Contents&) { batched.dict.give_idle_memory(batched.segment.me()); }},
      {"a small batch comes", 4, put_all(other)},
      {"the dict is cleared", 2,
       [](BatchedDict& batched, Contents& contents) {
         require_ok(batched.dict.clear(batched.segment.me()));
         contents.clear();
       }},
      {"the dict is assigned", 2,
       [&](BatchedDict& batched, Contents& contents) {
         require_ok(batched.dict.assign(batched.segment.me(), other.pairs));
         contents.clear();
         other.add_to(contents);
       }},
      {"the dict spreads", 0,
       [](BatchedDict& batched, Contents& contents) {
         batched.control().waits = kCrowdedWaits;
         batched.put("new", "put");
         contents["new"] = "put";
         REQUIRE(batched.shards().size() == kDefaultShards);
       }},
  };
  std::minstd_rand random(Catch::rngSeed());
  for (const Meanwhile& meanwhile : all) {
    std::uint64_t instruction = 1 + random() % 8;
    int runs = 0;
    for (bool more = true; more; instruction += 1 + random() % (1 + instruction)) {
      BatchedDict batched(meanwhile.shards);
      batched.segment.me();
      Contents expected;
      for (const Batch& before : {Batch("old/", 0, 9), Batch("batch/", 2, 5)}) {
        require_ok(batched.dict.put_many(batched.segment.me(), before.pairs));
        before.add_to(expected);
      }
      SteppedChild writer = batch_writer(batched, batch);
      more = writer.run_until(instruction);
      INFO(meanwhile.name << " at instruction " << instruction);
      // Whoever holds a shard's lock is left alone; and what comes after the batch is no matter of this test.
      if (batched.dict.size() != expected.size()) break;
      if (batched.locks_held() == 0) {
        meanwhile.run(batched, expected);
        ++runs;
      }
      REQUIRE(writer.finish_at_full_speed() == 0);
      batch.add_to(expected);
      REQUIRE(batched.contents() == expected);
      REQUIRE(batched.fault() == "");
    }
    INFO(meanwhile.name);
    CHECK(runs > 3);
  }
}

TEST_CASE("a large batch replaces what its keys have when it commits, not what they had when it wrote its entries") {
  const std::int64_t old = 1, put = 5, batch = 9;
  const std::string as_stored(reinterpret_cast<const char*>(&batch), sizeof batch);
  const std::vector<DictPair> pairs{
      {text("stays"), integer(batch)},          {text("is erased"), integer(batch)},
      {text("becomes a text"), integer(batch)}, {text("becomes a number"), integer(batch)},
      {text("comes"), integer(batch)},          {text("was a text"), text("of the batch")}};
  const Contents expected{{"stays", as_stored},          {"is erased", as_stored},
                          {"becomes a text", as_stored}, {"becomes a number", as_stored},
                          {"comes", as_stored},          {"was a text", "of the batch"}};
  int runs = 0;
  for (std::uint64_t instruction = 20; runs < 25; instruction += 1 + instruction / 8) {
    BatchedDict batched(2);
    auto& me = batched.segment.me();
    for (const char* key : {"stays", "is erased", "becomes a text"}) {
      require_ok(batched.dict.put(me, text(key), integer(old)));
    }
    for (const char* key : {"becomes a number", "was a text"}) batched.put(key, "a text");
    SteppedChild writer(
        {}, [&] { batched.segment.me(); },
        [&] {
          const StagingForTest as_if_large(2, 1);
          require_ok(batched.dict.put_many(batched.segment.me(), pairs));
        });
    const bool stopped = writer.run_until(instruction);
    INFO("at instruction " << instruction);
    if (!stopped || batched.dict.size() == expected.size()) break;
    if (batched.locks_held() != 0) continue;
    ++runs;
    REQUIRE(batched.dict.erase(me, text("is erased")) == Status::kOk);
    batched.put("becomes a text", "put");
    for (const char* key : {"becomes a number", "comes", "was a text"}) {
      require_ok(batched.dict.put(me, text(key), integer(put)));
    }
    REQUIRE(writer.finish_at_full_speed() == 0);
    REQUIRE(batched.contents() == expected);
    REQUIRE(batched.fault() == "");
  }
  CHECK(runs > 5);
}

TEST_CASE("a second large batch waits for the first, and both are there") {
  const Batch first("first/", 0, 20), second("second/", 0, 20);
  BatchedDict batched(4);
  batched.segment.me();
  SteppedChild writer = batch_writer(batched, first, batched.staged_words());
  REQUIRE(writer.run_until_change(7));
  const pid_t other = spawn([&] {
    const StagingForTest as_if_large(2, 2);
    require_ok(batched.dict.put_many(batched.segment.me(), second.pairs));
  });
  batched.put("single", "put");
  REQUIRE(writer.finish_at_full_speed() == 0);
  REQUIRE(wait_for(other) == 0);
  Contents expected{{"single", "put"}};
  first.add_to(expected);
  second.add_to(expected);
  CHECK(batched.contents() == expected);
  CHECK(batched.fault() == "");
}

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

TEST_CASE("what a large batch has written counts once when it is seen whether the dict is crowded") {
  BatchedDict batched(0);
  auto& me = batched.segment.me();
  std::vector<std::string> keys;
  std::vector<DictPair> pairs;
  const std::string value(kCrowdedBytes / 16, 'v');
  for (int i = 0; i < 10; ++i) keys.push_back("key/" + std::to_string(i));
  for (const std::string& key : keys) pairs.push_back({text(key), text(value)});
  REQUIRE(is_worth_staging(pairs));
  require_ok(batched.dict.assign(me, pairs));
  CHECK(batched.shards().size() == 1);
  require_ok(batched.dict.clear(me));
  require_ok(batched.dict.put_many(me, pairs));
  CHECK(batched.shards().size() == 1);
  CHECK(batched.fault() == "");
}

TEST_CASE("a large batch that finds no memory leaves nothing of what it has written") {
  BatchedDict batched(4, 4u << 20);
  auto& me = batched.segment.me();
  const Batch old("old/", 0, 20), large("large/", 0, 60'000);
  require_ok(batched.dict.put_many(me, old.pairs));
  const std::uint64_t before = bytes_owned_by(*batched.segment, batched.where.object);
  CHECK(batched.dict.put_many(me, large.pairs) == Status::kOutOfMemory);
  CHECK(batched.dict.assign(me, large.pairs) == Status::kOutOfMemory);
  Contents expected;
  old.add_to(expected);
  CHECK(batched.contents() == expected);
  CHECK(batched.fault() == "");
  CHECK(bytes_owned_by(*batched.segment, batched.where.object) <= before + 64 * 1024);  // tables may have grown
}

TEST_CASE("a large batch keeps the order of insertion that a small one has") {
  BatchedDict batched(4);
  auto& me = batched.segment.me();
  const Batch batch("batch/", 0, 3'000), again("batch/", 1'000, 2'000);
  batched.put("first", "put");
  require_ok(batched.dict.put_many(me, batch.pairs));
  batched.put("last", "put");
  require_ok(batched.dict.put_many(me, again.pairs));
  std::vector<std::string> expected{"first"}, found;
  expected.insert(expected.end(), batch.keys.begin(), batch.keys.end());
  expected.emplace_back("last");
  std::vector<DictEntryCopy> entries;
  require_ok(batched.dict.snapshot(me, entries));
  for (const DictEntryCopy& entry : entries) found.emplace_back(entry.key());
  CHECK(found == expected);
  require_ok(batched.dict.assign(me, again.pairs));
  found.clear();
  require_ok(batched.dict.snapshot(me, entries));
  for (const DictEntryCopy& entry : entries) found.emplace_back(entry.key());
  CHECK(found == again.keys);
  CHECK(batched.fault() == "");
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
