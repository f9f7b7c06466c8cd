// What is read of a dict is one state of it: between single keys and several, counts and contents, while batches are
// being committed, and while their writer is stopped.
#include <catch2/catch.hpp>
#include <chrono>
#include <map>
#include <random>
#include <thread>

#include "shm/dict_layout.h"
#include "support/process_shared.h"
#include "support/stopping_writer.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Dict;
using shm::Item;
using shm::ItemKind;
using shm::Status;
using shm::ThreadContext;

namespace {

constexpr std::size_t kKeys = 40;
constexpr auto kRunTime = std::chrono::milliseconds(600);

// Some keys with one value each, for batches.
struct Batch {
  explicit Batch(const std::string& prefix = "key/", std::size_t count = kKeys) {
    for (std::size_t i = 0; i < count; ++i) keys.push_back(prefix + std::to_string(i));
  }
  std::vector<shm::DictPair> numbers(const std::int64_t& value) const {
    std::vector<shm::DictPair> pairs;
    for (auto& key : keys) pairs.push_back({text(key), integer(value)});
    return pairs;
  }
  std::vector<shm::DictPair> texts(const std::string& value) const {
    std::vector<shm::DictPair> pairs;
    for (auto& key : keys) pairs.push_back({text(key), text(value)});
    return pairs;
  }
  std::vector<Item> items() const {
    std::vector<Item> items;
    for (auto& key : keys) items.push_back(text(key));
    return items;
  }
  std::vector<std::string> keys;
};

void require(Status status) {
  if (status != Status::kOk) throw std::runtime_error(to_string(status));
}

shm::Sink into(std::string& value) {
  return {&value, [](void* to, ItemKind, std::size_t size) -> void* {
            static_cast<std::string*>(to)->resize(size);
            return static_cast<std::string*>(to)->data();
          }};
}

using Contents = std::map<std::string, std::string>;

// The contents as each way of reading shows them; what one of them shows differently is in `error`.
Contents read_all_ways(const Dict& dict, ThreadContext& me, const std::vector<std::string>& keys, std::string& error) {
  Contents contents;
  std::vector<shm::DictEntryCopy> entries;
  require(dict.snapshot(me, entries));
  for (auto& entry : entries) contents.emplace(entry.key(), entry.value());
  if (contents.size() != entries.size()) error += "the snapshot has a key twice; ";
  if (dict.size() != entries.size()) {
    error += "size() " + std::to_string(dict.size()) + ", snapshot " + std::to_string(entries.size()) + "; ";
  }
  std::vector<Item> items;
  for (auto& key : keys) items.push_back(text(key));
  std::vector<std::string> values;
  std::vector<bool> found;
  require(dict.get_many(me, items, values, found));
  for (std::size_t i = 0; i < keys.size(); ++i) {
    std::string value;
    const bool single = dict.get(items[i], into(value)) == Status::kOk;
    const auto listed = contents.find(keys[i]);
    const bool there = listed != contents.end();
    if (single != there || (there && value != listed->second)) error += "get differs for " + keys[i] + "; ";
    if (dict.contains(items[i]) != there) error += "contains differs for " + keys[i] + "; ";
    if (found[i] != there || (there && values[i] != listed->second)) error += "get_many differs for " + keys[i] + "; ";
  }
  return contents;
}

// Does op(dict, me), stopped after every so many instructions; at each stop all ways of reading must show one of the
// two states.
template <typename Setup, typename Op>
void read_at_every_stop(std::uint64_t between, Setup&& setup, Op&& op) {
  if (!kCanStopAnywhere) return;
  TestSegment segment;
  Dict dict(segment.make_dict(4));
  setup(dict, segment.me());
  std::vector<std::string> keys = Batch().keys;
  for (auto& key : Batch("other/").keys) keys.push_back(key);
  std::string error;
  std::vector<Contents> states;
  const int stops = stop_everywhere(
      between, [&] { op(dict, segment.me()); },
      [&] {
        Contents seen = read_all_ways(dict, segment.me(), keys, error);
        if (states.empty() || states.back() != seen) states.push_back(std::move(seen));
      });
  CHECK(error == "");
  CHECK(stops >= 3);
  states.push_back(read_all_ways(dict, segment.me(), keys, error));
  if (states.size() > 1 && states.back() == states[states.size() - 2]) states.pop_back();
  CHECK(states.size() <= 2);
  CHECK(error == "");
  CHECK(dict.audit(segment.me()).error == "");
}

std::uint64_t about(std::uint64_t instructions) {
  std::mt19937_64 random(Catch::rngSeed());
  return instructions + random() % (instructions / 4);
}

}  // namespace

TEST_CASE("size() shows a batch before or after it, never in between") {
  TestSegment segment;
  Dict dict(segment.make_dict());
  const Batch batch, other("other/");
  const std::int64_t one = 1;
  const pid_t writer = spawn([&] {
    const auto pairs = batch.numbers(one), others = other.numbers(one);
    for (auto until = std::chrono::steady_clock::now() + kRunTime; std::chrono::steady_clock::now() < until;) {
      require(dict.put_many(segment.me(), pairs));
      for (int i = 0; i < 8; ++i) require(dict.assign(segment.me(), i % 2 == 0 ? others : pairs));
      require(dict.clear(segment.me()));
    }
  });
  std::map<std::uint64_t, int> sizes;
  for (auto until = std::chrono::steady_clock::now() + kRunTime; std::chrono::steady_clock::now() < until;) {
    for (int i = 0; i < 100; ++i) ++sizes[dict.size()];
  }
  CHECK(wait_for(writer) == 0);
  sizes.erase(0);
  sizes.erase(kKeys);
  for (auto [size, times] : sizes) FAIL_CHECK("size() was " << size << ", " << times << " times");
}

TEST_CASE("keys that are read one after the other show a batch before or after it") {
  TestSegment segment;
  Dict dict(segment.make_dict());
  const Batch batch;
  std::int64_t number = 0;
  require(dict.put_many(segment.me(), batch.numbers(number)));
  const pid_t writer = spawn([&] {
    const auto pairs = batch.numbers(number);
    for (auto until = std::chrono::steady_clock::now() + kRunTime; std::chrono::steady_clock::now() < until;) {
      ++number;
      require(dict.put_many(segment.me(), pairs));
    }
  });
  std::mt19937_64 random(Catch::rngSeed());
  std::int64_t backwards = 0, read = 0;
  for (auto until = std::chrono::steady_clock::now() + kRunTime; std::chrono::steady_clock::now() < until;) {
    std::int64_t last = 0, now = 0;
    for (int i = 0; i < 200; ++i, ++read) {
      require(dict.get_fixed(text(batch.keys[random() % kKeys]), &now, sizeof now));
      backwards += now < last;
      last = now;
    }
  }
  CHECK(wait_for(writer) == 0);
  CHECK(read > 1000);
  CHECK(backwards == 0);
}

TEST_CASE("a snapshot shows puts of single keys in their order") {
  TestSegment segment;
  Dict dict(segment.make_dict());
  const Batch batch("key/", 5);
  require(dict.put_many(segment.me(), batch.numbers(0)));
  const pid_t writer = spawn([&] {
    std::int64_t number = 1;
    for (auto until = std::chrono::steady_clock::now() + kRunTime; std::chrono::steady_clock::now() < until; ++number) {
      for (auto& key : batch.keys) require(dict.put(segment.me(), text(key), integer(number)));
      if (number % 32 == 0) std::this_thread::yield();
    }
  });
  int disordered = 0, seen = 0;
  for (auto until = std::chrono::steady_clock::now() + kRunTime; std::chrono::steady_clock::now() < until; ++seen) {
    std::vector<shm::DictEntryCopy> entries;
    require(dict.snapshot(segment.me(), entries));
    std::vector<std::int64_t> numbers;
    for (auto& entry : entries) std::memcpy(&numbers.emplace_back(), entry.value().data(), 8);
    const bool falling = std::is_sorted(numbers.rbegin(), numbers.rend());
    disordered += numbers.size() != 5 || !falling || numbers.front() - numbers.back() > 1;
  }
  CHECK(wait_for(writer) == 0);
  CHECK(seen > 10);
  CHECK(disordered == 0);
}

TEST_CASE("readers see one state and do not wait when put_many is stopped anywhere, with numbers changed in place") {
  const Batch batch;
  const std::int64_t two = 2;
  read_at_every_stop(
      about(2500), [&](Dict& dict, ThreadContext& me) { require(dict.put_many(me, batch.numbers(1))); },
      [&](Dict& dict, ThreadContext& me) { require(dict.put_many(me, batch.numbers(two))); });
}

TEST_CASE("readers see one state and do not wait when put_many is stopped anywhere, with keys added and replaced") {
  const Batch batch, other("other/");
  read_at_every_stop(
      about(9000), [&](Dict& dict, ThreadContext& me) { require(dict.put_many(me, batch.texts("one"))); },
      [&](Dict& dict, ThreadContext& me) {
        auto pairs = batch.texts("two"), others = other.texts("new");
        pairs.insert(pairs.end(), others.begin(), others.end());
        require(dict.put_many(me, pairs));
      });
}

TEST_CASE("readers see one state and do not wait when clear or assign is stopped anywhere") {
  const Batch batch, other("other/");
  auto setup = [&](Dict& dict, ThreadContext& me) { require(dict.put_many(me, batch.texts("one"))); };
  read_at_every_stop(about(2500), setup, [&](Dict& dict, ThreadContext& me) { require(dict.clear(me)); });
  read_at_every_stop(about(9000), setup,
                     [&](Dict& dict, ThreadContext& me) { require(dict.assign(me, other.texts("two"))); });
}

TEST_CASE("readers see one state and do not wait when a single put or erasure is stopped anywhere") {
  const std::string key = "other/3", value = "value";
  auto fill = [](std::size_t count) {
    return [count](Dict& dict, ThreadContext& me) {
      for (std::size_t i = 0; i < count; ++i) require(dict.put(me, text("filler/" + std::to_string(i)), text("f")));
    };
  };
  // 8 and 64 entries in a shard are where its table grows, 512 and more where it is split.
  for (std::size_t count : {std::size_t{0}, std::size_t{33}, std::size_t{250}}) {
    read_at_every_stop(about(count == 0 ? 40 : 13), fill(count),
                       [&](Dict& dict, ThreadContext& me) { require(dict.put(me, text(key), text(value))); });
  }
  read_at_every_stop(
      about(13), [&](Dict& dict, ThreadContext& me) { require(dict.put(me, text(key), text(value))); },
      [&](Dict& dict, ThreadContext& me) { require(dict.erase(me, text(key))); });
}

TEST_CASE("readers do not wait when a table is split by a writer that is stopped anywhere") {
  if (!kCanStopAnywhere) return;
  TestSegment segment;
  auto put = [&](Dict& dict, std::size_t i) {
    require(dict.put(segment.me(), text("e/" + std::to_string(i)), text("f")));
  };
  auto shard_of = [&](const shm::ObjectAddress& where) -> shm::DictShard& {
    auto& control = *segment->at<shm::DictControl>(where.control);
    shm::store_word(&control.seed, 1);  // the same shape for both dicts
    return shm::dict_shard(control, 0);
  };
  const shm::ObjectAddress trial = segment.make_dict(1), where = segment.make_dict(1);
  Dict first(trial), dict(where);
  std::size_t entries = 0;
  for (shm::DictShard& shard = shard_of(trial); !shm::root_is_directory(shard.root.load()); ++entries)
    put(first, entries);
  shm::DictShard& shard = shard_of(where);
  for (std::size_t i = 0; i + 1 < entries; ++i) put(dict, i);
  REQUIRE(!shm::root_is_directory(shard.root.load()));
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < entries; ++i) keys.push_back("e/" + std::to_string(i));
  std::string error;
  const int stops = stop_everywhere(
      about(1000), [&] { put(dict, entries - 1); },
      [&] {
        const std::size_t now = read_all_ways(dict, segment.me(), keys, error).size();
        if (now != entries && now + 1 != entries) error += std::to_string(now) + " entries; ";
      });
  CHECK(stops >= 3);
  CHECK(error == "");
  CHECK(shm::root_is_directory(shard.root.load()));
  CHECK(dict.size() == entries);
}
