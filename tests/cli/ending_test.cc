// How servers and managers end by the command: stop, destroy, Ctrl-C, and what the doctor finds and cleans.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "rpc/socket.h"
#include "shm/lock_file.h"
#include "support/foreground_server.h"
#include "support/process_shared.h"
#include "support/require_sentence.h"
#include "support/rpc_client.h"
#include "support/server_ground.h"

using namespace commonhold;
using Catch::Contains;
using Kind = rpc::schema::ObjectKind;
using test::require_sentence;
using test::run_command;

TEST_CASE("a server in the foreground says what happens and ends on Ctrl-C") {
  test::ServerGround ground;
  {
    test::ForegroundServer server("stock");
    REQUIRE_THAT(server.text(), Contains("serving \"stock\" at " + ground.root() + "/stock"));
    pid_t client = test::spawn([&]() {
      auto segment = shm::Segment::open(ground.root() + "/stock");
      (void)segment->here();
      kill(getpid(), SIGKILL);
    });
    test::wait_for(client);
    REQUIRE(server.read_until("what it held was released"));
    REQUIRE_THAT(server.text(), Contains(fmt::format("process {}", client)));
    kill(server.pid(), SIGINT);
    REQUIRE(server.read_until("ended"));
    REQUIRE(server.wait() == 0);
    REQUIRE_THAT(server.text(), Contains("its objects stay for the next server of the name"));
    REQUIRE(run_command({"destroy", "stock"}).status == 0);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a server that is told to end as soon as it is ready ends in good order") {
  test::ServerGround ground;
  for (int i = 0; i < 5; ++i) {
    test::ForegroundServer server("stock");
    kill(server.pid(), SIGTERM);
    CHECK(server.wait() == 0);
  }
  CHECK(run_command({"destroy", "stock"}).status == 0);
}

TEST_CASE("stop leaves a manager's objects to the next server of the name, destroy removes them, served or not") {
  test::ServerGround ground;
  {
    auto address = ground.address("stock");
    auto open = [&]() {
      auto loop = kj::setupAsyncIo();
      test::RpcClient client(loop, address.folder);
      auto session = client.come_in(address);
      return test::open_or_create(client, session, Kind::DICT, "prices", "dict<text,double>").created;
    };
    REQUIRE(run_command({"serve", "--name", "stock"}).status == 0);
    REQUIRE(open());
    auto stopped = run_command({"stop", "stock"});
    REQUIRE(stopped.status == 0);
    REQUIRE_THAT(stopped.out, Contains("its objects stay") && Contains("commonhold serve --name stock"));
    REQUIRE_THAT(run_command({"list", "stock"}).out, Contains("prices"));
    auto twice = run_command({"stop", "stock"});
    require_sentence(twice, 1);
    REQUIRE_THAT(twice.err, Contains("no server runs") && Contains("commonhold destroy stock"));
    REQUIRE(run_command({"serve", "--name", "stock"}).status == 0);
    REQUIRE_FALSE(open());
    REQUIRE(run_command({"stop", "stock"}).status == 0);
    REQUIRE(run_command({"destroy", "stock"}).status == 0);  // without a server
    REQUIRE_FALSE(std::filesystem::exists(address.folder));

    test::AnonymousServer anonymous;
    auto refused = run_command({"stop", anonymous.address().name});
    require_sentence(refused, 1);
    REQUIRE_THAT(refused.err, Contains("ends with its last owner"));
    REQUIRE(run_command({"destroy", anonymous.address().name}).status == 0);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("stop and destroy return also where somebody starts the next server at once") {
  test::ServerGround ground;
  {
    REQUIRE(run_command({"serve", "--name", "stock"}).status == 0);
    auto address = ground.address("stock");
    test::Shared<std::atomic<bool>> looks;
    // Has the server's byte the moment that it is free.
    const pid_t next = test::spawn([&]() {
      auto segment = shm::Segment::open(address.folder);
      *looks = true;
      while (!shm::try_lock_byte(segment->lock_fd(), shm::kServerByte)) {
      }
      for (;;) pause();
    });
    while (!*looks) std::this_thread::yield();
    CHECK(run_command({"stop", "stock"}).status == 0);
    CHECK(test::eventually([&]() { return test::server_pid(address) == next; }));
    kill(next, SIGKILL);
    test::wait_for(next);

    REQUIRE(run_command({"serve", "--name", "stock"}).status == 0);
    *looks = false;
    // Makes files of the same names the moment that they are free.
    const pid_t maker = test::spawn([&]() {
      *looks = true;
      while (mkdir(address.folder.c_str(), 0700) != 0) {
      }
      for (const auto& file : {address.segment_file(), address.locks_file()}) std::ofstream(file) << "another's";
    });
    while (!*looks) std::this_thread::yield();
    REQUIRE(run_command({"destroy", "stock"}).status == 0);
    REQUIRE(test::wait_for(maker) == 0);
    REQUIRE(std::filesystem::file_size(address.segment_file()) == 9);
    std::filesystem::remove_all(address.folder);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("stop and destroy of a server that does not answer fail in time, name its process and say what to do") {
  test::ServerGround ground;
  {
    REQUIRE(run_command({"serve", "--name", "stock"}).status == 0);
    const auto address = ground.address("stock");
    const int server = test::server_pid(address);
    REQUIRE(kill(server, SIGSTOP) == 0);
    std::vector<int> waiting;
    const bool full = GENERATE(false, true);
    // Others wait for the same server: the last one could not even connect.
    while (full && waiting.size() < 5'000) {
      const int socket = rpc::connect_to_folder(address.folder, std::chrono::milliseconds(1));
      if (socket < 0) break;
      waiting.push_back(socket);
    }
    for (const char* command : {"stop", "destroy"}) {
      auto result = run_command({command, "stock", "--timeout", "0.2"});
      require_sentence(result, 1);
      CHECK_THAT(result.err, Contains(fmt::format("process {}", server)) && Contains("0.2 seconds") &&
                                 Contains(fmt::format("kill -CONT {}", server)) &&
                                 Contains(fmt::format("kill -9 {}", server)) && Contains("commonhold destroy stock"));
    }
    for (int socket : waiting) close(socket);
    REQUIRE(kill(server, SIGCONT) == 0);
    REQUIRE(run_command({"stop", "stock"}).status == 0);
    REQUIRE(run_command({"destroy", "stock"}).status == 0);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("destroying a manager with a key of its own needs the key") {
  test::ServerGround ground;
  {
    REQUIRE(run_command({"serve", "--name", "stock"}, {"COMMONHOLD_AUTHKEY=secret"}).status == 0);
    auto without = run_command({"destroy", "stock"});
    require_sentence(without, 1);
    REQUIRE_THAT(without.err, Contains("\"stock\"") && Contains("COMMONHOLD_AUTHKEY"));
    auto wrong = run_command({"destroy", "stock"}, {"COMMONHOLD_AUTHKEY=guess"});
    require_sentence(wrong, 1);
    REQUIRE_THAT(wrong.err, Contains("authkey"));
    REQUIRE(run_command({"destroy", "stock"}, {"COMMONHOLD_AUTHKEY=secret"}).status == 0);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("the doctor finds what servers left, audits it, and cleans only what no server can go on with") {
  test::ServerGround ground;
  {
    REQUIRE_THAT(run_command({"doctor"}).out, Contains("nothing in"));
    for (const char* name : {"dead", "stopped", "orphaned", "alive"})
      REQUIRE(run_command({"serve", "--name", name}).status == 0);
    auto make = [&](const char* name) {
      auto address = ground.address(name);
      auto loop = kj::setupAsyncIo();
      test::RpcClient client(loop, address.folder);
      auto session = client.come_in(address);
      REQUIRE(test::create(client, session, Kind::DICT, "d", "dict<text,text>").created);
    };
    for (const char* name : {"dead", "stopped"}) make(name);
    test::Shared<std::atomic<bool>> joined;
    pid_t client = test::spawn([&]() {
      auto segment = shm::Segment::open(ground.root() + "/orphaned");
      (void)segment->here();
      *joined = true;
      pause();
    });
    REQUIRE(test::eventually([&]() { return joined->load(); }));
    for (const char* name : {"dead", "orphaned"}) {
      test::kill_server(ground.address(name));
    }
    REQUIRE(run_command({"stop", "stopped"}).status == 0);
    const test::AnonymousServer nameless;
    test::kill_server(nameless.address());
    // Its maker was killed before the segment had its name.
    std::filesystem::create_directory(ground.root() + "/unmade");
    std::filesystem::permissions(ground.root() + "/unmade", std::filesystem::perms::owner_all);
    std::ofstream(ground.root() + "/unmade/segment.4711") << "COMHOLD1";
    auto report = run_command({"doctor"});
    INFO(report.out);
    REQUIRE(report.status == 0);
    REQUIRE_THAT(report.out, Contains("alive: served by process") &&
                                 Contains("dead: its server died and nobody uses it: 1 objects") &&
                                 Contains("commonhold destroy dead") &&
                                 Contains("stopped: stopped; its objects wait for the next server (1 objects") &&
                                 Contains("commonhold destroy stopped") &&
                                 Contains(nameless.address().name + ": its server died") &&
                                 Contains("orphaned: its server died, 1 clients go on") &&
                                 Contains("unmade: unfinished") && Contains("--clean"));
    REQUIRE_THAT(report.out, !Contains("unsound"));
    auto cleaned = run_command({"doctor", "--clean"});
    REQUIRE_THAT(cleaned.out,
                 Contains("removed " + nameless.folder()) && Contains("removed " + ground.root() + "/unmade"));
    REQUIRE_FALSE(std::filesystem::exists(nameless.folder()));
    for (const char* name : {"dead", "stopped", "orphaned"})
      REQUIRE(std::filesystem::exists(ground.root() + "/" + name));
    // What was kept is what the next server of the name serves.
    for (const char* name : {"dead", "stopped"}) {
      REQUIRE(run_command({"serve", "--name", name}).status == 0);
      REQUIRE_THAT(run_command({"list", name}).out, Contains("dict<text,text>"));
      REQUIRE(run_command({"stop", name}).status == 0);
      REQUIRE_THAT(run_command({"list"}).out, Catch::Matches(fmt::format("(.|\\n)*{} +stopped(.|\\n)*", name)));
      REQUIRE(run_command({"destroy", name}).status == 0);
    }
    kill(client, SIGKILL);
    test::wait_for(client);
    REQUIRE(run_command({"serve", "--name", "orphaned"}).status == 0);  // adopted
    for (const char* name : {"orphaned", "alive"}) REQUIRE(run_command({"destroy", name}).status == 0);
  }
  REQUIRE(ground.leftovers() == "");
}
