// A client that takes memory which has to be backed first: others go on meanwhile, and whatever they do, what it gets
// is backed. This program has a posix_fallocate of its own, in the middle of which others are at work.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <utility>

#include "shm/extents.h"
#include "shm/extents_release.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

namespace {

// Called behind each call for 1 MiB or more, once: with none inside of itself.
std::function<void()> meanwhile;

}  // namespace

int posix_fallocate(int fd, off_t offset, off_t length) {
  const int error = syscall(SYS_fallocate, fd, 0, offset, length) == 0 ? 0 : errno;
  if (length >= 1 << 20 && meanwhile) {
    const auto call = std::exchange(meanwhile, nullptr);
    call();
  }
  return error;
}

using namespace commonhold;
using namespace commonhold::test;
using shm::ChunkOwner;
using shm::kExtent;
using shm::LateReaders;
using shm::Offset;
using shm::Status;

namespace {

constexpr std::uint64_t kRun = 64;  // extents: 4 MiB

Offset take(shm::ThreadContext& me, std::uint64_t extents) {
  Offset at = 0;
  REQUIRE(take_chunk(me, ChunkOwner(7, 0), extents * kExtent, at, LateReaders::kNone) == Status::kOk);
  return at;
}

// A run of extents that went back to the system; where it is.
Offset released_run(const TestSegment& segment) {
  auto& me = segment.me();
  const Offset at = take(me, kRun);
  give_chunk(me, at, kRun * kExtent);
  REQUIRE(release_extents(me, 0, 10 * kRun, false) >= kRun);
  return at;
}

// Writing to it takes nothing of the file system that it had not taken before.
bool is_backed(const shm::Segment& segment, Offset at, std::uint64_t extents) {
  const auto blocks = [&] {
    struct stat status {};
    REQUIRE(fstat(segment.memory_fd(), &status) == 0);
    return status.st_blocks;
  };
  const auto before = blocks();
  std::memset(segment.at<std::byte>(at), 2, extents * kExtent);
  return blocks() == before;
}

// In a process of its own.
template <typename Body>
void elsewhere(Body&& body) {
  REQUIRE(wait_for(spawn(std::forward<Body>(body))) == 0);
}

void require(bool condition, const char* what) {
  if (!condition) throw std::runtime_error(what);
}

}  // namespace

TEST_CASE("others take and give memory while a client backs what it takes, released before or new") {
  TestSegment segment;
  auto& me = segment.me();
  released_run(segment);
  int others = 0;
  const auto other_is_not_held_up = [&] {
    elsewhere([&] {
      Offset chunk = 0;
      const auto soon = shm::Deadline::after(std::chrono::seconds(5));
      require(take_chunk_in_time(segment.me(), ChunkOwner(8, 0), 1024, soon, chunk) == Status::kOk, "held up");
      give_chunk(segment.me(), chunk, 1024);
    });
    ++others;
  };
  meanwhile = other_is_not_held_up;
  const Offset released = take(me, kRun);
  CHECK(others == 1);
  CHECK(is_backed(*segment, released, kRun));
  meanwhile = other_is_not_held_up;
  const Offset fresh = take(me, 4 * kRun);
  CHECK(others == 2);
  CHECK(is_backed(*segment, fresh, 4 * kRun));
}

TEST_CASE("a run that others take while it is backed is theirs, and the client gets another") {
  TestSegment segment;
  auto& me = segment.me();
  const Offset run = released_run(segment);
  Shared<Offset> theirs;
  meanwhile = [&] {
    elsewhere([&] {
      *theirs = take(segment.me(), kRun);
      std::memset(segment->at<std::byte>(*theirs), 1, kRun * kExtent);
    });
  };
  const Offset mine = take(me, kRun);
  CHECK(*theirs == run);
  CHECK((mine >= run + kRun * kExtent || mine + kRun * kExtent <= run));
  CHECK(is_backed(*segment, mine, kRun));
}

TEST_CASE("a run that others take, give back and release while it is backed is backed again") {
  TestSegment segment;
  auto& me = segment.me();
  const Offset run = released_run(segment);
  meanwhile = [&] { elsewhere([&] { require(released_run(segment) == run, "another run"); }); };
  const Offset mine = take(me, kRun);
  CHECK(meanwhile == nullptr);
  CHECK(is_backed(*segment, mine, kRun));
}

TEST_CASE("a client that dies after it has backed a run leaves the run to others") {
  TestSegment segment;
  const Offset run = released_run(segment);
  const pid_t client = spawn([&] {
    meanwhile = [] { kill(getpid(), SIGKILL); };
    (void)take(segment.me(), kRun);
  });
  CHECK(wait_for(client) == -SIGKILL);
  const Offset mine = take(segment.me(), kRun);
  CHECK(mine == run);
  CHECK(is_backed(*segment, mine, kRun));
}
