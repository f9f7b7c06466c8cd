// Free memory goes back to the system only where nobody can be reading it, and is backed again before it is used.
#include "shm/extents_release.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "shm/extents_commit.h"
#include "shm/large_read.h"
#include "shm/recovery.h"
#include "support/children.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::ChunkOwner;
using shm::ExtentKind;
using shm::kExtent;
using shm::LateReaders;
using shm::Offset;
using shm::Status;

namespace {

constexpr std::uint64_t kMany = 640;  // extents: 40 MiB

// What the file takes of the file system.
std::uint64_t backed_bytes(const shm::Segment& segment) {
  struct stat status {};
  REQUIRE(stat((segment.folder() + "/segment").c_str(), &status) == 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

std::uint64_t count(const shm::Segment& segment, ExtentKind kind) {
  std::uint64_t found = 0;
  for (std::uint64_t e = 0; e < segment.committed_extents(); ++e) {
    if (shm::extent_kind(extent_entry(segment, e).load()) == kind) ++found;
  }
  return found;
}

// The counts in the header are what the table says.
void check(const shm::Segment& segment) {
  CHECK(segment.header().free_extents.load() == count(segment, ExtentKind::kFree));
  CHECK(segment.header().unbacked_extents.load() == count(segment, ExtentKind::kUnbacked));
  for (std::uint64_t e = 0; e < std::min(segment.header().lowest_free.load(), segment.committed_extents()); ++e) {
    REQUIRE(shm::extent_kind(extent_entry(segment, e).load()) != ExtentKind::kFree);
  }
}

Offset take(shm::ThreadContext& me, std::uint64_t extents, LateReaders late) {
  Offset at = 0;
  REQUIRE(take_chunk(me, ChunkOwner(7, 0), extents * kExtent, at, late) == Status::kOk);
  return at;
}

void fill(const shm::Segment& segment, Offset at, std::uint64_t extents, int byte) {
  std::memset(segment.at<std::byte>(at), byte, extents * kExtent);
}

// Whether the kernel has memory for the page of the file.
bool is_backed(const shm::Segment& segment, Offset page) {
  return lseek(segment.memory_fd(), static_cast<off_t>(page), SEEK_DATA) == static_cast<off_t>(page);
}

// A process that says that it reads a large block, and stops in the middle of it.
pid_t spawn_large_reader(const TestSegment& segment) {
  PlainPipe ready;
  const pid_t reader = spawn([&] {
    (void)segment.me();
    const shm::LargeRead announced(*segment);
    ready.write(getpid());
    stay();
  });
  REQUIRE(ready.read() == reader);
  return reader;
}

}  // namespace

TEST_CASE("released extents give their memory back, count as neither committed nor free, and are backed when taken") {
  TestSegment segment;
  auto& me = segment.me();
  const Offset at = take(me, kMany, LateReaders::kNone);
  fill(*segment, at, kMany, 1);
  const std::uint64_t before = backed_bytes(*segment), committed = shm::memory_use(*segment).committed;
  give_chunk(me, at, kMany * kExtent);
  CHECK(release_extents(me, segment->header().free_extents.load() - kMany, 100, false) == 100);
  check(*segment);
  CHECK(release_extents(me, 8, 10'000, false) >= kMany - 110);
  check(*segment);
  CHECK(backed_bytes(*segment) + (kMany - 110) * kExtent <= before);
  const shm::MemoryUse use = shm::memory_use(*segment);
  CHECK(use.committed + count(*segment, ExtentKind::kUnbacked) * kExtent == committed);
  CHECK(use.reusable == 8 * kExtent);
  CHECK(use.used + use.reusable == use.committed);

  const Offset again = take(me, kMany, LateReaders::kNone);
  check(*segment);
  // All but those that are not taken: a few stay free and backed for reference pages.
  CHECK(backed_bytes(*segment) + count(*segment, ExtentKind::kUnbacked) * kExtent >= before - kExtent);
  fill(*segment, again, kMany, 2);
  CHECK(*segment->at<std::byte>(again + kMany * kExtent - 1) == std::byte{2});
  give_chunk(me, again, kMany * kExtent);
  check(*segment);
}

TEST_CASE("extents that a reader without an announcement may still be reading stay backed while others live") {
  TestSegment segment;
  auto& me = segment.me();
  const Offset seldom = take(me, kMany, LateReaders::kPossible);
  give_chunk(me, seldom, kMany * kExtent);
  CHECK(release_extents(me, 0, 10'000, false) < kMany);
  CHECK(count(*segment, ExtentKind::kFree) >= kMany);
  // What it held since stays with an extent, whatever it holds next.
  const Offset array = take(me, kMany, LateReaders::kNone);
  give_chunk(me, array, kMany * kExtent);
  (void)release_extents(me, 0, 10'000, false);
  CHECK(count(*segment, ExtentKind::kFree) >= kMany);
  CHECK(release_extents(me, 0, 10'000, true) >= kMany);
  CHECK(count(*segment, ExtentKind::kFree) == 0);
  check(*segment);
  // Backed anew it has a new history.
  const Offset next = take(me, kMany, LateReaders::kNone);
  give_chunk(me, next, kMany * kExtent);
  CHECK(release_extents(me, 0, 10'000, false) >= kMany);
}

TEST_CASE("nothing is released while a thread says that it reads a large block, until its death is recovered") {
  TestSegment segment;
  auto& me = segment.me();
  const Offset at = take(me, kMany, LateReaders::kNone);
  fill(*segment, at, kMany, 1);
  give_chunk(me, at, kMany * kExtent);
  const pid_t reader = spawn_large_reader(segment);
  const auto refuses = [&] {
    const std::uint64_t free = count(*segment, ExtentKind::kFree);
    for (const bool reads_nothing : {false, true}) {
      if (release_extents(me, 0, 10'000, reads_nothing) != 0) return false;
    }
    check(*segment);
    return count(*segment, ExtentKind::kFree) == free && is_backed(*segment, at);
  };
  CHECK(refuses());
  kill(reader, SIGKILL);
  wait_for(reader);
  CHECK(refuses());  // the dead one may as well be slow
  REQUIRE(shm::recover_all_dead(*segment, me) == 1);
  CHECK(release_extents(me, 0, 10'000, false) >= kMany);
  CHECK_FALSE(is_backed(*segment, at));
  check(*segment);
}

TEST_CASE("a large read of a thread without a slot is never taken for one that ended") {
  TestSegment segment;
  auto& me = segment.me();
  const Offset at = take(me, kMany, LateReaders::kNone);
  give_chunk(me, at, kMany * kExtent);
  segment->header().unslotted_large_reads = 1;
  for (const bool reads_nothing : {true, false, true}) CHECK(release_extents(me, 0, 10'000, reads_nothing) == 0);
  CHECK(segment->header().unslotted_large_reads == 1);
  check(*segment);
  segment->header().unslotted_large_reads = 0;
  CHECK(release_extents(me, 0, 10'000, false) >= kMany);
}

TEST_CASE("the first page of a large block stays backed while others live") {
  TestSegment segment;
  auto& me = segment.me();
  constexpr std::uint64_t kPages = kExtent / shm::kPage;
  const auto pages = [&](Offset block, std::uint64_t extents) {
    std::uint64_t backed = 0;
    for (std::uint64_t p = 1; p < extents * kPages; ++p) backed += is_backed(*segment, block + p * shm::kPage);
    return backed;
  };
  // Neighbours: a hole that ends where the next block begins.
  const Offset first = take(me, 3, LateReaders::kFirstPage), second = take(me, 2, LateReaders::kFirstPage);
  const Offset array = take(me, 2, LateReaders::kNone);
  for (auto [at, extents] : {std::pair{first, 3u}, {second, 2u}, {array, 2u}}) {
    fill(*segment, at, extents, 1);
    give_chunk(me, at, extents * kExtent);
  }
  const pid_t other = spawn([&] {
    (void)segment.me();
    stay();
  });
  while (segment->header().sessions_used < 2 || !is_asleep(other)) usleep(100);
  REQUIRE(release_extents(me, 0, 10'000, true) >= 7);
  for (const Offset at : {first, second}) {
    CHECK(is_backed(*segment, at));
    CHECK(*segment->at<std::byte>(at) == std::byte{1});
  }
  CHECK(pages(first, 3) == 0);
  CHECK(pages(second, 2) == 0);
  CHECK(pages(array, 2) == 0);
  CHECK_FALSE(is_backed(*segment, array));
  kill(other, SIGKILL);
  wait_for(other);
  // Alone, the server releases the first pages of others as well.
  REQUIRE(shm::recover_all_dead(*segment, me) == 1);
  const Offset last = take(me, 3, LateReaders::kFirstPage);
  fill(*segment, last, 3, 1);
  give_chunk(me, last, 3 * kExtent);
  REQUIRE(release_extents(me, 0, 10'000, true) >= 3);
  CHECK_FALSE(is_backed(*segment, last));
  check(*segment);
}

TEST_CASE("small chunks, whole extents and runs are taken from released extents before the segment grows") {
  TestSegment segment;
  auto& me = segment.me();
  const Offset at = take(me, kMany, LateReaders::kNone);
  give_chunk(me, at, kMany * kExtent);
  (void)release_extents(me, 0, 10'000, true);
  const std::uint64_t known = segment->committed_extents();
  REQUIRE(count(*segment, ExtentKind::kUnbacked) == known);
  std::vector<std::pair<Offset, std::uint64_t>> taken;
  for (const std::uint64_t bytes : {std::uint64_t{1}, kExtent, 3 * kExtent, std::uint64_t{5000}, 100 * kExtent}) {
    Offset chunk = 0;
    REQUIRE(take_chunk(me, ChunkOwner(7, 0), bytes, chunk) == Status::kOk);
    std::memset(segment->at<std::byte>(chunk), 1, bytes);
    taken.emplace_back(chunk, bytes);
    check(*segment);
  }
  CHECK(commit_ahead(me, 200) == Status::kOk);
  CHECK(segment->header().free_extents.load() >= 200);
  CHECK(segment->committed_extents() == known);
  for (auto [chunk, bytes] : taken) give_chunk(me, chunk, bytes);
  check(*segment);
}

TEST_CASE("what a server that died was releasing is completed by the next one, and by nobody else") {
  TestSegment segment;
  auto& me = segment.me();
  const Offset at = take(me, 10, LateReaders::kNone);
  // As the dead one left them: taken by the releaser, some of them holes already.
  const std::uint64_t first = (at - segment->tables().data) / kExtent;
  for (std::uint64_t e = first; e < first + 10; ++e) {
    extent_entry(*segment, e)
        .store(shm::extent_word(ExtentKind::kWhole, 0, ChunkOwner(shm::kSystemObject, shm::kReleaseArena)));
  }
  shm::repair_extents(*segment);
  CHECK(count(*segment, ExtentKind::kUnbacked) == 0);
  const std::uint64_t free = count(*segment, ExtentKind::kFree);
  shm::finish_release(me);
  CHECK(count(*segment, ExtentKind::kUnbacked) == 10);
  CHECK(count(*segment, ExtentKind::kFree) == free);
  check(*segment);
  CHECK(take(me, free + 10, LateReaders::kNone) != 0);
}

TEST_CASE("released extents that a full file system cannot back are out of memory, and nothing changes") {
  const std::string folder = "/tmp/commonhold-test-release-" + std::to_string(getpid());
  REQUIRE(mkdir(folder.c_str(), 0700) == 0);
  if (mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=16m,mode=0700") != 0) {
    rmdir(folder.c_str());
    WARN("skipped: no permission to mount a small tmpfs");
    return;
  }
  const pid_t child = spawn([&] {
    const auto require = [](bool condition, const char* what) {
      if (!condition) throw std::runtime_error(what);
    };
    auto segment = shm::Segment::create({folder + "/segment", "full", 0});
    auto& me = *segment->here();
    Offset at = 0;
    require(take_chunk(me, ChunkOwner(7, 0), 100 * kExtent, at, LateReaders::kNone) == Status::kOk, "take");
    give_chunk(me, at, 100 * kExtent);
    require(release_extents(me, 0, 1000, true) >= 100, "release");
    // Somebody else takes the room.
    const int other = open((folder + "/other").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    off_t size = 0;
    while (posix_fallocate(other, size, 4096) == 0) size += 4096;
    require(take_chunk(me, ChunkOwner(7, 0), 100 * kExtent, at) == Status::kOutOfMemory, "taken without room");
    require(segment->header().unbacked_extents.load() == count(*segment, ExtentKind::kUnbacked), "miscounted");
    require(ftruncate(other, 0) == 0, "ftruncate");
    require(take_chunk(me, ChunkOwner(7, 0), 100 * kExtent, at) == Status::kOk, "room that came back is not used");
    std::memset(segment->at<std::byte>(at), 1, 100 * kExtent);
  });
  const int status = wait_for(child);
  umount2(folder.c_str(), MNT_DETACH);
  rmdir(folder.c_str());
  CHECK(status == 0);
}
