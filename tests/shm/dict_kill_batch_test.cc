// A SIGKILL at every instruction of what changes several keys of a dict in one step, of what recycles blocks, and of
// readers that take locks.
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "shm/dict_layout.h"
#include "tests/support/dict_kill_stage.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Dict;
using shm::Item;
using shm::ThreadContext;

namespace {

void kill_everywhere(const DictCase& dict_case) {
  DictKillStage stage(dict_case);
  expect_clean(stage.kill_everywhere());
}

auto filled(std::size_t keys) {
  return [=](Dict& dict, ThreadContext& me) { fill(dict, me, 0, keys); };
}

// Keys `from` to `to` - 1: of three in a row, an integer, a text and a chunk.
struct Batch {
  Batch(std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i) keys.push_back(key_number(i));
    for (std::size_t i = 0; i < keys.size(); ++i) {
      shm::DictPair pair{text(keys[i]), text(small)};
      if (i % 3 == 0) pair.value = integer(number);
      if (i % 3 == 2) pair.value = text(large);
      pairs.push_back(pair);
    }
  }
  std::vector<std::string> keys;
  std::vector<shm::DictPair> pairs;
  std::int64_t number = -1;
  std::string small = "small", large = std::string(2'500, 'l');
};

auto put_many(std::size_t from, std::size_t to) {
  auto batch = std::make_shared<Batch>(from, to);
  return [=](Dict& dict, ThreadContext& me) { (void)dict.put_many(me, batch->pairs); };
}
auto assign(std::size_t from, std::size_t to) {
  auto batch = std::make_shared<Batch>(from, to);
  return [=](Dict& dict, ThreadContext& me) { (void)dict.assign(me, batch->pairs); };
}
void clear(Dict& dict, ThreadContext& me) { (void)dict.clear(me); }

void overwrite(Dict& dict, ThreadContext& me, std::size_t times, std::size_t size = 40) {
  for (std::size_t i = 0; i < times; ++i) {
    std::string value(size + i % 3, static_cast<char>('a' + i % 26));
    (void)dict.put(me, text("a"), text(value));
  }
}
auto overwritten(std::size_t times, std::size_t size = 40) {
  return [=](Dict& dict, ThreadContext& me) { overwrite(dict, me, times, size); };
}

std::uint32_t pin(Dict& dict, ThreadContext& me, std::string_view key) {
  const void* data;
  std::size_t size;
  shm::ItemKind kind;
  std::uint32_t slot = 0;
  (void)dict.pin(me, text(key), data, size, kind, slot);
  return slot;
}

}  // namespace

TEST_CASE("several keys change together or not at all, wherever their writer is killed") {
  kill_everywhere({"put_many, new keys in an empty dict", 4, {}, put_many(0, 3)});
  kill_everywhere({"put_many, new and old keys, in place too", 4, filled(4), put_many(2, 8)});
  kill_everywhere({"put_many, all in place", 4, filled(4), [](Dict& dict, ThreadContext& me) {
                     std::int64_t seven = 7;
                     std::string first = key_number(0), second = key_number(1);
                     shm::DictPair pairs[] = {{text(first), integer(seven)}, {text(second), integer(seven)}};
                     (void)dict.put_many(me, pairs);
                   }});
  kill_everywhere({"put_many that grows tables", 2, filled(12), put_many(10, 30)});
  kill_everywhere({"put_many of one key twice", 2, filled(2), [](Dict& dict, ThreadContext& me) {
                     shm::DictPair pairs[] = {{text("a"), text("1")}, {text("a"), text("2")}};
                     (void)dict.put_many(me, pairs);
                   }});
}

TEST_CASE("a dict is cleared or assigned as a whole") {
  kill_everywhere({"clear", 4, filled(20), clear});
  kill_everywhere({"clear, empty", 2, {}, clear, false});
  kill_everywhere({"clear, large values", 1, put_many(0, 6), clear});
  kill_everywhere({"assign", 2, filled(10), assign(5, 12)});
  kill_everywhere({"assign to an empty dict", 2, {}, assign(0, 4)});
  kill_everywhere({"assign nothing", 2, filled(4), assign(0, 0)});
}

TEST_CASE("recycled blocks are neither lost nor used twice") {
  kill_everywhere({"put that parks a block", 1, overwritten(5), overwritten(1)});
  kill_everywhere({"put that recycles", 1, overwritten(15), overwritten(1)});
  kill_everywhere({"put that recycles chunks", 1, overwritten(15, 2'500), overwritten(1, 2'500)});
  kill_everywhere({"put that recycles beside a pin", 1,
                   [](Dict& dict, ThreadContext& me) {
                     (void)dict.put(me, text("a"), text("pinned"));
                     (void)pin(dict, me, "a");
                     overwrite(dict, me, 14);
                   },
                   overwritten(1)});
}

TEST_CASE("a pin ends with its thread, and what it held is not lost") {
  kill_everywhere({"pin, unpin", 1, overwritten(1),
                   [](Dict& dict, ThreadContext& me) { Dict::unpin(me, pin(dict, me, "a")); }, false});
  kill_everywhere({"pin, overwrite, unpin, overwrite", 1, overwritten(13),
                   [](Dict& dict, ThreadContext& me) {
                     std::uint32_t slot = pin(dict, me, "a");
                     (void)dict.put(me, text("a"), text("first"));
                     Dict::unpin(me, slot);
                   }});
  kill_everywhere({"clear with a pin", 1, overwritten(3),
                   [](Dict& dict, ThreadContext& me) {
                     std::uint32_t slot = pin(dict, me, "a");
                     (void)dict.clear(me);
                     Dict::unpin(me, slot);
                   }});
}

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
  for (int i = 0; i < 40; ++i) overwrite(dict, me, 1);
  CHECK(dict.audit(me).error == "");
}

TEST_CASE("a killed reader leaves no lock behind") {
  kill_everywhere({"snapshot", 4, filled(6), [](Dict& dict, ThreadContext& me) {
                     std::vector<shm::DictEntryCopy> entries;
                     (void)dict.snapshot(me, entries);
                   }, false});
  kill_everywhere({"get_many", 4, filled(6), [](Dict& dict, ThreadContext& me) {
                     std::string first = key_number(0), second = key_number(4), third = "absent";
                     Item keys[] = {text(first), text(second), text(third)};
                     std::vector<std::string> values;
                     std::vector<bool> found;
                     (void)dict.get_many(me, keys, values, found);
                   }, false});
}
