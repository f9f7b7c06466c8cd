#include "rpc/address.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "rpc/folder_removal.h"
#include "shm/layout.h"
#include "shm/lock_file.h"
#include "support/process_shared.h"
#include "support/server_ground.h"

using namespace commonhold;
using namespace commonhold::rpc;

namespace {

std::string refusal(const std::string& name) {
  try {
    address_of(name);
  } catch (const AddressError& error) {
    REQUIRE(error.code() == AddressError::Code::kInvalid);
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("a name of letters, digits, dots, underscores and dashes has a folder below the root") {
  test::ServerGround ground;
  for (const std::string& name : std::vector<std::string>{"a", "stock", "A-z_0.9", "9lives", std::string(63, 'n')}) {
    ManagerAddress address = address_of(name);
    REQUIRE(address.name == name);
    REQUIRE(address.folder == ground.root() + "/" + name);
    REQUIRE(address.socket_file() == address.folder + "/socket");
    REQUIRE_FALSE(address.is_anonymous());
  }
}

TEST_CASE("a bad name is refused with the name and what to do") {
  using Catch::Contains;
  REQUIRE_THAT(refusal(""), Contains("\"\"") && Contains("1 to 63"));
  REQUIRE_THAT(refusal(".hidden"), Contains("\".hidden\"") && Contains("begin with a letter"));
  REQUIRE_THAT(refusal("two words"), Contains("\"two words\"") && Contains("A-Z a-z 0-9"));
  REQUIRE_THAT(refusal("gr\xc3\xbc\xc3\x9f"), Contains("A-Z a-z 0-9"));
  REQUIRE_THAT(refusal(std::string(64, 'n')), Contains("64 characters") && Contains("63 are allowed"));
  REQUIRE_THAT(refusal("anonymous-1"), Contains("\"anonymous-1\"") && Contains("choose another"));
  REQUIRE(existing_address("anonymous-1").is_anonymous());
}

TEST_CASE("what has a slash in it is a folder") {
  REQUIRE(address_of("/tmp/some/place/").folder == "/tmp/some/place");
  REQUIRE(address_of("/tmp/some/place").name == "place");
  REQUIRE(address_of("./here").folder == std::filesystem::current_path().string() + "/./here");
  REQUIRE_THAT(refusal("/"), Catch::Contains("a folder of its own"));
}

TEST_CASE("the runtime root is below /dev/shm with the user's number, or where COMMONHOLD_HOME says") {
  test::ServerGround ground;
  REQUIRE(runtime_root() == ground.root());
  unsetenv(kHomeVariable);
  REQUIRE(runtime_root() == "/dev/shm/commonhold-" + std::to_string(geteuid()));
  setenv(kHomeVariable, "relative", 1);
  REQUIRE_THROWS_WITH(runtime_root(), Catch::Contains("COMMONHOLD_HOME") && Catch::Contains("\"relative\""));
}

TEST_CASE("a root that is open to others, a file, or a link is refused") {
  test::ServerGround ground;
  prepare_runtime_root();
  chmod(ground.root().c_str(), 0755);
  REQUIRE_THROWS_WITH(prepare_runtime_root(), Catch::Contains("chmod 700 " + ground.root()));
  chmod(ground.root().c_str(), 0700);
  std::string file = ground.root() + "/file", link = ground.root() + "/link";
  std::ofstream(file) << "x";
  setenv(kHomeVariable, file.c_str(), 1);
  REQUIRE_THROWS_WITH(prepare_runtime_root(), Catch::Contains("not a folder"));
  REQUIRE(symlink(ground.root().c_str(), link.c_str()) == 0);
  setenv(kHomeVariable, link.c_str(), 1);
  REQUIRE_THROWS_WITH(prepare_runtime_root(), Catch::Contains("not a folder"));
}

TEST_CASE("a root of another user is refused") {
  if (geteuid() != 0) {
    WARN("skipped: only root can make a folder of another user's");
    return;
  }
  test::ServerGround ground;
  REQUIRE(chown(ground.root().c_str(), 65534, 65534) == 0);
  REQUIRE_THROWS_WITH(prepare_runtime_root(), Catch::Contains("belongs to user 65534") && Catch::Contains("user 0"));
}

TEST_CASE("removing a folder takes a manager's files and leaves others alone") {
  test::ServerGround ground;
  ManagerAddress address = address_of("stock");
  prepare_folder(address);
  for (const char* file : {"segment", "segment.4711", "locks", "bell", "socket", "authkey"}) {
    std::ofstream(address.folder + "/" + file) << "x";
  }
  REQUIRE(managers_of_user().size() == 1);
  REQUIRE(remove_folder(address));
  REQUIRE(remove_folder(address));  // gone is gone
  REQUIRE(ground.leftovers() == "");

  ManagerAddress given = address_of(ground.root() + "/given");
  prepare_folder(given);
  std::ofstream(given.folder + "/segment") << "x";
  std::ofstream(given.folder + "/segments.txt") << "a file of the user's";
  REQUIRE_FALSE(remove_folder(given));
  REQUIRE(std::filesystem::exists(given.folder + "/segments.txt"));
  REQUIRE_FALSE(std::filesystem::exists(given.segment_file()));
}

TEST_CASE("the kernel tells who serves a folder and whether clients live") {
  test::ServerGround ground;
  ManagerAddress address = address_of("stock");
  prepare_folder(address);
  REQUIRE(occupants_of(address).server_pid == 0);
  test::Shared<std::atomic<int>> step;
  auto occupant = [&](std::uint64_t byte, std::uint64_t other) {
    return test::spawn([&, byte, other]() {
      int file = open(address.locks_file().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
      if (!shm::try_lock_byte(file, byte) || !shm::try_lock_byte(file, other)) throw std::runtime_error("taken");
      ++*step;
      pause();
    });
  };
  pid_t server = occupant(shm::kServerByte, shm::kSessionByte);
  REQUIRE(test::eventually([&]() { return *step == 1; }));
  REQUIRE(occupants_of(address).server_pid == server);
  REQUIRE_FALSE(occupants_of(address).has_clients);  // the server's own session is none
  pid_t client = occupant(shm::kSessionByte + 1, shm::kSessionByte + 2047);
  REQUIRE(test::eventually([&]() { return *step == 2; }));
  REQUIRE(occupants_of(address).has_clients);
  kill(server, SIGKILL);
  test::wait_for(server);
  REQUIRE(occupants_of(address).server_pid == 0);
  REQUIRE(occupants_of(address).has_clients);
  kill(client, SIGKILL);
  test::wait_for(client);
  REQUIRE_FALSE(occupants_of(address).has_clients);
}
