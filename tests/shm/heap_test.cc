// The blocks of one arena, against a plain account of who has which bytes.
#include "shm/heap.h"

#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <thread>

#include "shm/dict_layout.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::BlockRange;
using shm::Heap;
using shm::Offset;
using shm::Status;
using shm::Word;

namespace {

// A heap in a dict's shard that the dict does not use.
struct Arena {
  explicit Arena(std::uint64_t limit = 32u << 20) : segment(limit), where(segment.make_dict(1)) {}
  shm::DictShard& shard() const { return shm::dict_shard(*where.segment->at<shm::DictControl>(where.control), 0); }
  Heap heap() const { return {segment.me(), shm::ChunkOwner(where.object, 0), shard().heap, shard().recycle}; }
  Word recycled() const { return shard().recycle.load(); }

  std::vector<BlockRange> reachable() const {
    std::vector<BlockRange> blocks;
    for (auto& [at, bytes] : taken) blocks.push_back({at, bytes});
    return blocks;
  }
  std::string check() const {
    auto audit = heap().audit(reachable());
    if (audit.lost_blocks != 0) return std::to_string(audit.lost_blocks) + " blocks are lost";
    if (audit.lost_chunks != 0) return std::to_string(audit.lost_chunks) + " chunks are lost";
    if (audit.doubled_blocks != 0) return std::to_string(audit.doubled_blocks) + " blocks are doubled";
    return {};
  }
  // Takes a block, fills it, and notes it; false without memory.
  bool take(std::uint64_t bytes) {
    Offset at = heap().take(bytes);
    if (at == 0) return false;
    REQUIRE(at % 16 == 0);
    if (bytes % 64 == 0) REQUIRE(at % 64 == 0);
    auto after = taken.lower_bound(at);
    if (after != taken.end()) REQUIRE(at + Heap::block_size(bytes) <= after->first);
    if (after != taken.begin()) {
      REQUIRE(std::prev(after)->first + Heap::block_size(std::prev(after)->second) <= at);
    }
    for (std::uint64_t i = 0; i + 8 <= bytes; i += 8) shm::store_word(segment->base() + at + i, at + i);
    taken[at] = bytes;
    return true;
  }
  void check_contents() const {
    for (auto& [at, bytes] : taken) {
      for (std::uint64_t i = 0; i + 8 <= bytes; i += 8) {
        if (shm::load_word(segment->base() + at + i) != at + i) FAIL("block " << at << " was written by another");
      }
    }
  }

  TestSegment segment;
  shm::ObjectAddress where;
  std::map<Offset, std::uint64_t> taken;
};

std::uint64_t any_size(std::mt19937_64& random) {
  switch (random() % 10) {
    case 0:
      return 2049 + random() % 200'000;
    case 1:
      return 64 * (1 + random() % 32);
    case 2:
      return 1024 + random() % 1024;
    default:
      return 1 + random() % 300;
  }
}

}  // namespace

TEST_CASE("every size gets a block that holds it, and not much more") {
  for (std::uint64_t bytes = 1; bytes <= 70'000; bytes += bytes < 3'000 ? 1 : 97) {
    std::uint64_t size = Heap::block_size(bytes);
    REQUIRE(size >= bytes);
    REQUIRE(size % 16 == 0);
    REQUIRE(size <= std::max<std::uint64_t>(16, bytes * (bytes <= 2048 ? 13 : 20) / 10 + 16));
    if (bytes % 64 == 0 && bytes <= 2048) REQUIRE(size % 64 == 0);
  }
}

TEST_CASE("random takes, gives and retirements lose and double no block") {
  Arena arena;
  std::mt19937_64 random(Catch::rngSeed());
  for (int step = 0; step < 30'000; ++step) {
    std::uint64_t choice = random() % 100;
    if (choice < 52 || arena.taken.empty()) {
      std::uint64_t bytes = any_size(random);
      if (!arena.take(bytes)) REQUIRE(bytes > 2048);
    } else {
      auto it = arena.taken.lower_bound(random() % arena.segment->header().total_bytes);
      if (it == arena.taken.end()) it = arena.taken.begin();
      if (choice < 75) {
        arena.heap().give(it->first, it->second);
      } else {
        arena.heap().retire(it->first, it->second);
      }
      arena.taken.erase(it);
    }
    if (step % 1'500 == 0) {
      arena.check_contents();
      REQUIRE(arena.check() == "");
    }
    if (step % 6'000 == 5'999) {
      arena.heap().rebuild(arena.reachable());
      arena.check_contents();
      REQUIRE(arena.check() == "");
    }
  }
  arena.taken.clear();
  arena.heap().rebuild({});
  CHECK(arena.check() == "");
  std::uint64_t left = 0;
  for_each_chunk(*arena.segment, shm::ChunkOwner(arena.where.object, 0), [&](Offset, std::uint64_t) { ++left; });
  CHECK(left == 0);
}

TEST_CASE("a rebuild makes free whatever it is not told of, and keeps what it is") {
  std::mt19937_64 random(Catch::rngSeed());
  for (int round = 0; round < 200; ++round) {
    Arena arena(4u << 20);
    for (int i = 0; i < 150; ++i) (void)arena.take(any_size(random) % 20'000 + 1);
    std::erase_if(arena.taken, [&](auto&) { return random() % 2 == 0; });
    for (auto& word : arena.shard().heap.free_head) word = random();  // whatever a death left
    arena.shard().heap.parked_count = random();
    for (auto& word : arena.shard().heap.parked) word = random();
    arena.heap().rebuild(arena.reachable());
    REQUIRE(arena.check() == "");
    for (int i = 0; i < 150; ++i) (void)arena.take(any_size(random) % 20'000 + 1);
    arena.check_contents();
    REQUIRE(arena.check() == "");
  }
}

TEST_CASE("a retired block keeps its bytes until the recycle counter has risen") {
  Arena arena;
  std::mt19937_64 random(Catch::rngSeed());
  struct Retired {
    Offset at;
    std::uint64_t bytes;
    Word counter;
  };
  std::vector<Retired> retired;
  for (int step = 0; step < 5'000; ++step) {
    REQUIRE(arena.take(16 + random() % 400));
    auto it = arena.taken.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(random() % arena.taken.size()));
    retired.push_back({it->first, it->second, arena.recycled()});
    arena.heap().retire(it->first, it->second);
    arena.taken.erase(it);
    std::erase_if(retired, [&](const Retired& block) { return block.counter != arena.recycled(); });
    for (auto& block : retired) {
      for (std::uint64_t i = 0; i + 8 <= block.bytes; i += 8) {
        REQUIRE(shm::load_word(arena.segment->base() + block.at + i) == block.at + i);
      }
    }
  }
  CHECK(arena.recycled() > 100);
}

TEST_CASE("a pinned block keeps its bytes through recycling and rebuilding") {
  Arena arena;
  auto& pin = arena.segment.me().record().pinned[1];
  for (std::uint64_t bytes : {48u, 2'000u, 5'000u, 150'000u}) {
    REQUIRE(arena.take(bytes));
    Offset at = arena.taken.rbegin()->first;
    std::uint64_t size = arena.taken.rbegin()->second;
    for (auto& [offset, taken_size] : arena.taken) {
      if (taken_size == bytes) at = offset, size = taken_size;
    }
    pin = Heap::block_word(at, size);
    arena.segment->header().pins_used = 1;
    arena.heap().retire(at, size);
    arena.taken.erase(at);
    for (int i = 0; i < 100; ++i) {
      REQUIRE(arena.take(bytes));
      Offset other = 0;
      for (auto& [offset, taken_size] : arena.taken) {
        if (taken_size == bytes) other = offset;
      }
      REQUIRE(other != at);
      arena.heap().retire(other, bytes);
      arena.taken.erase(other);
      if (i % 10 == 0) arena.heap().rebuild(arena.reachable());
      REQUIRE(arena.check() == "");
      for (std::uint64_t b = 0; b + 8 <= bytes; b += 8) {
        REQUIRE(shm::load_word(arena.segment->base() + at + b) == at + b);
      }
    }
    pin = 0;
    arena.heap().recycle();
    REQUIRE(arena.check() == "");
  }
}

TEST_CASE("the audit finds blocks that were lost, doubled, or leak as chunks") {
  Arena arena;
  for (int i = 0; i < 50; ++i) REQUIRE(arena.take(64));
  REQUIRE(arena.check() == "");
  auto reachable = arena.reachable();
  Offset some = reachable[7].at;
  SECTION("lost") {
    reachable.erase(reachable.begin() + 7);
    CHECK(arena.heap().audit(reachable).lost_blocks == 1);
  }
  SECTION("used twice") {
    reachable.push_back(reachable[7]);
    CHECK(arena.heap().audit(reachable).doubled_blocks == 1);
  }
  SECTION("used and free") {
    arena.heap().give(some, 64);
    CHECK(arena.heap().audit(reachable).doubled_blocks >= 1);
  }
  SECTION("a chunk that nothing reaches") {
    Offset chunk = arena.heap().take(5'000);
    shm::store_word(arena.segment->base() + chunk, 0);
    CHECK(arena.heap().audit(reachable).lost_chunks == 1);
  }
}

TEST_CASE("a heap that finds no memory changes nothing, and takes what is recycled first") {
  Arena arena(1u << 20);
  while (arena.take(900)) {
  }
  CHECK(arena.check() == "");
  CHECK(arena.heap().take(3'000) == 0);
  CHECK(arena.check() == "");
  auto first = *arena.taken.begin();
  arena.heap().retire(first.first, first.second);
  arena.taken.erase(first.first);
  CHECK(arena.take(900));  // the retired one, recycled at need
  CHECK_FALSE(arena.take(900));
  arena.check_contents();
  CHECK(arena.check() == "");
}
