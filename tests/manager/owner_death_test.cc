// Anonymous servers end with the last of their owners, and leave nothing.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>

#include "shm/references.h"
#include "support/managers.h"
#include "support/process_shared.h"

using namespace commonhold;
using Kind = rpc::schema::ObjectKind;
using test::AnonymousServer;

namespace {

// A forked child is killed here, before it has said who it is: what is registered first is done first.
std::atomic<bool> dies_at_birth{false};
const int registered = pthread_atfork(nullptr, nullptr, [] {
  if (!dies_at_birth) return;
  usleep(5000);  // its parent has looked whether it lives
  raise(SIGKILL);
});

}  // namespace

TEST_CASE("an anonymous server ends with its owner, by exit and by kill -9, and leaves nothing") {
  test::ServerGround ground;
  auto how = GENERATE(AnonymousServer::Start::kCommand, AnonymousServer::Start::kOwnImage);
  bool kill_it = GENERATE(false, true);
  {
    test::Shared<std::atomic<bool>> ready;
    pid_t owner = test::spawn([&]() {
      AnonymousServer server(how);
      test::make_object(server.address(), Kind::DICT, "d", "dict<text,text>");
      auto segment = shm::Segment::open(server.folder());
      (void)segment->here();
      *ready = true;
      if (kill_it) pause();
    });
    if (kill_it) {
      REQUIRE(test::eventually([&]() { return ready->load(); }));
      kill(owner, SIGKILL);
    }
    REQUIRE(test::wait_for(owner) == (kill_it ? -SIGKILL : 0));
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("an anonymous server outlives its creator while a forked child or another session lives") {
  test::ServerGround ground;
  {
    test::Shared<std::atomic<int>> step;
    std::string folder;
    {
      AnonymousServer server;
      folder = server.folder();
      pid_t child = test::spawn([&]() {  // has the lifeline too
        *step = 1;
        while (*step == 1) usleep(100);
      });
      REQUIRE(test::eventually([&]() { return *step == 1; }));
      server.let_go();
      usleep(50'000);
      REQUIRE(test::server_pid(rpc::existing_address(folder)) != 0);
      *step = 2;
      REQUIRE(test::wait_for(child) == 0);
      REQUIRE(test::eventually([&]() { return !std::filesystem::exists(folder); }));
    }
    {
      AnonymousServer server;
      folder = server.folder();
      std::string other = folder;
      *step = 0;
      pid_t stranger = test::spawn([&]() {  // a session alone
        server.let_go();
        auto segment = shm::Segment::open(other);
        if (segment->here() == nullptr) throw std::runtime_error("not joined");
        *step = 1;
        while (*step == 1) usleep(100);
      });
      REQUIRE(test::eventually([&]() { return *step == 1; }));
      server.let_go();
      usleep(50'000);
      REQUIRE(std::filesystem::exists(folder));
      kill(stranger, SIGKILL);
      test::wait_for(stranger);
      REQUIRE(test::eventually([&]() { return !std::filesystem::exists(folder); }));
    }
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("an anonymous server ends with its owner at once, also when a child of it was killed before it ran") {
  REQUIRE(registered == 0);
  test::ServerGround ground;
  std::string folder;
  {
    AnonymousServer server;
    folder = server.folder();
    pid_t owner = test::spawn([&]() {
      auto segment = shm::Segment::open(folder);
      auto made = test::make_object(server.address(), Kind::DICT, "d", "dict<text,text>");
      if (shm::add_reference(*segment, made.id) != shm::Status::kOk) throw std::runtime_error("no reference");
      dies_at_birth = true;
      if (test::wait_for(fork()) != -SIGKILL) throw std::runtime_error("the child lived");
    });
    REQUIRE(test::wait_for(owner) == 0);
  }
  // The server looks at everything every five seconds: that is not what it waits for.
  const auto begin = std::chrono::steady_clock::now();
  REQUIRE(test::eventually([&]() { return !std::filesystem::exists(folder); }));
  REQUIRE(std::chrono::steady_clock::now() - begin < std::chrono::seconds(4));
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a terminal's Ctrl-C does not end an anonymous server, SIGTERM does and cleans up") {
  test::ServerGround ground;
  {
    AnonymousServer server;
    int pid = test::server_pid(server.address());
    REQUIRE(pid > 1);
    REQUIRE(getsid(pid) == pid);  // no terminal of ours
    kill(pid, SIGINT);
    usleep(20'000);
    test::make_object(server.address(), Kind::DICT, "d", "dict<text,text>");
    kill(pid, SIGTERM);
    REQUIRE(test::eventually([&]() { return !std::filesystem::exists(server.folder()); }));
  }
  REQUIRE(ground.leftovers() == "");
}
