// Starts and joins that cannot work say why in words, and what to do.
#include <commonhold/commonhold.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "support/manager_home.h"
#include "support/process_shared.h"

using namespace commonhold;
using Catch::Contains;
using test::Environment;
using test::ManagerHome;

namespace {

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "worked";
}

// What the work says in a child whose limits it may lower: the error's words, or "worked", and behind it what came out
// on standard error.
std::string said_in_child(const std::string& place, const std::function<void()>& work) {
  const std::string said = place + ".said", errors = place + ".errors";
  pid_t child = test::spawn([&] {
    const int out = open(said.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int err = open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(err, 2);
    close(err);
    const std::string text = error_of(work);
    if (write(out, text.data(), text.size()) != static_cast<ssize_t>(text.size())) _exit(3);
  });
  const int status = test::wait_for(child);
  std::string all;
  for (const std::string& path : {said, errors}) {
    std::ifstream file(path);
    all.append(std::istreambuf_iterator<char>(file), {});
    std::filesystem::remove(path);
  }
  return status == 0 ? all : "exit status " + std::to_string(status) + ": " + all;
}

}  // namespace

TEST_CASE("a server program that cannot be loaded is named with its exit status in words") {
  ManagerHome home;
  const std::string script = home.folder() + "-script";
  std::ofstream(script) << "#!/bin/sh\nexit 127\n";
  REQUIRE(chmod(script.c_str(), 0700) == 0);
  Environment server("COMMONHOLD_SERVER", script);
  CHECK_THAT(error_of([] { Manager manager; }),
             Contains(script) && Contains("exit status 127") && Contains("not found"));
  std::ofstream(script) << "#!/bin/sh\nkill -9 $$\n";
  CHECK_THAT(error_of([] { Manager manager; }), Contains("killed by signal 9"));
  std::filesystem::remove(script);
}

TEST_CASE("a place for managers that cannot be made names the variable that chooses another") {
  Environment home("COMMONHOLD_HOME", "/nowhere/at/all");
  CHECK_THAT(error_of([] { Manager manager; }), Contains("/nowhere/at/all") && Contains("set COMMONHOLD_HOME"));
  CHECK_THAT(error_of([] { Manager::start({.name = "stock"}); }), Contains("set COMMONHOLD_HOME"));
}

TEST_CASE("an empty name of an object is refused, and nothing is made") {
  ManagerHome home;
  Manager manager;
  CHECK_THROWS_AS((manager.dict<int, int>(named(""))), NameError);
  CHECK_THROWS_AS((manager.create<Lock>("")), NameError);
  CHECK_THROWS_AS((manager.open<Lock>("")), NameError);
  CHECK(manager.objects().empty());
}

TEST_CASE("a want of descriptors is told as that, and nobody is advised to remove a manager") {
  ManagerHome home;
  Manager host = Manager::start({.name = "stock"});
  host.list<int>(named("numbers")).push_back(1);
  bool refused = false, worked = false;
  for (unsigned spare = 0; spare < 24; ++spare) {
    const std::string said = said_in_child(home.folder(), [&] {
      const auto open_now = static_cast<rlim_t>(
          std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator()));
      const rlimit few{open_now - 1 + spare, open_now - 1 + spare};
      // The numbers in use need not be the lowest: those between count as spare.
      if (setrlimit(RLIMIT_NOFILE, &few) != 0) _exit(4);
      Manager::connect("stock").open<List<int>>("numbers").push_back(2);
    });
    INFO("spare " << spare << ": " << said);
    if (said == "worked") {
      worked = true;
      break;
    }
    refused = true;
    CHECK_THAT(said, Contains("Too many open files") && !Contains("remove") && !Contains("stack:"));
  }
  CHECK(refused);
  CHECK(worked);
  host.shutdown();
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("a program with a limited address space gets a manager that fits into it") {
  ManagerHome home;
  for (std::uint64_t memory_limit : {std::uint64_t{0}, std::uint64_t{64} << 20}) {
    CHECK(said_in_child(home.folder(), [&] {
            const rlimit space{rlim_t{4} << 30, rlim_t{4} << 30};
            if (setrlimit(RLIMIT_AS, &space) != 0) _exit(4);
            StartOptions options;
            options.memory_limit = memory_limit;
            auto manager = Manager::start(options);
            auto texts = manager.list<std::string>({std::string(1 << 20, 'x')});
            if (texts.size() != 1) _exit(5);
          }) == "worked");
  }
  CHECK_THAT(said_in_child(home.folder(),
                           [&] {
                             const rlimit space{rlim_t{4} << 30, rlim_t{4} << 30};
                             if (setrlimit(RLIMIT_AS, &space) != 0) _exit(4);
                             Manager::start({.memory_limit = std::uint64_t{8} << 30});
                           }),
             Contains("ulimit -v") && Contains("memory_limit"));
}
#endif

TEST_CASE("a manager of another user's is refused with both users' numbers") {
  if (geteuid() != 0) {
    WARN("skipped: only root can give a folder away");
    return;
  }
  ManagerHome home;
  auto manager = Manager::start({.name = "stock"});
  REQUIRE(chown(manager.folder().c_str(), 65534, 65534) == 0);
  CHECK_THAT(error_of([] { Manager::connect("stock"); }),
             Contains("belongs to user 65534") && Contains("runs as user 0"));
  REQUIRE(chown(manager.folder().c_str(), 0, 0) == 0);
  manager.shutdown();
}
