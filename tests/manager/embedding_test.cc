// A server inside a program that has a life of its own: forks, signals.
#include "commonhold/server.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>

#include "support/process_shared.h"
#include "support/rpc_client.h"
#include "support/server_ground.h"

using namespace commonhold;

TEST_CASE("a program that forks keeps its server, and the child's copy of it does nothing") {
  test::ServerGround ground;
  {
    Server server({.name = "stock"});
    server.start();
    pid_t child = test::spawn([&]() {
      if (server.running()) throw std::runtime_error("the child believes that it serves");
      server.shutdown();
      server.wait();
    });
    REQUIRE(test::wait_for(child) == 0);
    REQUIRE(server.running());
    auto loop = kj::setupAsyncIo();
    test::RpcClient(loop, server.folder()).come_in(ground.address("stock"));
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("the children of a program with a server do not keep its connections open beyond its death") {
  test::ServerGround ground;
  {
    test::Shared<std::atomic<int>> step;
    pid_t program = test::spawn([&]() {
      Server server({.name = "stock"});
      server.start();
      *step = 1;
      while (*step != 2) usleep(100);
      if (fork() == 0) {
        *step = 3;
        while (*step != 4) usleep(100);
        _exit(0);
      }
      pause();
    });
    REQUIRE(test::eventually([&]() { return *step == 1; }));
    auto loop = kj::setupAsyncIo();
    test::RpcClient client(loop, ground.root() + "/stock");
    auto session = client.come_in(ground.address("stock"));
    *step = 2;
    REQUIRE(test::eventually([&]() { return *step == 3; }));
    kill(program, SIGKILL);
    REQUIRE(test::wait_for(program) == -SIGKILL);
    client.wait_for_disconnect();
    REQUIRE(rpc::connect_to_folder(ground.root() + "/stock") < 0);
    Server successor({.name = "stock"});
    successor.start();
    *step = 4;
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a program's setting for SIGPIPE is its own") {
  test::ServerGround ground;
  {
    signal(SIGPIPE, SIG_DFL);
    Server server;
    server.start();
    {
      auto loop_client = test::spawn([&]() {
        auto loop = kj::setupAsyncIo();
        test::RpcClient(loop, server.folder()).come_in(rpc::existing_address(server.folder()));
      });
      REQUIRE(test::wait_for(loop_client) == 0);
    }
    struct sigaction action;
    REQUIRE(sigaction(SIGPIPE, nullptr, &action) == 0);
    REQUIRE(action.sa_handler == SIG_DFL);
  }
  REQUIRE(ground.leftovers() == "");
}
