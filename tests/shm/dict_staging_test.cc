// A large batch writes its entries before it holds the locks that it needs: what others do meanwhile loses nothing.
#include <catch2/catch.hpp>
#include <functional>
#include <random>

#include "shm/dict_spread.h"
#include "support/batched_dict.h"

using namespace commonhold::test;
using namespace commonhold::shm;

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
  while (batched.locks_held() != 0) REQUIRE(writer.run_until(writer.instructions() + 1));
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
