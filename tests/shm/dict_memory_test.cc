// What a dict does with its memory: blocks are neither lost nor used twice, also when there is none left.
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Dict;
using shm::Status;
using shm::ThreadContext;

namespace {

std::string key_number(std::size_t i) { return "key/" + std::to_string(i); }

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
