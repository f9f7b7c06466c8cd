// Large values of a dict move together when the next one needs one piece of memory.
#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "shm/dict.h"
#include "shm/dict_layout.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

constexpr std::uint64_t kMiB = 1u << 20;

std::string key_of(int number) {
  return "value " + std::to_string(number);
}
std::string value_of(int number, std::uint64_t bytes) {
  return std::string(bytes, static_cast<char>('a' + number % 26));
}

struct Filled {
  explicit Filled(std::uint64_t memory_limit) : segment(memory_limit), dict(segment.make_dict(4)) {
    while (put(values, kMiB) == Status::kOk) ++values;
  }
  Status put(int number, std::uint64_t bytes) {
    return dict.put(me(), text(key_of(number)), text(value_of(number, bytes)));
  }
  void erase(int number) { REQUIRE(dict.erase(me(), text(key_of(number))) == Status::kOk); }
  shm::ThreadContext& me() const { return segment.me(); }

  TestSegment segment;
  shm::Dict dict;
  int values = 0;
};

std::string get(const shm::Dict& dict, int number) {
  std::string found;
  const shm::Sink sink{&found, [](void* context, shm::ItemKind, std::size_t size) -> void* {
                         auto* to = static_cast<std::string*>(context);
                         to->resize(size);
                         return to->data();
                       }};
  REQUIRE(dict.get(text(key_of(number)), sink) == Status::kOk);
  return found;
}

}  // namespace

TEST_CASE("a large value finds room where every second smaller one was erased, and the others are as they were") {
  Filled filled(96 * kMiB);
  REQUIRE(filled.values > 70);
  for (int i = 0; i < filled.values; i += 2) filled.erase(i);
  int large = 0;
  while (filled.put(1000 + large, 8 * kMiB) == Status::kOk) ++large;
  CHECK(large * 8 > filled.values / 2 - 17);  // all but two pieces of what was freed
  for (int i = 1; i < filled.values; i += 2) REQUIRE(get(filled.dict, i) == value_of(i, kMiB));
  for (int i = 0; i < large; ++i) REQUIRE(get(filled.dict, 1000 + i) == value_of(1000 + i, 8 * kMiB));
  CHECK(filled.dict.audit(filled.me()).error.empty());
}

TEST_CASE("a value that is read in place stays where it is while others move") {
  Filled filled(48 * kMiB);
  const int pinned = filled.values - 1 - filled.values % 2;  // an odd one near the end
  const void* data = nullptr;
  std::size_t size = 0;
  shm::ItemKind kind{};
  std::uint32_t pin = 0;
  REQUIRE(filled.dict.pin(filled.me(), text(key_of(pinned)), data, size, kind, pin) == Status::kOk);
  for (int i = 0; i < filled.values; i += 2) filled.erase(i);
  REQUIRE(filled.put(1000, 4 * kMiB) == Status::kOk);
  CHECK(std::string(static_cast<const char*>(data), size) == value_of(pinned, kMiB));
  shm::Dict::unpin(filled.me(), pin);
  CHECK(filled.dict.audit(filled.me()).error.empty());
}

TEST_CASE("a dict in which nothing is free moves nothing") {
  Filled filled(32 * kMiB);
  CHECK(!filled.dict.compact(filled.me()));
  CHECK(filled.put(1000, kMiB) == Status::kOutOfMemory);
  for (int i = 0; i < filled.values; ++i) REQUIRE(get(filled.dict, i) == value_of(i, kMiB));
}

TEST_CASE(
    "values move together for what others gave back, also when the dict itself has not changed since it was full") {
  TestSegment segment(48 * kMiB);
  auto& me = segment.me();
  const auto where = segment.make_dict(4);
  shm::Dict dict(where);
  std::vector<shm::Offset> others;
  const auto full = [&](shm::Offset& chunk) {
    return take_chunk(me, shm::ChunkOwner(7, 0), 2 * kMiB, chunk) != Status::kOk;
  };
  int values = 0;
  for (shm::Offset chunk = 0; dict.put(me, text(key_of(values)), text(value_of(values, kMiB))) == Status::kOk;
       ++values) {
    if (!full(chunk)) others.push_back(chunk);
  }
  const auto put_large = [&] { return dict.put(me, text("large"), text(std::string(8 * kMiB, 'x'))); };
  REQUIRE(put_large() == Status::kOutOfMemory);
  REQUIRE(put_large() == Status::kOutOfMemory);
  for (const shm::Offset chunk : others) give_chunk(me, chunk, 2 * kMiB);
  CHECK(put_large() == Status::kOk);
  for (int i = 0; i < values; ++i) REQUIRE(get(dict, i) == value_of(i, kMiB));
  CHECK(dict.audit(me).error.empty());
}

TEST_CASE("a dict that was searched in vain is not searched again before it changes, whoever noted that") {
  TestSegment segment(8 * kMiB);
  auto& me = segment.me();
  const auto where = segment.make_dict(1);
  shm::Dict dict(where);
  for (int i = 0; dict.put(me, text(key_of(i)), text(value_of(i, 100'000))) == Status::kOk;) ++i;
  auto& control = *segment->at<shm::DictControl>(where.control);
  const shm::DictShard& shard = dict_shard(control, 0);
  const auto searches = [&] {  // a search makes the free lists anew, and so raises the counter of reuse
    const shm::Word before = shard.recycle;
    REQUIRE(dict.put(me, text("another"), text(value_of(0, kMiB))) == Status::kOutOfMemory);
    return shard.recycle != before;
  };
  CHECK_FALSE(searches());
  CHECK_FALSE(searches());
  // Two attempts at once, one of which has noted the other as well.
  control.trimmed_at = control.trimmed_at + 1;
  CHECK_FALSE(searches());
  REQUIRE(dict.erase(me, text(key_of(0))) == Status::kOk);
  CHECK(searches());
  CHECK_FALSE(searches());
}
