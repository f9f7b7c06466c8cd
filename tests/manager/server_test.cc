// One server: start and stop, names, types, keys, memory, and what a client may rely on (rpc/commonhold.capnp).
#include "commonhold/server.h"

#include <fmt/format.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "shm/references.h"
#include "support/process_shared.h"
#include "support/rpc_client.h"
#include "support/server_ground.h"

using namespace commonhold;
using Code = rpc::schema::Failure::Code;
using Kind = rpc::schema::ObjectKind;

TEST_CASE("a server starts, lets clients in, and leaves nothing when it stops") {
  test::ServerGround ground;
  Server server({.name = "stock"});
  REQUIRE_FALSE(server.running());
  server.start();
  REQUIRE(server.running());
  REQUIRE(server.name() == "stock");
  REQUIRE(server.folder() == ground.root() + "/stock");
  {
    auto loop = kj::setupAsyncIo();
    test::RpcClient client(loop, server.folder());
    auto key = rpc::key_for_client(ground.address("stock"), std::nullopt);
    REQUIRE(key);
    auto answer = client.knock(*key);
    auto& admitted = std::get<rpc::Admitted>(*answer);
    REQUIRE(admitted.name == "stock");
    REQUIRE(admitted.pid == static_cast<std::uint32_t>(getpid()));
    REQUIRE(admitted.folder == server.folder());
    REQUIRE(admitted.starts == 1);
    REQUIRE_FALSE(admitted.anonymous);
    REQUIRE(admitted.layout_hash == shm::layout_hash());
    REQUIRE(admitted.nonce == shm::Segment::open(server.folder())->header().nonce);
  }
  server.shutdown();
  REQUIRE_FALSE(server.running());
  REQUIRE(ground.leftovers() == "");
  server.start();  // and again
  server.shutdown();
  server.shutdown();
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a server without a name gets one of its own") {
  test::ServerGround ground;
  {
    Server first, second;
    first.start();
    second.start();
    REQUIRE(first.name() != second.name());
    REQUIRE_THAT(first.name(), Catch::StartsWith(fmt::format("anonymous-{}-", getpid())));
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a folder can be given in place of a name, however long its path") {
  test::ServerGround ground;
  std::string folder = ground.root() + "/" + std::string(100, 'd') + "/";
  std::filesystem::create_directory(folder);
  std::filesystem::permissions(folder, std::filesystem::perms::owner_all);
  {
    Server server({.name = folder + "manager"});
    server.start();
    auto loop = kj::setupAsyncIo();
    test::RpcClient client(loop, server.folder());
    auto session = client.come_in(rpc::existing_address(server.folder()));
    REQUIRE(test::create(client, session, Kind::DICT, "d", "dict<text,text>").created);
  }
  std::filesystem::remove(folder);
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("bad names, sizes and keys are refused in a sentence that names them") {
  test::ServerGround ground;
  auto refused = [](ServerOptions options) {
    Server server(std::move(options));
    try {
      server.start();
    } catch (const ServerError& error) {
      REQUIRE(error.code() == ServerError::Code::kInvalid);
      return std::string(error.what());
    }
    return std::string("started");
  };
  REQUIRE_THAT(refused({.name = "no spaces"}), Catch::Contains("\"no spaces\""));
  REQUIRE_THAT(refused({.name = "stock", .memory_limit = 1000}), Catch::Contains("1000 bytes"));
  REQUIRE_THAT(refused({.name = "stock", .authkey = ""}), Catch::Contains("at least one byte"));
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a second server of a name is told who serves it, in the same process and in another") {
  test::ServerGround ground;
  {
    Server server({.name = "stock"});
    server.start();
    auto second_start = []() {
      Server second({.name = "stock"});
      try {
        second.start();
      } catch (const ServerError& error) {
        if (error.code() != ServerError::Code::kAlreadyRunning) throw;
        return std::string(error.what());
      }
      throw std::runtime_error("two servers of one name");
    };
    REQUIRE_THAT(second_start(), Catch::Contains("\"stock\"") && Catch::Contains(fmt::format("process {}", getpid())));
    pid_t other = test::spawn([&, pid = getpid()]() {
      if (second_start().find(fmt::format("process {}", pid)) == std::string::npos)
        throw std::runtime_error("wrong message");
    });
    REQUIRE(test::wait_for(other) == 0);
    REQUIRE_THROWS_AS(server.start(), ServerError);
    auto loop = kj::setupAsyncIo();  // the first is unharmed
    test::RpcClient(loop, server.folder()).come_in(ground.address("stock"));
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("objects are made, opened, listed and removed; a name is taken until it is removed") {
  test::ServerGround ground;
  {
    Server server({.name = "stock"});
    server.start();
    auto loop = kj::setupAsyncIo();
    test::RpcClient client(loop, server.folder());
    auto session = client.come_in(ground.address("stock"));
    auto made = test::create(client, session, Kind::DICT, "d", "dict<text,int64>");
    REQUIRE_FALSE(made.failure);
    REQUIRE(made.created);
    auto segment = shm::Segment::open(server.folder());
    REQUIRE(shm::object_control(*segment, made.id) == made.control);

    auto again = test::create(client, session, Kind::DICT, "d", "dict<text,int64>");
    REQUIRE(again.failure == Code::EXISTS);
    REQUIRE_THAT(again.message, Catch::Contains("\"d\"") && Catch::Contains("dict<text,int64>"));
    REQUIRE(test::open(client, session, "d", Kind::DICT, "dict<text,int64>").id == made.id);
    REQUIRE(test::open(client, session, "d", Kind::NONE, "").signature == "dict<text,int64>");
    auto joint = test::open_or_create(client, session, Kind::DICT, "d", "dict<text,int64>");
    REQUIRE(joint.id == made.id);
    REQUIRE_FALSE(joint.created);
    REQUIRE(test::open_or_create(client, session, Kind::LOCK, "l", "lock").created);
    REQUIRE(test::open_by_id(client, session, made.id).control == made.control);

    auto list = session.listRequest().send().wait(loop.waitScope);
    REQUIRE(list.getObjects().size() == 2);
    REQUIRE(list.getObjects()[0].getName() == "d");
    REQUIRE(list.getObjects()[0].getBytes() > 0);
    REQUIRE(list.getNext() == 0);
    auto page = session.listRequest();
    page.setLimit(1);
    auto first = page.send().wait(loop.waitScope);
    REQUIRE(first.getObjects().size() == 1);
    REQUIRE(first.getNext() == first.getObjects()[0].getId().getIndex());

    REQUIRE_FALSE(test::remove(client, session, "d"));
    REQUIRE(test::remove(client, session, "d") == Code::NOT_FOUND);
    auto missing = test::open(client, session, "d", Kind::DICT, "dict<text,int64>");
    REQUIRE(missing.failure == Code::NOT_FOUND);
    REQUIRE_THAT(missing.message, Catch::Contains("\"d\""));
    REQUIRE(test::create(client, session, Kind::LIST, "d", "list<int64>").created);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("the server refuses an object that is opened as another type, and names both") {
  test::ServerGround ground;
  {
    Server server({.name = "stock"});
    server.start();
    auto loop = kj::setupAsyncIo();
    test::RpcClient client(loop, server.folder());
    auto session = client.come_in(ground.address("stock"));
    auto made = test::create(client, session, Kind::DICT, "d", "dict<text,int64>");
    auto by_signature = test::open(client, session, "d", Kind::DICT, "dict<text,text>");
    REQUIRE(by_signature.failure == Code::TYPE_MISMATCH);
    REQUIRE_THAT(by_signature.message, Catch::Contains("dict<text,int64>") && Catch::Contains("dict<text,text>"));
    auto by_kind = test::open_or_create(client, session, Kind::LIST, "d", "list<int64>");
    REQUIRE(by_kind.failure == Code::TYPE_MISMATCH);
    REQUIRE_THAT(by_kind.message, Catch::Contains("dict<text,int64>") && Catch::Contains("list<int64>"));
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("requests that make no sense fail with a word that says so") {
  test::ServerGround ground;
  {
    Server server({.name = "stock"});
    server.start();
    auto loop = kj::setupAsyncIo();
    test::RpcClient client(loop, server.folder());
    auto session = client.come_in(ground.address("stock"));
    auto failure = [&](Kind kind, const std::string& name, const std::string& signature,
                       std::initializer_list<std::uint64_t> arguments = {}) {
      return test::create(client, session, kind, name, signature, arguments).failure;
    };
    REQUIRE(failure(static_cast<Kind>(77), "x", "x") == Code::UNSUPPORTED);
    REQUIRE(failure(Kind::NONE, "x", "x") == Code::UNSUPPORTED);
    REQUIRE(failure(Kind::DICT, std::string(96, 'n'), "d") == Code::TOO_LARGE);
    REQUIRE(failure(Kind::DICT, "x", std::string(256, 's')) == Code::TOO_LARGE);
    REQUIRE(failure(Kind::DICT, std::string("a\0b", 3), "d") == Code::INVALID);
    REQUIRE(failure(Kind::ARRAY, "x", "array", {1, 0}) == Code::INVALID);
    REQUIRE(test::open_or_create(client, session, Kind::DICT, "", "d").failure == Code::INVALID);
    REQUIRE(test::open_by_id(client, session, {5, 5}).failure == Code::GONE);
    REQUIRE(test::open_by_id(client, session, {0, 0}).failure == Code::GONE);
    REQUIRE(test::open_by_id(client, session, {0xffffffff, 1}).failure == Code::GONE);
    REQUIRE(session.statsRequest().send().wait(loop.waitScope).getStats().getObjects() == 0);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a hold keeps an object until it is dropped, and the client's own reference from then on") {
  test::ServerGround ground;
  {
    Server server({.name = "stock"});
    server.start();
    auto segment = shm::Segment::open(server.folder());
    auto loop = kj::setupAsyncIo();
    test::RpcClient client(loop, server.folder());
    auto session = client.come_in(ground.address("stock"));
    auto made = test::create(client, session, Kind::LOCK, "", "lock");
    auto brief = test::create(client, session, Kind::LOCK, "", "lock");
    brief.hold = std::nullopt;
    REQUIRE(test::eventually([&]() {
      (void)session.statsRequest().send().wait(loop.waitScope);
      return shm::object_control(*segment, brief.id) == 0;
    }));
    REQUIRE(shm::object_control(*segment, made.id) != 0);  // its hold lives
    REQUIRE(shm::add_reference(*segment, made.id) == shm::Status::kOk);
    made.hold = std::nullopt;
    for (int i = 0; i < 20; ++i) {
      segment->ring_bell();
      usleep(1000);
      (void)session.statsRequest().send().wait(loop.waitScope);
    }
    REQUIRE(shm::object_control(*segment, made.id) != 0);
    shm::drop_reference(*segment, made.id);
    REQUIRE(test::eventually([&]() { return shm::object_control(*segment, made.id) == 0; }));
    REQUIRE(session.statsRequest().send().wait(loop.waitScope).getStats().getDestroyedObjects() == 2);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a connection that breaks ends its holds") {
  test::ServerGround ground;
  {
    Server server({.name = "stock"});
    server.start();
    auto segment = shm::Segment::open(server.folder());
    shm::ObjectId id;
    auto loop = kj::setupAsyncIo();
    {
      test::RpcClient client(loop, server.folder());
      auto session = client.come_in(ground.address("stock"));
      auto made = test::create(client, session, Kind::LOCK, "", "lock");
      id = made.id;
      REQUIRE(shm::object_control(*segment, id) != 0);
    }
    REQUIRE(test::eventually([&]() { return shm::object_control(*segment, id) == 0; }));
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a wrong key is a typed failure, once, and the connection ends") {
  test::ServerGround ground;
  {
    Server server({.name = "stock", .authkey = "right"});
    server.start();
    REQUIRE_FALSE(rpc::key_for_client(ground.address("stock"), std::nullopt));  // it was given, not made
    auto loop = kj::setupAsyncIo();
    {
      test::RpcClient client(loop, server.folder());
      auto door = client.door();
      auto answer = rpc::knock(door, rpc::Authkey("wrong"), "test").wait(loop.waitScope);
      auto& denied = std::get<rpc::Denied>(*answer);
      REQUIRE(denied.code == Code::AUTHENTICATION);
      REQUIRE_THAT(denied.message, Catch::Contains("\"stock\"") && Catch::Contains("COMMONHOLD_AUTHKEY"));
      auto second = rpc::knock(door, rpc::Authkey("right"), "test").wait(loop.waitScope);
      REQUIRE(std::get<rpc::Denied>(*second).code == Code::AUTHENTICATION);  // one try a connection
      client.wait_for_disconnect();
    }
    test::RpcClient client(loop, server.folder());
    auto answer = client.knock(rpc::Authkey("right"));
    REQUIRE(std::holds_alternative<rpc::Admitted>(*answer));
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("the memory limit is a failure that names it, and removing makes room again") {
  test::ServerGround ground;
  {
    Server server({.name = "stock", .memory_limit = 4 << 20});
    server.start();
    auto loop = kj::setupAsyncIo();
    test::RpcClient client(loop, server.folder());
    auto session = client.come_in(ground.address("stock"));
    std::vector<test::OpenAnswer> made;
    for (;;) {
      auto answer =
          test::create(client, session, Kind::ARRAY, fmt::format("a{}", made.size()), "array<int64>", {50'000, 8});
      if (answer.failure) {
        REQUIRE(answer.failure == Code::OUT_OF_MEMORY);
        REQUIRE_THAT(answer.message, Catch::Contains("4194304"));
        break;
      }
      made.push_back(std::move(answer));
      REQUIRE(made.size() < 12);
    }
    REQUIRE(made.size() >= 8);
    REQUIRE_FALSE(test::remove(client, session, "a0"));
    made[0].hold = std::nullopt;
    REQUIRE(test::eventually([&]() {
      return !test::create(client, session, Kind::ARRAY, "again", "array<int64>", {50'000, 8}).failure;
    }));
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a client's shutdown is answered, ends the server, and takes the folder away") {
  test::ServerGround ground;
  Server server({.name = "stock"});
  server.start();
  auto loop = kj::setupAsyncIo();
  {
    test::RpcClient client(loop, server.folder());
    auto session = client.come_in(ground.address("stock"));
    REQUIRE(session.shutdownRequest().send().wait(loop.waitScope).getResult().isOk());
    client.wait_for_disconnect();
  }
  REQUIRE(server.wait_for(std::chrono::seconds(10)));
  REQUIRE_FALSE(server.running());
  REQUIRE(ground.leftovers() == "");
}
