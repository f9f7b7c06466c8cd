// The segment's memory: chunks overlap nothing, nothing is lost, and a full segment or file system is an error, no
// more.
#include "shm/extents.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <thread>

#include "shm/extents_commit.h"
#include "shm/references.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::ChunkOwner;
using shm::kExtent;
using shm::kGranule;
using shm::Offset;
using shm::Status;

namespace {

// What the tables say, counted by hand.
struct Count {
  std::uint64_t free = 0, whole = 0, chunks = 0;
  std::map<std::uint32_t, std::uint64_t> bytes;  // by owner
};
Count count(const TestSegment& segment) {
  Count count;
  std::uint64_t committed = segment->header().committed_extents.load();
  for (std::uint64_t e = 0; e < committed; ++e) {
    shm::Word word = extent_entry(*segment, e).load();
    if (shm::extent_kind(word) == shm::ExtentKind::kFree) {
      ++count.free;
    } else if (shm::extent_kind(word) == shm::ExtentKind::kWhole) {
      ++count.whole;
      count.bytes[shm::extent_owner(word).value] += kExtent;
    } else {
      for (std::uint32_t g = 0; g < shm::kGranulesPerExtent; g += shm::extent_granules(word)) {
        std::uint32_t owner = granule_entry(*segment, e, g).load();
        if (owner == 0) continue;
        ++count.chunks;
        count.bytes[owner] += shm::extent_granules(word) * kGranule;
      }
    }
  }
  return count;
}
void check(const TestSegment& segment) {
  Count now = count(segment);
  REQUIRE(now.free == segment->header().free_extents.load());
  std::uint64_t lowest = segment->header().lowest_free.load();
  for (std::uint64_t e = 0; e < std::min(lowest, segment->header().committed_extents.load()); ++e) {
    REQUIRE(shm::extent_kind(extent_entry(*segment, e).load()) != shm::ExtentKind::kFree);
  }
}

struct Chunk {
  ChunkOwner owner;
  Offset at;
  std::uint64_t bytes;
};

std::uint64_t any_size(std::mt19937_64& random) {
  std::uint64_t size = 1 + random() % (std::uint64_t{1} << (1 + random() % 18));
  return size;
}

}  // namespace

TEST_CASE("chunks have the size and the place that the header promises") {
  CHECK(shm::chunk_size(1) == 1024);
  CHECK(shm::chunk_size(1024) == 1024);
  CHECK(shm::chunk_size(1025) == 2048);
  CHECK(shm::chunk_size(65536) == 65536);
  CHECK(shm::chunk_size(65537) == 131072);
  CHECK(shm::chunk_size(3 * 65536) == 3 * 65536);
  TestSegment segment;
  auto& me = segment.me();
  for (std::uint64_t bytes : {1u, 1024u, 1025u, 5'000u, 20'000u, 40'000u, 65'536u, 65'537u, 1'000'000u}) {
    ChunkOwner owner(7, 3);
    Offset at = 0;
    REQUIRE(take_chunk(me, owner, bytes, at) == Status::kOk);
    CHECK(at % std::min(shm::chunk_size(bytes), kExtent) == 0);
    CHECK(segment->holds(at, shm::chunk_size(bytes)));
    CHECK(chunk_owner(*segment, at) == owner);
    CHECK(chunk_owner(*segment, at + shm::chunk_size(bytes) - 1) == owner);
    std::uint64_t visited = 0;
    for_each_chunk(*segment, owner, [&](Offset chunk, std::uint64_t size) {
      CHECK(chunk >= at);
      visited += size;
    });
    CHECK(visited == shm::chunk_size(bytes));
    CHECK(bytes_owned_by(*segment, 7) == shm::chunk_size(bytes));
    give_chunk(me, at, bytes);
    CHECK(bytes_owned_by(*segment, 7) == 0);
    CHECK_FALSE(chunk_owner(*segment, at));
  }
  CHECK_FALSE(chunk_owner(*segment, 0));
  CHECK_FALSE(chunk_owner(*segment, ~Offset{0}));
  check(segment);
}

TEST_CASE("random chunks never overlap, and what was given back is taken again") {
  TestSegment segment(32u << 20);
  auto& me = segment.me();
  std::mt19937_64 random(Catch::rngSeed());
  std::map<Offset, Chunk> taken;
  std::uint64_t refused = 0;
  for (int step = 0; step < 30'000; ++step) {
    if (random() % 100 < 52) {
      Chunk chunk{ChunkOwner(1 + static_cast<std::uint32_t>(random() % 5), static_cast<std::uint32_t>(random() % 3)), 0,
                  any_size(random)};
      Status status = take_chunk(me, chunk.owner, chunk.bytes, chunk.at);
      if (status == Status::kOutOfMemory) {
        ++refused;
        continue;
      }
      REQUIRE(status == Status::kOk);
      auto after = taken.lower_bound(chunk.at);
      if (after != taken.end()) REQUIRE(chunk.at + shm::chunk_size(chunk.bytes) <= after->first);
      if (after != taken.begin()) {
        auto before = std::prev(after);
        REQUIRE(before->first + shm::chunk_size(before->second.bytes) <= chunk.at);
      }
      taken[chunk.at] = chunk;
    } else if (!taken.empty()) {
      auto it = taken.lower_bound(random() % segment->header().total_bytes);
      if (it == taken.end()) it = taken.begin();
      REQUIRE(chunk_owner(*segment, it->first) == it->second.owner);
      give_chunk(me, it->second.at, it->second.bytes);
      taken.erase(it);
    }
    if (step % 5'000 == 0) {
      // An object goes as a whole.
      auto object = static_cast<std::uint32_t>(1 + random() % 5);
      give_object(me, object);
      std::erase_if(taken, [&](auto& one) { return one.second.owner.object() == object; });
    }
    if (step % 1'000 == 0) {
      check(segment);
      std::map<std::uint32_t, std::uint64_t> expected;
      for (auto& [at, chunk] : taken) expected[chunk.owner.value] += shm::chunk_size(chunk.bytes);
      REQUIRE(count(segment).bytes == expected);
    }
  }
  for (std::uint32_t object = 1; object <= 5; ++object) give_object(me, object);
  check(segment);
  CHECK(count(segment).free == segment->header().committed_extents.load());
  INFO(refused << " refused");
}

TEST_CASE("threads and processes take and give chunks side by side") {
  TestSegment segment(32u << 20);
  auto work = [&](std::uint32_t worker) {
    auto& me = segment.me();
    std::mt19937_64 random(Catch::rngSeed() + worker);
    std::vector<Chunk> taken;
    for (int step = 0; step < 4'000; ++step) {
      if (random() % 2 == 0 && taken.size() < 40) {
        Chunk chunk{ChunkOwner(10 + worker, 0), 0, any_size(random)};
        if (take_chunk(me, chunk.owner, chunk.bytes, chunk.at) != Status::kOk) continue;
        // Marked at both ends: who gets the same chunk overwrites the mark.
        shm::store_word(segment->base() + chunk.at, worker);
        shm::store_word(segment->base() + chunk.at + shm::chunk_size(chunk.bytes) - 8, worker);
        taken.push_back(chunk);
      } else if (!taken.empty()) {
        Chunk chunk = taken[random() % taken.size()];
        if (shm::load_word(segment->base() + chunk.at) != worker ||
            shm::load_word(segment->base() + chunk.at + shm::chunk_size(chunk.bytes) - 8) != worker) {
          throw std::runtime_error("a chunk was taken twice");
        }
        give_chunk(me, chunk.at, chunk.bytes);
        std::erase_if(taken, [&](auto& one) { return one.at == chunk.at; });
      }
    }
    for (auto& chunk : taken) give_chunk(me, chunk.at, chunk.bytes);
  };
  std::vector<pid_t> processes;
  for (std::uint32_t i = 0; i < 3; ++i) {
    processes.push_back(spawn([&, i] {
      std::thread other([&] { work(i * 2); });
      work(i * 2 + 1);
      other.join();
    }));
  }
  for (pid_t process : processes) CHECK(wait_for(process) == 0);
  (void)segment.me();
  check(segment);
  CHECK(count(segment).bytes.empty());
}

TEST_CASE("the memory limit is an error that changes nothing, and room that comes back is used") {
  TestSegment segment(1u << 20);  // 16 extents
  auto& me = segment.me();
  Offset at;
  CHECK(take_chunk(me, ChunkOwner(1, 0), 17 * kExtent, at) == Status::kOutOfMemory);
  CHECK(take_chunk(me, ChunkOwner(1, 0), ~std::uint64_t{0} / 2, at) == Status::kOutOfMemory);
  CHECK(count(segment).bytes.empty());
  std::vector<Offset> chunks;
  while (take_chunk(me, ChunkOwner(1, 0), kExtent, at) == Status::kOk) chunks.push_back(at);
  CHECK(chunks.size() == 16);
  CHECK(take_chunk(me, ChunkOwner(2, 0), 1, at) == Status::kOutOfMemory);
  CHECK(commit_ahead(me, 1) == Status::kOutOfMemory);
  check(segment);
  give_chunk(me, chunks[5], kExtent);
  give_chunk(me, chunks[7], kExtent);
  CHECK(take_chunk(me, ChunkOwner(2, 0), 2 * kExtent, at) == Status::kOutOfMemory);  // no two in a row
  // The last free chunks are found, wherever they are.
  for (int i = 0; i < 128; ++i) REQUIRE(take_chunk(me, ChunkOwner(3, 0), 1, at) == Status::kOk);
  CHECK(take_chunk(me, ChunkOwner(3, 0), 1, at) == Status::kOutOfMemory);
  give_chunk(me, at, 1);
  CHECK(take_chunk(me, ChunkOwner(3, 0), 1024, at) == Status::kOk);
  check(segment);
}

TEST_CASE("a full file system is an error, never a signal") {
  std::string folder = "/tmp/commonhold-test-mount-" + std::to_string(getpid());
  REQUIRE(mkdir(folder.c_str(), 0700) == 0);
  if (mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=8m,mode=0700") != 0) {
    rmdir(folder.c_str());
    WARN("skipped: no permission to mount a small tmpfs");
    return;
  }
  // In a child, whose mapping ends with it, so that the file system can be unmounted.
  pid_t child = spawn([&] {
    auto require = [](bool condition, const char* what) {
      if (!condition) throw std::runtime_error(what);
    };
    auto segment = shm::Segment::create({folder + "/segment", "full", 0});
    auto& me = *segment->here();
    shm::ObjectId id;
    require(create_object(me, {shm::ObjectKind::kDict, "d", "", {2}}, id) == Status::kOk, "create");
    shm::Dict dict({segment.get(), id.index, object_control(*segment, id)});
    std::string value(10'000, 'v');
    int stored = 0;
    Status status = Status::kOk;
    for (; status == Status::kOk; ++stored) status = dict.put(me, text("k" + std::to_string(stored)), text(value));
    require(status == Status::kOutOfMemory, "another status");
    require(stored > 100, "less was stored than fits");
    for (int i = 0; i < 50; ++i) {
      require(dict.put(me, text("more" + std::to_string(i)), text(value)) == Status::kOutOfMemory, "no room, and yet");
    }
    require(dict.audit(me).error.empty(), "the dict is broken");
    // Until not even an object record or a small entry fits.
    while (create_object(me, {shm::ObjectKind::kDict, "", "", {1}}, id) == Status::kOk) {
    }
    for (int i = 0; dict.put(me, text("small" + std::to_string(i)), text("x")) == Status::kOk; ++i) {
    }
    require(dict.audit(me).error.empty(), "the dict is broken when nothing fits");
    std::string found;
    for (int i = 0; i < stored - 1; ++i) {
      std::string key = "k" + std::to_string(i);
      require(dict.contains(text(key)), "a key is gone");
      if (i % 2 == 0) require(dict.erase(me, text(key)) == Status::kOk, "cannot erase");
    }
    require(dict.put(me, text("again"), text(value)) == Status::kOk, "room that came back is not used");
    require(dict.audit(me).error.empty(), "the dict is broken afterwards");
    // A second segment finds no room for its header, and says so.
    try {
      (void)shm::Segment::create({folder + "/second", "second", 0});
    } catch (const shm::SegmentError& error) {
      require(error.code() == shm::SegmentError::Code::kOutOfMemory, error.what());
      return;
    }
    throw std::runtime_error("a segment was made in a full file system");
  });
  int status = wait_for(child);
  umount2(folder.c_str(), MNT_DETACH);
  rmdir(folder.c_str());
  CHECK(status == 0);
}

TEST_CASE("a memory limit outside what a segment can have is refused, and nothing is made") {
  for (std::uint64_t limit : {std::uint64_t{1000}, std::uint64_t{2} << 40}) {
    const std::string folder = fmt::format("/dev/shm/commonhold-test-{}-limit", getpid());
    CHECK_THROWS_AS(shm::Segment::create({folder, "test", limit}), shm::SegmentError);
    CHECK_FALSE(std::filesystem::exists(folder + "/segment"));
    std::filesystem::remove_all(folder);
  }
}
