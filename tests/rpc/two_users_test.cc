// Another user gets neither the socket nor the memory.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>

#include "commonhold/server.h"
#include "rpc/socket.h"
#include "shm/segment.h"
#include "support/process_shared.h"
#include "support/server_ground.h"

using namespace commonhold;

namespace {

constexpr uid_t kNobody = 65534;

bool is_root() {
  if (geteuid() == 0) return true;
  WARN("skipped: only root can become another user");
  return false;
}

void become_nobody() {
  if (setgid(kNobody) != 0 || setuid(kNobody) != 0) throw std::runtime_error("could not become another user");
}

}  // namespace

TEST_CASE("another user finds the folder closed") {
  if (!is_root()) return;
  test::ServerGround ground;
  {
    Server server({.name = "stock"});
    server.start();
    pid_t stranger = test::spawn([&]() {
      become_nobody();
      if (rpc::connect_to_folder(server.folder()) >= 0 || errno != EACCES) throw std::runtime_error("connected");
      try {
        shm::Segment::open(server.folder());
        throw std::runtime_error("opened the segment");
      } catch (const shm::SegmentError& error) {
        if (error.code() != shm::SegmentError::Code::kPermission) throw;
      }
      try {
        rpc::prepare_runtime_root();
        throw std::runtime_error("took the other's root for its own");
      } catch (const rpc::AddressError& error) {
        if (error.code() != rpc::AddressError::Code::kPermission) throw;
      }
    });
    REQUIRE(test::wait_for(stranger) == 0);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a user who gets through to the socket is sent away before a byte is read, root included") {
  if (!is_root()) return;
  test::ServerGround ground;
  std::string home = ground.root() + "/home";
  REQUIRE(chmod(ground.root().c_str(), 0711) == 0);
  REQUIRE(mkdir(home.c_str(), 0700) == 0);
  REQUIRE(chown(home.c_str(), kNobody, kNobody) == 0);
  int done[2];
  REQUIRE(pipe(done) == 0);
  pid_t server_process = test::spawn([&]() {
    become_nobody();
    setenv(rpc::kHomeVariable, home.c_str(), 1);
    Server server({.name = "stock"});
    server.start();
    int own = rpc::connect_to_folder(server.folder());  // the same user is let in
    pollfd end{own, POLLIN, 0};
    if (own < 0 || poll(&end, 1, 200) != 0) throw std::runtime_error("the owner was sent away");
    char byte;
    close(done[1]);
    (void)!read(done[0], &byte, 1);
  });
  std::string folder = home + "/stock";
  REQUIRE(test::eventually([&]() { return access((folder + "/socket").c_str(), F_OK) == 0; }));
  int stranger = rpc::connect_to_folder(folder);  // root may enter any folder
  REQUIRE(stranger >= 0);
  pollfd end{stranger, POLLIN, 0};
  REQUIRE(poll(&end, 1, 10'000) == 1);
  char byte;
  REQUIRE(recv(stranger, &byte, 1, 0) == 0);
  close(stranger);
  close(done[0]);
  close(done[1]);
  REQUIRE(test::wait_for(server_process) == 0);
  rmdir(home.c_str());
  REQUIRE(ground.leftovers() == "");
}
