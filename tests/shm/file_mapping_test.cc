#include "shm/file_mapping.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "shm/segment.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;

TEST_CASE("a program that locks its future memory backs no more of a segment than it uses") {
  const std::string folder = "/dev/shm/commonhold-mapping-" + std::to_string(getpid());
  test::Shared<long> mebibytes;
  *mebibytes = -1;
  pid_t child = test::spawn([&] {
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) return;
    const auto segment = shm::Segment::create({folder, "locked", 64 << 20});
    if (segment->here() == nullptr) throw std::runtime_error("not joined");
    struct stat status;
    if (fstat(segment->memory_fd(), &status) != 0) throw std::runtime_error("fstat failed");
    *mebibytes = status.st_blocks / 2048;
  });
  const int status = test::wait_for(child);
  for (const char* file : {"segment", "locks", "bell"}) unlink((folder + "/" + file).c_str());
  rmdir(folder.c_str());
  REQUIRE(status == 0);
  if (*mebibytes < 0) {
    WARN("skipped: this user may not lock memory");
    return;
  }
  CHECK(*mebibytes < 16);
}
