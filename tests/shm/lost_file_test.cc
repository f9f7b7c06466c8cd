// A segment's file that is truncated under a process ends it with a word; what is not the segment's is left alone.
#include "shm/lost_file.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "support/captured_output.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

void ignore_bus_error(int) {}

}  // namespace

// The first of all: nothing was mapped here before.
TEST_CASE("a program's own handler of bus errors stays") {
  const int status = wait_for(spawn([&] {
    struct sigaction own {
    }, found{};
    own.sa_handler = &ignore_bus_error;
    sigaction(SIGBUS, &own, nullptr);
    const std::byte byte{};
    shm::watch_mapping(&byte, 1, "nothing");
    sigaction(SIGBUS, nullptr, &found);
    if (found.sa_handler != &ignore_bus_error) throw std::runtime_error("replaced");
  }));
  CHECK(status == 0);
}

TEST_CASE("a process whose segment was truncated says so before it ends") {
  const std::string folder = "/dev/shm/commonhold-lost-" + std::to_string(getpid()), path = folder + "/segment";
  int status = 0;
  const std::string said = output_of(STDERR_FILENO, [&] {
    status = wait_for(spawn([&] {
      const auto segment = shm::Segment::create({folder, "lost", 8u << 20});
      if (segment->here() == nullptr) throw std::runtime_error("not joined");
      if (truncate(path.c_str(), 4096) != 0) throw std::runtime_error("cannot truncate");
      segment->leave();
    }));
  });
  std::filesystem::remove_all(folder);
  INFO(said);
  CHECK(status == -SIGBUS);
  CHECK(said.find(path) != std::string::npos);
  CHECK(said.find("somebody has truncated the file") != std::string::npos);
}

TEST_CASE("a bus error in other memory ends the process without a word of ours") {
  TestSegment segment(8u << 20);
  int status = 0;
  const std::string said = output_of(STDERR_FILENO, [&] {
    status = wait_for(spawn([&] {
      const int fd = memfd_create("other", 0);
      auto* bytes = static_cast<volatile char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
      bytes[0] = 1;
    }));
  });
  CHECK(status == -SIGBUS);
  CHECK(said.find("commonhold: ") == std::string::npos);
}

TEST_CASE("a bus error that is sent ends the process without a word of ours") {
  TestSegment segment(8u << 20);
  int status = 0;
  const std::string said = output_of(STDERR_FILENO, [&] { status = wait_for(spawn([&] { raise(SIGBUS); })); });
  CHECK(status == -SIGBUS);
  CHECK(said.find("commonhold: ") == std::string::npos);
}
