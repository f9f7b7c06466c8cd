// How much a dict does for a call, and what it does without private memory: this program counts the calls of operator
// new, and lets them fail.
#include <time.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <functional>
#include <map>
#include <new>

#include "shm/dict_spread.h"
#include "support/test_segment.h"

namespace {

thread_local std::uint64_t allocations = 0;
thread_local std::uint64_t allocations_left = ~std::uint64_t{0};

}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
  if (allocations_left == 0) throw std::bad_alloc();
  if (allocations_left != ~std::uint64_t{0}) --allocations_left;
  if (void* memory = std::malloc(size != 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

using namespace commonhold;
using namespace commonhold::test;
using shm::Dict;
using shm::Status;
using shm::ThreadContext;

namespace {

std::vector<std::string> numbered(const std::string& prefix, std::size_t count) {
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < count; ++i) keys.push_back(prefix + std::to_string(i));
  return keys;
}

// Of views: keys and value stay where they are.
std::vector<shm::DictPair> pairs_of(const std::vector<std::string>& keys, std::string_view value) {
  std::vector<shm::DictPair> pairs;
  for (auto& key : keys) pairs.push_back({text(key), text(value)});
  return pairs;
}

using Contents = std::map<std::string, std::string>;

Contents contents(const Dict& dict, ThreadContext& me) {
  std::vector<shm::DictEntryCopy> entries;
  REQUIRE(dict.snapshot(me, entries) == Status::kOk);
  Contents contents;
  for (auto& entry : entries) contents.emplace(entry.key(), entry.value());
  return contents;
}

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Fills the dict with `value` until the segment is full; the keys.
std::vector<std::string> fill_up(Dict& dict, ThreadContext& me, std::string_view value) {
  std::vector<std::string> keys;
  for (;;) {
    std::string key = "key/" + std::to_string(keys.size());
    const Status status = dict.put(me, text(key), text(value));
    if (status == Status::kOutOfMemory) return keys;
    REQUIRE(status == Status::kOk);
    keys.push_back(std::move(key));
  }
}

}  // namespace

TEST_CASE("the work of put_many grows with the number of new keys, not with its square") {
  auto seconds = [](std::size_t count) {
    const auto keys = numbered("", count);
    const auto pairs = pairs_of(keys, "value");
    double least = 1e9;
    for (int round = 0; round < 3; ++round) {
      TestSegment segment;
      Dict dict(segment.make_dict(1));
      ThreadContext& me = segment.me();
      const double start = processor_seconds();
      REQUIRE(dict.put_many(me, pairs) == Status::kOk);
      least = std::min(least, processor_seconds() - start);
      REQUIRE(dict.size() == count);
    }
    return least;
  };
  // 16 times as many: 16 times the work and a little for caches that are too small, or 256 times.
  CHECK(seconds(64'000) / seconds(4'000) < 70);
}

TEST_CASE("put_many leaves tables as single puts do, whatever stood there before") {
  TestSegment segment;
  Dict dict(segment.make_dict(2));
  ThreadContext& me = segment.me();
  Contents expected;
  for (std::size_t batch : {1u, 3u, 8u, 60u, 500u, 3'000u, 20'000u}) {
    const auto keys = numbered("key/", batch);  // those of the batch before, and new ones
    const std::string value = "of " + std::to_string(batch);
    REQUIRE(dict.put_many(me, pairs_of(keys, value)) == Status::kOk);
    for (auto& key : keys) expected[key] = value;
    CHECK(dict.audit(me).error == "");
    CHECK(contents(dict, me) == expected);
  }
}

TEST_CASE("erasing in a full segment does not try for a smaller table at each erasure") {
  TestSegment segment(2u << 20);
  Dict dict(segment.make_dict(1));
  ThreadContext& me = segment.me();
  const auto keys = fill_up(dict, me, "value of some length");
  REQUIRE(keys.size() > 5'000);
  const std::uint64_t before = allocations;
  // Every 32nd stays for the end, so that each slab is in use and no chunk is free.
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (i % 32 != 0) REQUIRE(dict.erase(me, text(keys[i])) == Status::kOk);
  }
  // What an attempt needs is a vector for each table's slots; one in ten erasures would be hundreds of attempts.
  CHECK(allocations - before < keys.size() / 10);
  for (std::size_t i = 0; i < keys.size(); i += 32) REQUIRE(dict.erase(me, text(keys[i])) == Status::kOk);
  CHECK(dict.size() == 0);
  CHECK(dict.audit(me).error == "");
  CHECK(shm::bytes_owned_by(*segment, 1) < 8 * 1024);
}

TEST_CASE("puts that find no memory look for idle memory once, not each time") {
  TestSegment segment(2u << 20);
  Dict dict(segment.make_dict(4));
  ThreadContext& me = segment.me();
  const auto keys = fill_up(dict, me, "value of some length");
  const std::string large(100'000, 'l');
  REQUIRE(dict.put(me, text("new"), text(large)) == Status::kOutOfMemory);
  const std::uint64_t before = allocations;
  for (int i = 0; i < 100; ++i) REQUIRE(dict.put(me, text("new"), text(large)) == Status::kOutOfMemory);
  CHECK(allocations - before < 100);
  // A change may have left some: then it is looked for again.
  for (auto& key : keys) REQUIRE(dict.erase(me, text(key)) == Status::kOk);
  CHECK(dict.put(me, text("new"), text(large)) == Status::kOk);
  CHECK(dict.audit(me).error == "");
}

TEST_CASE("without private memory an operation happens as a whole or not at all, and loses nothing") {
  struct Case {
    const char* name;
    std::function<Status(Dict&, ThreadContext&)> op;  // no check of the framework: these allocate
    std::size_t entries = 300;
    bool spreads = false;  // a dict of one shard, which is crowded
  };
  const auto old_keys = numbered("key/", 300), new_keys = numbered("new/", 700);
  auto both = pairs_of(new_keys, "put at once");
  for (auto& pair : pairs_of(old_keys, "overwritten")) both.push_back(pair);
  shm::DictOrderCache cache;
  std::vector<shm::DictEntryCopy> entries;
  const std::vector<Case> cases = {
      {"put_many", [&](Dict& dict, ThreadContext& me) { return dict.put_many(me, both); }},
      {"assign", [&](Dict& dict, ThreadContext& me) { return dict.assign(me, both); }},
      {"clear", [](Dict& dict, ThreadContext& me) { return dict.clear(me); }},
      {"erase of the last", [](Dict& dict, ThreadContext& me) { return dict.erase(me, text("key/0")); }, 1},
      {"pop_last",
       [&](Dict& dict, ThreadContext& me) {
         shm::DictEntryCopy popped;
         cache = {};
         return dict.pop_last(me, cache, popped);
       }},
      {"snapshot", [&](Dict& dict, ThreadContext& me) { return dict.snapshot(me, entries); }},
      {"put", [&](Dict& dict, ThreadContext& me) { return dict.put(me, text(new_keys[0]), text("one")); }},
      {"put that spreads the dict",
       [&](Dict& dict, ThreadContext& me) { return dict.put(me, text(new_keys[0]), text("one")); }, 40, true},
      {"put_many that spreads the dict", [&](Dict& dict, ThreadContext& me) { return dict.put_many(me, both); }, 40,
       true},
  };
  for (const Case& op : cases) {
    bool done = false;
    std::uint64_t failed = 0;
    for (; !done; ++failed) {
      TestSegment segment;
      const auto where = segment.make_dict(op.spreads ? 0 : 2);
      Dict dict(where);
      ThreadContext& me = segment.me();
      for (std::size_t i = 0; i < op.entries; ++i) {
        REQUIRE(dict.put(me, text(old_keys[i]), text("old")) == Status::kOk);
      }
      if (op.spreads) segment->at<shm::DictControl>(where.control)->waits = shm::kCrowdedWaits;
      const Contents before = contents(dict, me);
      Status status = Status::kOk;
      allocations_left = failed;
      try {
        status = op.op(dict, me);
        done = allocations_left != 0;  // there were fewer allocations than that
      } catch (const std::bad_alloc&) {
      }
      allocations_left = ~std::uint64_t{0};
      INFO(op.name << ", allocation " << failed);
      CHECK(status == Status::kOk);
      const Contents after = contents(dict, me);
      CHECK(dict.size() == after.size());
      if (after != before) {
        Dict other(segment.make_dict(2));
        for (auto& [key, value] : before) REQUIRE(other.put(me, text(key), text(value)) == Status::kOk);
        CHECK(op.op(other, me) == Status::kOk);
        if (std::string_view(op.name) != "pop_last") CHECK((after == contents(other, me)));
      }
      dict.give_idle_memory(me);
      CHECK(dict.audit(me).error == "");
      CHECK(dict.put_many(me, both) == Status::kOk);
      CHECK(dict.audit(me).error == "");
    }
    INFO(op.name);
    CHECK(failed >= 1);
  }
}
