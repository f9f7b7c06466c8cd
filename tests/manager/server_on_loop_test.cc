#include "commonhold/server_on_loop.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>

#include "support/process_shared.h"
#include "support/rpc_client.h"
#include "support/server_ground.h"

using namespace commonhold;

TEST_CASE("a service with an event loop of its own serves objects beside its own work") {
  test::ServerGround ground;
  {
    // A client in another process, forked before there is a loop; it may connect before the loop runs, and is answered
    // once it does.
    pid_t child = test::spawn([&]() {
      auto address = ground.address("stock");
      (void)test::eventually([&]() { return access(address.socket_file().c_str(), F_OK) == 0; });
      auto loop = kj::setupAsyncIo();
      test::RpcClient client(loop, address.folder);
      auto session = client.come_in(address);
      if (!test::create(client, session, rpc::schema::ObjectKind::DICT, "d", "dict<text,text>").created) {
        throw std::runtime_error("not created");
      }
      (void)session.shutdownRequest().send().wait(loop.waitScope);
    });
    auto io = kj::setupAsyncIo();
    ServerOnLoop server(*io.lowLevelProvider, io.unixEventPort, {.name = "stock"});
    REQUIRE(server.name() == "stock");
    int ticks = 0;
    std::function<kj::Promise<void>()> own_work = [&]() {
      ++ticks;
      return io.provider->getTimer().afterDelay(1 * kj::MILLISECONDS).then([&]() { return own_work(); });
    };
    server.run().exclusiveJoin(own_work()).wait(io.waitScope);
    REQUIRE(ticks > 1);
    REQUIRE(test::wait_for(child) == 0);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a server on a loop ends from another thread, and with its object") {
  test::ServerGround ground;
  {
    auto io = kj::setupAsyncIo();
    {
      ServerOnLoop server(*io.lowLevelProvider, io.unixEventPort, {});
      std::thread other([&]() { server.shutdown(); });
      server.run().wait(io.waitScope);
      other.join();
    }
    { ServerOnLoop unused(*io.lowLevelProvider, io.unixEventPort, {.name = "unused"}); }
    REQUIRE_THROWS_AS(ServerOnLoop(*io.lowLevelProvider, io.unixEventPort, {.name = "bad name"}), ServerError);
  }
  REQUIRE(ground.leftovers() == "");
}
