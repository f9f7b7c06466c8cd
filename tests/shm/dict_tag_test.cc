// Keys with chosen tags: two in one slot's eyes, and many for the same few buckets.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "shm/dict_table.h"
#include "support/tag_twins.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Dict;
using shm::Status;
using shm::Word;

namespace {

std::string get(const Dict& dict, const std::string& key) {
  std::string value;
  shm::Sink sink{&value, [](void* to, shm::ItemKind, std::size_t size) -> void* {
                   static_cast<std::string*>(to)->resize(size);
                   return static_cast<std::string*>(to)->data();
                 }};
  REQUIRE(dict.get(text(key), sink) == Status::kOk);
  return value;
}

std::int64_t get_integer(const Dict& dict, const std::string& key) {
  std::int64_t value = 0;
  REQUIRE(dict.get_fixed(text(key), &value, sizeof value) == Status::kOk);
  return value;
}

void check_sound(const Dict& dict, const TestSegment& segment, std::uint64_t entries) {
  auto audit = dict.audit(segment.me());
  CHECK(audit.error == "");
  CHECK(audit.lost_blocks == 0);
  CHECK(audit.entries == entries);
}

}  // namespace

TEST_CASE("two keys of one tag are told apart by whoever puts, counts or removes") {
  TestSegment segment;
  auto& me = segment.me();
  auto where = segment.make_dict(1);
  auto [first, second] = tag_twins(segment->at<shm::DictControl>(where.control)->seed);
  INFO(first << " and " << second);
  Dict dict(where);
  REQUIRE(dict.put(me, text("another key"), text("keeps the shard's memory")) == Status::kOk);
  for (int round = 0; round < 40; ++round) {
    // Either may be in the lower slot, which is the one that is looked at first.
    std::swap(first, second);
    std::string old(40 + static_cast<std::size_t>(round) % 3, 'o'), fresh = std::string(60, 'f');
    REQUIRE(dict.put(me, text(first), text(old)) == Status::kOk);
    check_sound(dict, segment, 2);
    REQUIRE(dict.put(me, text(second), text(old)) == Status::kOk);
    REQUIRE(dict.put(me, text(first), text(old)) == Status::kOk);
    REQUIRE(dict.put(me, text(second), text(fresh)) == Status::kOk);
    CHECK(get(dict, first) == old);
    CHECK(get(dict, second) == fresh);
    REQUIRE(dict.put(me, text(first), text(fresh + "!")) == Status::kOk);
    CHECK(get(dict, first) == fresh + "!");
    CHECK(get(dict, second) == fresh);
    check_sound(dict, segment, 3);

    REQUIRE(dict.put(me, text(first), integer(1)) == Status::kOk);
    REQUIRE(dict.put(me, text(second), integer(10)) == Status::kOk);
    REQUIRE(dict.put(me, text(second), integer(20)) == Status::kOk);
    auto add = [&](const std::string& key) {
      Word before = 0;
      auto sum = [](Word a, Word b) { return a + b; };
      REQUIRE(dict.change_word(me, text(key), shm::ItemKind::kInt64, sum, 5, nullptr, &before) == Status::kOk);
      return before;
    };
    CHECK(add(second) == 20);
    CHECK(add(first) == 1);
    CHECK(get_integer(dict, first) == 6);
    CHECK(get_integer(dict, second) == 25);

    REQUIRE(dict.erase(me, text(first)) == Status::kOk);
    CHECK_FALSE(dict.contains(text(first)));
    CHECK(get_integer(dict, second) == 25);
    REQUIRE(dict.erase(me, text(second)) == Status::kOk);
    check_sound(dict, segment, 1);
  }
}

TEST_CASE("a table that is crowded where its end meets its beginning splits without losing an entry") {
  TestSegment segment;
  auto& me = segment.me();
  auto where = segment.make_dict(1);
  Dict dict(where);
  const Word seed = segment->at<shm::DictControl>(where.control)->seed;
  std::vector<std::string> keys;
  int tried = 0;
  // Keys of that home bucket, in the lower or the upper half of the tags.
  auto put = [&](std::uint32_t home, bool upper, int count) {
    while (count > 0) {
      std::string key = "key " + std::to_string(tried++);
      const std::uint32_t tag = shm::hash_tag(shm::hash_key(text(key), seed));
      if ((tag & 63) != home || (tag >> 23 != 0) != upper) continue;
      REQUIRE(dict.put(me, text(key), text("value")) == Status::kOk);
      keys.push_back(std::move(key));
      --count;
    }
  };
  for (std::uint32_t i = 0; i < 70; ++i) put(10 + i % 32, false, 1);
  // Bucket 60 fills 60 to 63, so that what belongs to 61 to 63 goes on behind the end, into 0 to 2.
  put(60, true, 32);
  for (std::uint32_t home : {61u, 62u, 63u}) put(home, true, 8);
  check_sound(dict, segment, keys.size());
  put(60, true, 1);  // finds no place: the table is split
  for (const std::string& key : keys) CHECK(dict.contains(text(key)));
  check_sound(dict, segment, keys.size());
}
