// A segment's files when the program closes their descriptors.
#include "shm/kept_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "shm/liveness.h"
#include "shm/lock_file.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

// Closes the segment's descriptors and puts the program's own files in their places.
std::vector<int> replace_descriptors(const TestSegment& segment) {
  std::vector<int> own;
  for (int fd : {segment->memory_fd(), segment->lock_fd(), segment->bell_fd()}) {
    const int file = memfd_create("own", MFD_CLOEXEC);
    if (dup2(file, fd) != fd) throw std::runtime_error("dup2 failed");
    close(file);
    own.push_back(fd);
  }
  return own;
}

bool are_empty(const std::vector<int>& files) {
  for (int file : files) {
    struct stat status {};
    if (fstat(file, &status) != 0 || status.st_size != 0) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("memory is committed through the segment's file, whatever its descriptor stands for by now") {
  TestSegment segment;
  (void)segment.me();
  const std::vector<int> own = replace_descriptors(segment);
  shm::Offset chunk = 0;
  CHECK(take_chunk(segment.me(), shm::ChunkOwner(9, 0), 8u << 20, chunk) == Status::kOk);
  segment->ring_bell();
  CHECK(are_empty(own));
  for (int fd : own) close(fd);
}

TEST_CASE("a session's byte that was lost with the lock file's descriptor is locked again") {
  TestSegment segment;
  (void)segment.me();
  const std::uint64_t byte = shm::kSessionByte + shm::index_of(segment->session_index());
  const auto is_locked = [&] {
    return wait_for(spawn([&] {
             if (!shm::byte_is_locked(segment->lock_fd(), byte)) throw std::runtime_error("the byte is free");
           })) == 0;
  };
  CHECK(is_locked());
  const std::vector<int> own = replace_descriptors(segment);
  segment->ring_bell();
  CHECK(is_locked());
  CHECK(are_empty(own));
  for (int fd : own) close(fd);
}

TEST_CASE("a segment's file that was closed and cannot be opened again is a status of its own") {
  TestSegment segment;
  (void)segment.me();
  const std::vector<int> own = replace_descriptors(segment);
  std::filesystem::rename(segment.folder() + "/segment", segment.folder() + "/moved");
  shm::Offset chunk = 0;
  CHECK(segment->memory_fd() == -1);
  CHECK(take_chunk(segment.me(), shm::ChunkOwner(9, 0), 8u << 20, chunk) == Status::kNoFile);
  std::filesystem::rename(segment.folder() + "/moved", segment.folder() + "/segment");
  CHECK(take_chunk(segment.me(), shm::ChunkOwner(9, 0), 8u << 20, chunk) == Status::kOk);
  CHECK(are_empty(own));
  for (int fd : own) close(fd);
}

TEST_CASE("a process without its lock file does not join") {
  TestSegment segment;
  segment->leave();
  const std::vector<int> own = replace_descriptors(segment);
  std::filesystem::rename(segment.folder() + "/locks", segment.folder() + "/moved");
  CHECK(segment->here() == nullptr);
  CHECK(segment->join_failure() == Status::kNoFile);
  std::filesystem::rename(segment.folder() + "/moved", segment.folder() + "/locks");
  CHECK(segment->here() != nullptr);
  for (int fd : own) close(fd);
}
