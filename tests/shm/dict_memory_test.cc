// What a dict does with its memory: blocks are neither lost nor used twice, also when there is none left.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <thread>

#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Dict;
using shm::Status;
using shm::ThreadContext;

namespace {

std::string key_number(std::size_t i) {
  return "key/" + std::to_string(i);
}

std::uint32_t pin(Dict& dict, ThreadContext& me, std::string_view key) {
  const void* data;
  std::size_t size;
  shm::ItemKind kind;
  std::uint32_t slot = 0;
  (void)dict.pin(me, text(key), data, size, kind, slot);
  return slot;
}

void overwrite(Dict& dict, ThreadContext& me, std::size_t times) {
  for (std::size_t i = 0; i < times; ++i) {
    std::string value(40 + i % 3, static_cast<char>('a' + i % 26));
    REQUIRE(dict.put(me, text("a"), text(value)) == Status::kOk);
  }
}

// Everything in it, in order.
std::vector<std::pair<std::string, std::string>> contents(const Dict& dict, ThreadContext& me) {
  std::vector<shm::DictEntryCopy> entries;
  REQUIRE(dict.snapshot(me, entries) == Status::kOk);
  std::vector<std::pair<std::string, std::string>> contents;
  for (auto& entry : entries) contents.emplace_back(entry.key(), entry.value());
  return contents;
}

}  // namespace

TEST_CASE("pins beyond the park's size lose no block, however often their values are overwritten") {
  TestSegment segment;
  Dict dict(segment.make_dict(1));
  std::vector<std::thread> threads;
  std::atomic<int> pinned{0};
  std::atomic<bool> done{false};
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      auto& me = segment.me();
      for (int p = 0; p < 4; ++p) {
        std::string key = key_number(static_cast<std::size_t>(t * 4 + p));
        (void)dict.put(me, text(key), text("pinned"));
        (void)pin(dict, me, key);
      }
      ++pinned;
      while (!done) std::this_thread::yield();
    });
  }
  while (pinned < 6) std::this_thread::yield();
  auto& me = segment.me();
  for (int round = 0; round < 40; ++round) {
    for (std::size_t i = 0; i < 24; ++i) {
      std::string key = key_number(i), value = std::string(i * 130, 'v');
      REQUIRE(dict.put(me, text(key), text(value)) == shm::Status::kOk);
    }
    REQUIRE(dict.audit(me).error == "");
  }
  // 24 keys of at most 3 KiB, 24 pinned blocks, and what waits for a rebuild.
  CHECK(shm::bytes_owned_by(*segment, 1) < 512 * 1024);
  done = true;
  for (auto& thread : threads) thread.join();
  overwrite(dict, me, 40);
  CHECK(dict.audit(me).error == "");
}

TEST_CASE("without memory every operation says so, changes nothing, and works again when there is some") {
  std::mt19937_64 random(Catch::rngSeed());
  for (std::uint64_t limit : {1u << 20, 2u << 20}) {
    TestSegment segment(limit);
    auto& me = segment.me();
    Dict dict(segment.make_dict(2));
    for (std::int64_t i = 0; i < 40; ++i) {
      std::string key = "scalar/" + std::to_string(i);
      REQUIRE(dict.put(me, text(key), integer(i)) == Status::kOk);
    }
    // Full to the last small block.
    std::vector<std::string> filler;
    for (std::size_t size : {60'000u, 3'000u, 700u, 100u, 16u}) {
      for (Status status = Status::kOk; status == Status::kOk;) {
        std::string key = "filler/" + std::to_string(filler.size()), value(size, 'f');
        status = dict.put(me, text(key), text(value));
        if (status == Status::kOk) filler.push_back(key);
        if (status != Status::kOk) REQUIRE(status == Status::kOutOfMemory);
      }
      REQUIRE(dict.audit(me).error == "");
    }
    REQUIRE(filler.size() > 10);
    auto state = contents(dict, me);
    std::string large(300'000, 'l'), medium(5'000, 'm');
    auto out_of_memory = [&](Status status, const char* what) {
      INFO(what);
      CHECK(status == Status::kOutOfMemory);
      CHECK(dict.audit(me).error == "");
      CHECK(contents(dict, me) == state);
      CHECK(dict.size() == state.size());
    };
    shm::Word zero = 0;
    auto add = [](shm::Word a, shm::Word b) { return a + b; };
    out_of_memory(dict.put(me, text("new"), text(large)), "put, a large value");
    out_of_memory(dict.put(me, text("new"), text(medium)), "put, a chunk");
    out_of_memory(dict.put(me, text(filler[0]), text(large)), "put over a value");
    out_of_memory(dict.put(me, text(medium), text("small")), "put, a large key");
    std::string last =
        std::find_if(state.begin(), state.end(), [&](auto& e) { return e.first == filler.back(); })->second;
    out_of_memory(dict.compare_exchange(me, text(filler.back()), text(last), text(large)), "compare_exchange");
    const std::int64_t other = -1;
    shm::DictPair pairs[] = {
        {text("scalar/1"), integer(other)}, {text("new/1"), text(large)}, {text("new/2"), text("x")}};
    out_of_memory(dict.put_many(me, pairs), "put_many");
    out_of_memory(dict.assign(me, pairs), "assign");
    std::vector<std::string> keys;
    std::vector<shm::DictPair> many;
    for (int i = 0; i < 4'000; ++i) keys.push_back("many/" + std::to_string(i));
    for (auto& key : keys) many.push_back({text(key), text("small")});
    out_of_memory(dict.put_many(me, many), "put_many, many small ones");
    out_of_memory(dict.assign(me, many), "assign, many small ones");
    // What needs no memory works.
    shm::Word before;
    REQUIRE(dict.change_word(me, text("scalar/3"), shm::ItemKind::kInt64, add, 1, &zero, &before) == Status::kOk);
    REQUIRE(dict.put(me, text("scalar/4"), integer(before)) == Status::kOk);
    REQUIRE(dict.audit(me).error == "");
    // Erasing makes room, in any order, and an erasure never fails for lack of memory.
    std::shuffle(filler.begin(), filler.end(), random);
    for (std::size_t i = 0; i < filler.size(); ++i) {
      REQUIRE(dict.erase(me, text(filler[i])) == Status::kOk);
      if (i % 97 == 0) REQUIRE(dict.audit(me).error == "");
    }
    CHECK(dict.put(me, text("new"), text(large)) == Status::kOk);
    CHECK(dict.put_many(me, pairs) == Status::kOk);
    CHECK(dict.clear(me) == Status::kOk);
    CHECK(dict.audit(me).error == "");
    CHECK(dict.put_many(me, many) == Status::kOk);
    CHECK(dict.audit(me).error == "");
  }
}

TEST_CASE("clear, erase and pop_last work in a segment without one free block") {
  TestSegment segment(1u << 20);
  auto& me = segment.me();
  Dict dict(segment.make_dict(1));
  auto fill_up = [&] {
    for (std::size_t size : {3'000u, 300u, 16u}) {
      for (std::size_t i = 0;; ++i) {
        std::string key = std::to_string(size) + "/" + std::to_string(i), value(size, 'f');
        if (dict.put(me, text(key), text(value)) != Status::kOk) break;
      }
    }
  };
  fill_up();
  std::uint64_t size = dict.size();
  shm::DictOrderCache cache;
  shm::DictEntryCopy popped;
  while (dict.pop_last(me, cache, popped) == Status::kOk) --size;
  CHECK(size == 0);
  CHECK(dict.audit(me).error == "");
  fill_up();
  CHECK(dict.clear(me) == Status::kOk);
  CHECK(dict.size() == 0);
  CHECK(dict.audit(me).error == "");
  CHECK(shm::bytes_owned_by(*segment, 1) < 8 * 1024);  // the control block and the rest of a table
}

TEST_CASE("what a dict takes it gives back when it empties") {
  TestSegment segment;
  auto& me = segment.me();
  Dict dict(segment.make_dict(4));
  std::uint64_t empty = shm::bytes_owned_by(*segment, 1);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 20'000; ++i) {
      std::string key = "key/" + std::to_string(i);
      REQUIRE(dict.put(me, text(key), text("value of some length")) == Status::kOk);
    }
    CHECK(shm::bytes_owned_by(*segment, 1) > 1'000'000);
    for (int i = 0; i < 20'000; ++i) {
      std::string key = "key/" + std::to_string(i);
      REQUIRE(dict.erase(me, text(key)) == Status::kOk);
    }
    CHECK(shm::bytes_owned_by(*segment, 1) == empty);
  }
}
