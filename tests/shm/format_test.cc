// Reads a segment as docs/segment_format.md describes it, from the file's bytes and the page's numbers alone: none of
// the library's structures is used for parsing.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

using u64 = std::uint64_t;
using u32 = std::uint32_t;

class Bytes {
 public:
  explicit Bytes(const std::string& path) : file_(path, std::ios::binary) { REQUIRE(file_.good()); }

  std::string at(u64 offset, u64 size) {
    std::string bytes(size, '\0');
    file_.seekg(static_cast<std::streamoff>(offset));
    file_.read(bytes.data(), static_cast<std::streamsize>(size));
    REQUIRE(file_.good());
    return bytes;
  }
  u64 word(u64 offset) {
    u64 value;
    std::memcpy(&value, at(offset, 8).data(), 8);
    return value;
  }
  u32 half(u64 offset) {
    u32 value;
    std::memcpy(&value, at(offset, 4).data(), 4);
    return value;
  }
  std::string text(u64 offset, u64 room) {
    std::string bytes = at(offset, room);
    return bytes.substr(0, bytes.find('\0'));
  }

 private:
  std::ifstream file_;
};

struct Entry {
  u64 sequence = 0, key_kind = 0, value_kind = 0;
  std::string key, value;
};

std::string padded_to_8(u64 size) {
  return std::string((size + 7) / 8 * 8 - size, '\0');
}

Entry parse_entry(Bytes& file, u64 at) {
  u64 what = file.word(at), sizes = file.word(at + 8);
  u64 key_size = sizes & 0xffffffff, value_size = sizes >> 32;
  u64 value_at = at + 16 + (key_size + 7) / 8 * 8;
  REQUIRE(file.at(at + 16 + key_size, padded_to_8(key_size).size()) == padded_to_8(key_size));
  return {what & 0xffffffffffff, what >> 48 & 0xff, what >> 56, file.at(at + 16, key_size),
          file.at(value_at, value_size)};
}

// Where a dict's shards are, and how many.
struct Shards {
  u64 first, number;
};
Shards parse_shards(Bytes& file, u64 control) {
  const u64 word = file.word(control);
  const auto twice_the_distance = static_cast<std::int64_t>(word & ~u64{127});
  return {control + static_cast<u64>(twice_the_distance / 2), (word & 127) + 1};
}
u64 buckets_of(u64 root) {
  return u64{1} << ((root & 63) - 1);
}

// Looks a text key up by hash, as a client of another make would.
std::optional<Entry> look_up(Bytes& file, u64 control, const std::string& key) {
  const Shards shards = parse_shards(file, control);
  u64 seed = file.word(control + 8);
  u64 hash = XXH3_64bits_withSeed(key.data(), key.size(), seed + 4);
  u64 tag = hash >> 40, shard = shards.first + (hash >> 8) % shards.number * 448, root = file.word(shard + 384 + 8);
  if (root == 0) return std::nullopt;
  u64 table = root & ~u64{63}, buckets = 64;
  if ((root & 32) != 0) {
    u64 depth = root & 31;
    table = file.word(table + (tag >> (24 - depth)) * 8) & ~u64{63};
  } else {
    buckets = buckets_of(root);
  }
  for (u64 i = 0; i < std::min<u64>(buckets, 4); ++i) {
    u64 bucket = table + ((tag + i) & (buckets - 1)) * 64;
    for (u64 s = 0; s < 8; ++s) {
      u64 slot = file.word(bucket + s * 8), entry = (slot & ((u64{1} << 38) - 1)) * 16;
      if (entry == 0 || slot >> 40 != tag) continue;
      Entry found = parse_entry(file, entry);
      if (found.key_kind == 4 && found.key == key) return found;
    }
    if (i == 0 && (file.word(bucket) >> 39 & 1) == 0) break;
  }
  return std::nullopt;
}

// Counts the entries of a shard by walking its tables.
u64 count_entries(Bytes& file, u64 shard) {
  u64 root = file.word(shard + 384 + 8), entries = 0;
  std::vector<std::pair<u64, u64>> tables;
  if ((root & 32) != 0) {
    for (u64 i = 0; i < u64{1} << (root & 31); ++i) {
      u64 table = file.word((root & ~u64{63}) + i * 8) & ~u64{63};
      if (tables.empty() || tables.back().first != table) tables.emplace_back(table, 64);
    }
  } else if (root != 0) {
    tables.emplace_back(root & ~u64{63}, buckets_of(root));
  }
  for (auto [table, buckets] : tables) {
    for (u64 s = 0; s < buckets * 8; ++s) entries += (file.word(table + s * 8) & ((u64{1} << 38) - 1)) != 0;
  }
  return entries;
}

}  // namespace

TEST_CASE("a segment can be parsed from the format's page alone") {
  TestSegment segment(64u << 20);
  auto named = segment.make({shm::ObjectKind::kDict, "scores", "dict<text,int64>", {GENERATE(0u, 4u)}});
  shm::Dict dict(named);
  std::map<std::string, std::int64_t> expected;
  for (std::int64_t i = 0; i < 6000; ++i) {
    std::string key = "player " + std::to_string(i * 7919);
    REQUIRE(dict.put(segment.me(), text(key), integer(i)) == shm::Status::kOk);
    expected[key] = i;
  }

  Bytes file(segment.folder() + "/segment");
  REQUIRE(file.at(0, 8) == "COMHOLD1");
  REQUIRE(file.half(8) == 10);
  REQUIRE(file.text(128, 96) == "test");
  REQUIRE(file.word(56) == std::filesystem::file_size(segment.folder() + "/segment"));
  u64 sessions_at = file.word(72), threads_at = file.word(80), objects_at = file.word(88), extents_at = file.word(96),
      granules_at = file.word(104), data_at = file.word(112);
  REQUIRE(file.half(256) == 0);  // nobody holds the extents' lock

  // This process is the first that is neither the server nor in a reserved record: session 4, and its one thread, in
  // the first slot for everybody, owns no lock.
  REQUIRE((file.word(sessions_at + 4 * 128) & 0xff) == 1);
  REQUIRE(file.word(sessions_at + 4 * 128 + 8) == static_cast<u64>(getpid()));
  REQUIRE((file.word(threads_at + 11 * 256) & 0xffffffff) == 5);
  REQUIRE(file.word(threads_at + 11 * 256 + 24) == 0);

  // The dict by its name.
  u64 record = 0, index = 0;
  for (u64 i = 1; i < file.word(392) && record == 0; ++i) {
    u64 at = objects_at + i * 512;
    if ((file.word(at) & 0xff) == 1 && file.text(at + 64, 96) == "scores") record = at, index = i;
  }
  REQUIRE(record != 0);
  REQUIRE((file.word(record) >> 8 & 0xff) == 1);
  REQUIRE(file.text(record + 160, 256) == "dict<text,int64>");
  u64 control = file.word(record + 8);
  REQUIRE(control == named.control);

  // Its control block is a chunk of arena 255.
  u64 extent = (control - data_at) / 65536, word = file.word(extents_at + extent * 8);
  REQUIRE((word & 3) == 2);
  u64 step = word >> 8 & 0xff, granule = (control - data_at) % 65536 / 1024;
  REQUIRE(granule % step == 0);
  REQUIRE(file.half(granules_at + (extent * 64 + granule) * 4) == (index << 8 | 255));

  u64 counted = 0, walked = 0;
  const Shards shards = parse_shards(file, control);
  for (u64 s = 0; s < shards.number; ++s) {
    u64 shard = shards.first + s * 448;
    REQUIRE(file.half(shard) == 0);
    counted += file.word(shard + 8) & ((u64{1} << 40) - 1);
    walked += count_entries(file, shard);
  }
  REQUIRE(counted == expected.size());
  REQUIRE(walked == expected.size());
  for (auto& [key, value] : expected) {
    auto entry = look_up(file, control, key);
    REQUIRE(entry);
    REQUIRE(entry->value_kind == 2);
    REQUIRE(entry->sequence == static_cast<u64>(value));  // inserted in this order
    std::int64_t stored;
    REQUIRE(entry->value.size() == 8);
    std::memcpy(&stored, entry->value.data(), 8);
    REQUIRE(stored == value);
  }
  REQUIRE_FALSE(look_up(file, control, "nobody"));
}
