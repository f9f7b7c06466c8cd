// A dict begins with one shard, and spreads over many once it is crowded: nobody sees a difference.
#include "shm/dict_spread.h"

#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "shm/dict_key_writer.h"
#include "shm/watch.h"
#include "support/link_ground.h"
#include "support/require_ok.h"
#include "support/stepped_child.h"
#include "support/test_segment.h"
#include "support/watching.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace commonhold::shm;

namespace {

// A small dict, which the next writer spreads once it is made crowded.
struct SmallDict {
  explicit SmallDict(std::uint64_t memory_limit = 8u << 20) : segment(memory_limit) {}

  DictControl& control() const { return *segment->at<DictControl>(where.control); }
  bool has_spread() const { return dict_shards(control()) != 1; }
  void crowd() const { control().waits = kCrowdedWaits; }
  void fill(int from, int to) {
    for (int i = from; i < to; ++i) require_ok(dict.put(segment.me(), text(key(i)), text(value(i))));
  }
  static std::string key(int i) { return "key/" + std::to_string(i); }
  static std::string value(int i) { return "value/" + std::to_string(i); }

  std::string get(const std::string& wanted) const {
    std::string found = "-";
    const Status status = dict.get(text(wanted), {&found, [](void* to, ItemKind, std::size_t size) -> void* {
                                                    static_cast<std::string*>(to)->resize(size);
                                                    return static_cast<std::string*>(to)->data();
                                                  }});
    return status == Status::kOk ? found : status == Status::kNotFound ? "absent" : to_string(status);
  }
  std::vector<std::string> keys() const {
    std::vector<DictEntryCopy> entries;
    require_ok(dict.snapshot(segment.me(), entries));
    std::vector<std::string> keys;
    for (const DictEntryCopy& entry : entries) keys.emplace_back(entry.key());
    return keys;
  }
  std::string fault() const { return dict.audit(segment.me()).error; }

  TestSegment segment;
  ObjectAddress where = segment.make_dict();
  Dict dict{where};
};

// Words that change while a dict spreads.
std::vector<const AtomicWord*> words_of(const SmallDict& small) {
  const DictShard& shard = first_shard(*small.segment, small.control())[0];
  return {&small.control().shards, &small.control().patience, &shard.root, &shard.recycle, &shard.changes};
}

}  // namespace

TEST_CASE("an empty dict takes 1 KiB, and one of ten short entries 2 KiB") {
  SmallDict small;
  CHECK(bytes_owned_by(*small.segment, small.where.object) <= 1024);
  const std::int64_t zero = 0;
  for (int i = 0; i < 10; ++i) {
    require_ok(small.dict.put(small.segment.me(), text("hostname-" + std::to_string(i)), integer(zero)));
  }
  CHECK(bytes_owned_by(*small.segment, small.where.object) <= 2048);
  CHECK(small.fault() == "");
}

TEST_CASE("a dict spreads when it holds many entries, or much, or its writers wait, and not before") {
  SmallDict many, large, waiting;
  many.fill(0, static_cast<int>(kCrowdedEntries));
  CHECK_FALSE(many.has_spread());
  many.fill(static_cast<int>(kCrowdedEntries), static_cast<int>(kCrowdedEntries) + 1);
  CHECK(many.has_spread());
  CHECK(many.dict.size() == kCrowdedEntries + 1);

  large.fill(0, 3);
  CHECK_FALSE(large.has_spread());
  require_ok(large.dict.put(large.segment.me(), text("large"), text(std::string(kCrowdedBytes, 'l'))));
  CHECK(large.has_spread());

  waiting.fill(0, 3);
  waiting.crowd();
  require_ok(waiting.dict.erase(waiting.segment.me(), text(SmallDict::key(1))));
  CHECK_FALSE(waiting.has_spread());  // an erasure makes nothing larger
  waiting.fill(3, 4);
  CHECK(waiting.has_spread());
  CHECK(waiting.keys() == std::vector<std::string>{"key/0", "key/2", "key/3"});
  for (const SmallDict* dict : {&many, &large, &waiting}) CHECK(dict->fault() == "");
}

TEST_CASE("a dict that spreads keeps its entries, their order and its count through every kind of call") {
  for (int call = 0; call < 7; ++call) {
    INFO("call " << call);
    SmallDict small;
    auto& me = small.segment.me();
    small.fill(0, 20);
    small.crowd();
    std::vector<std::string> expected = small.keys();
    const std::int64_t one = 1;
    Word zero = 0, before = 0;
    std::string actual;
    switch (call) {
      case 0:
        small.fill(20, 21);
        expected.push_back(SmallDict::key(20));
        break;
      case 1:
        require_ok(small.dict.put_many(me, std::vector<DictPair>{{text("many"), integer(one)}}));
        expected.emplace_back("many");
        break;
      case 2:
        require_ok(small.dict.assign(me, std::vector<DictPair>{{text("assigned"), integer(one)}}));
        expected = {"assigned"};
        break;
      case 3:
        require_ok(small.dict.change_word(
            me, text("word"), ItemKind::kInt64, [](Word a, Word b) { return a + b; }, 5, &zero, &before));
        expected.emplace_back("word");
        break;
      case 4:
        require_ok(small.dict.compare_exchange(me, text("key/3"), text("value/3"), text("new"), &actual));
        CHECK(small.get("key/3") == "new");
        break;
      case 5:
        require_ok(small.dict.put(me, text("key/4"), text(std::string(100, 'n'))));
        break;
      default:
        spread_for_watchers(me, small.where, small.control());
        require_ok(small.dict.clear(me));
        expected.clear();
    }
    CHECK(small.has_spread());
    CHECK(small.keys() == expected);
    CHECK(small.dict.size() == expected.size());
    DictOrderCache cache;
    DictEntryCopy popped;
    for (; !expected.empty(); expected.pop_back()) {
      require_ok(small.dict.pop_last(me, cache, popped));
      REQUIRE(popped.key() == expected.back());
    }
    CHECK(small.dict.size() == 0);
    CHECK(small.fault() == "");
  }
}

TEST_CASE("a dict that finds no memory for more shards goes on with one") {
  SmallDict small(2u << 20);
  small.fill(0, 12);
  Offset ballast;
  while (take_chunk(small.segment.me(), ChunkOwner(kSystemObject, 1), 4096, ballast) == Status::kOk) {
  }
  small.crowd();
  small.fill(0, 16);
  CHECK_FALSE(small.has_spread());
  CHECK(small.control().patience == 1);
  for (int i = 0; i < 40; ++i) spread_for_watchers(small.segment.me(), small.where, small.control());
  CHECK(small.control().patience == 1);  // of the limits, who watches says nothing
  CHECK(small.dict.size() == 16);
  CHECK(small.fault() == "");
}

TEST_CASE("a writer that waits for the one shard is counted, whatever its key, and others are not") {
  SmallDict small;
  const std::string long_key(36, 'k');
  small.fill(0, 3);
  CHECK(small.control().waits == 0);
  DictShard& shard = first_shard(*small.segment, small.control())[0];
  const pid_t holder = spawn([&] {
    HeldLock held(small.segment.me(), shard.writing);
    usleep(100'000);
  });
  while (shard.writing.state.load() == 0) usleep(100);
  require_ok(small.dict.put(small.segment.me(), text(long_key), text("1")));
  REQUIRE(wait_for(holder) == 0);
  CHECK(small.control().waits == 1);
}

TEST_CASE("where a key was seen before the dict spread counts for nothing in its new shard") {
  SmallDict small;
  auto& me = small.segment.me();
  small.fill(0, 5);
  const std::string key = SmallDict::key(3);
  DictShard& old = first_shard(*small.segment, small.control())[0];
  spread_for_watchers(me, small.where, small.control());
  const DictShards shards(*small.segment, small.control());
  // As one saw it who looked into the old shard, where table and entry were at the places that the new ones have.
  DictForesight seen(*small.segment, small.control(), text(key));
  REQUIRE(seen.seen_in == &shards[shards.index_of(seen.hash)]);
  seen.seen_in = &old;
  seen.header.sizes += 8;
  DictKeyWriter at(me, small.where, small.control(), shards, text(key), seen);
  REQUIRE(at.found == Status::kOk);
  CHECK(at.place.header.value_size() == SmallDict::value(3).size());
}

TEST_CASE("a value that was pinned when its dict spread is given back once the pin has ended") {
  SmallDict small(64u << 20);
  auto& me = small.segment.me();
  require_ok(small.dict.put(me, text("a"), text(std::string(100'000, 'a'))));
  const void* data;
  std::size_t size;
  ItemKind kind;
  std::uint32_t pin;
  require_ok(small.dict.pin(me, text("a"), data, size, kind, pin));
  spread_for_watchers(me, small.where, small.control());
  REQUIRE(small.has_spread());
  REQUIRE(std::string_view(static_cast<const char*>(data), size) == std::string(100'000, 'a'));
  Dict::unpin(me, pin);
  require_ok(small.dict.clear(me));
  small.dict.give_idle_memory(me);
  CHECK(bytes_owned_by(*small.segment, small.where.object) < 20'000);
  CHECK(small.fault() == "");
}

TEST_CASE("a shard that says that its dict has spread, where it has not, is corrupt") {
  SmallDict small;
  auto& me = small.segment.me();
  small.fill(0, 5);
  DictShard& shard = first_shard(*small.segment, small.control())[0];
  for (bool hidden : {false, true}) {
    INFO("hidden " << hidden);
    shard.hidden_root = kRootMoved;
    shard.root = hidden ? kRootHidden : kRootMoved;
    const int status = wait_for(spawn([&] {
      alarm(10);
      std::vector<DictEntryCopy> entries;
      std::vector<std::string> values;
      std::vector<bool> found;
      const std::string key = SmallDict::key(1);
      if (small.dict.snapshot(me, entries) != Status::kCorrupt) throw std::runtime_error("snapshot");
      if (small.dict.get_many(me, std::vector<Item>{text(key)}, values, found) != Status::kCorrupt) {
        throw std::runtime_error("get_many");
      }
      if (!hidden && small.get(key) != to_string(Status::kCorrupt)) throw std::runtime_error("get");
      (void)small.dict.size();
    }));
    CHECK(status == 0);
  }
}

TEST_CASE("shards that a control block cannot name are corrupt, for who comes and for who was there") {
  SmallDict small;
  auto& me = small.segment.me();
  small.fill(0, 5);
  const Word sound = small.control().shards.load();
  for (Word garbage : {Word{0}, ~Word{0}, Word{1}, Word{256}, sound + 1, sound + 127, sound + 128,
                       sound ^ Word{1} << 40, shards_word(0x2000, 1), shards_word(~Word{0x7fff}, 16)}) {
    INFO("shards " << garbage);
    Dict there(small.where);
    REQUIRE(there.get(text("nobody"), {}) == Status::kNotFound);
    Dict comes(small.where);
    small.control().shards = garbage;
    for (Dict* dict : {&there, &comes}) {
      std::vector<DictEntryCopy> entries;
      CHECK(dict->snapshot(me, entries) == Status::kCorrupt);
      CHECK(dict->erase(me, text("nobody")) == Status::kCorrupt);
      CHECK(dict->put(me, text("nobody"), text("x")) == Status::kCorrupt);
      CHECK(dict->get(text("nobody"), {}) == Status::kCorrupt);
      CHECK(dict->clear(me) == Status::kCorrupt);
    }
    small.control().shards = sound;
    CHECK(small.fault() == "");
  }
}

TEST_CASE("readers see every entry of a dict whose spreading is stopped anywhere") {
  std::uint64_t change = 1;
  for (bool more = true; more; ++change) {
    SmallDict small;
    small.segment.me();
    small.fill(0, 9);
    small.crowd();
    SteppedChild spreader(
        words_of(small), [&] { small.segment.me(); }, [&] { small.fill(9, 10); });
    more = spreader.run_until_change(change);
    INFO("stopped at change " << change);
    for (int i = 0; i < 9; ++i) REQUIRE(small.get(SmallDict::key(i)) == SmallDict::value(i));
    REQUIRE((small.dict.size() == 9 || small.dict.size() == 10));
    const std::vector<std::string> keys = small.keys();
    REQUIRE((keys.size() == 9 || keys.size() == 10));
    const std::string first = SmallDict::key(2), second = SmallDict::key(7);
    std::vector<std::string> values;
    std::vector<bool> found;
    require_ok(small.dict.get_many(small.segment.me(), std::vector<Item>{text(first), text(second)}, values, found));
    REQUIRE(values == std::vector<std::string>{SmallDict::value(2), SmallDict::value(7)});
    REQUIRE(spreader.finish() == 0);
    REQUIRE(small.has_spread());
    REQUIRE(small.fault() == "");
  }
  CHECK(change > 5);
}

TEST_CASE("a call that is stopped anywhere while the dict spreads and changes is done at one moment") {
  struct Call {
    const char* name;
    std::function<int(SmallDict&)> run;  // 0: as before the change; 1: as after it; above: wrong
  };
  std::minstd_rand random(Catch::rngSeed());
  auto index_of = [](const std::string& seen, const std::string& before, const std::string& after) {
    return seen == before ? 0 : seen == after ? 1 : 2;
  };
  const std::vector<Call> calls{
      {"get", [&](SmallDict& small) { return index_of(small.get("key/3"), "value/3", "new"); }},
      {"get, absent before", [&](SmallDict& small) { return index_of(small.get("extra"), "absent", "there"); }},
      {"size", [&](SmallDict& small) { return static_cast<int>(small.dict.size()) - 6; }},
      {"snapshot", [&](SmallDict& small) { return static_cast<int>(small.keys().size()) - 6; }},
      {"put",
       [&](SmallDict& small) {
         require_ok(small.dict.put(small.segment.me(), text("mine"), text("put")));
         return small.get("mine") == "put" ? 0 : 2;
       }},
      {"erase",
       [&](SmallDict& small) {
         require_ok(small.dict.erase(small.segment.me(), text("key/5")));
         return small.get("key/5") == "absent" ? 0 : 2;
       }},
  };
  for (const Call& call : calls) {
    std::uint64_t instruction = 1 + random() % 8;
    int runs = 0;
    for (bool more = true; more; ++runs, instruction += 1 + random() % (1 + instruction / 3)) {
      SmallDict small;
      small.segment.me();
      small.fill(0, 6);
      Shared<std::atomic<int>> seen;
      SteppedChild caller(
          {}, [&] { small.segment.me(); }, [&] { seen->store(call.run(small)); });
      more = caller.run_until(instruction);
      INFO(call.name << " stopped at instruction " << instruction);
      // Whoever holds the one shard's lock is left alone.
      if (first_shard(*small.segment, small.control())[0].writing.state.load() == 0) {
        small.crowd();
        require_ok(small.dict.put(small.segment.me(), text("key/3"), text("new"), PutMode::kPut));
        require_ok(small.dict.put(small.segment.me(), text("extra"), text("there")));
        REQUIRE(small.has_spread());
      }
      REQUIRE(caller.finish() == 0);
      REQUIRE(seen->load() <= 1);
      REQUIRE(seen->load() >= 0);
      REQUIRE(small.fault() == "");
    }
    CHECK(runs > 8);
  }
}

TEST_CASE("who watches a dict is told of the changes after it has spread, and of no others") {
  SmallDict small;
  auto& me = small.segment.me();
  small.fill(0, 5);
  Status status;
  auto all = watch_dict(me, small.where, status);
  REQUIRE(status == Status::kOk);
  REQUIRE_FALSE(changed(small.segment, *all));
  REQUIRE_FALSE(small.has_spread());
  auto key = watch_dict_key(me, small.where, text("key/2"), status);
  REQUIRE(status == Status::kOk);
  REQUIRE(small.has_spread());  // which tells keys apart better
  REQUIRE_FALSE(changed(small.segment, *all));
  require_ok(small.dict.put(me, text("key/4"), text("new")));
  CHECK(changed(small.segment, *all));
  CHECK_FALSE(changed(small.segment, *key));
  require_ok(small.dict.put(me, text("key/2"), text("new")));
  CHECK(changed(small.segment, *all));
  CHECK(changed(small.segment, *key));
  CHECK_FALSE(changed(small.segment, *all));
}

TEST_CASE("what a dict links to lives on when the dict spreads") {
  TestSegment segment(8u << 20);
  auto& me = segment.me();
  const ObjectId outer = make_object(segment, ObjectKind::kDict, "outer");
  Dict dict(address_of(segment, outer));
  std::vector<ObjectId> inner;
  for (int i = 0; i < 20; ++i) {
    inner.push_back(make_object(segment, ObjectKind::kLock));
    const Link link(inner.back());
    require_ok(dict.put(me, text("lock/" + std::to_string(i)), link.item()));
  }
  auto& control = *segment->at<DictControl>(address_of(segment, outer).control);
  spread_for_watchers(me, address_of(segment, outer), control);
  REQUIRE(dict_shards(control) == kDefaultShards);
  REQUIRE(wrong_after_sweep(segment) == "");
  for (const ObjectId id : inner) REQUIRE(is_alive(segment, id));
  require_ok(dict.clear(me));
  REQUIRE(wrong_after_sweep(segment) == "");
  for (const ObjectId id : inner) REQUIRE_FALSE(is_alive(segment, id));
}
