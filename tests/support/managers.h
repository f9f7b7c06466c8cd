// Servers and objects by the shortest way, for tests about what becomes of them.
#pragma once

#include <catch2/catch.hpp>
#include <string>

#include "support/rpc_client.h"
#include "support/server_ground.h"

namespace commonhold::test {

inline OpenAnswer make_object(const rpc::ManagerAddress& address, rpc::schema::ObjectKind kind, const std::string& name,
                              const std::string& signature) {
  auto loop = kj::setupAsyncIo();
  RpcClient client(loop, address.folder);
  auto session = client.come_in(address);
  auto answer = open_or_create(client, session, kind, name, signature);
  REQUIRE_FALSE(answer.failure);
  answer.hold = std::nullopt;
  return answer;
}

// Starts `commonhold serve` in the background; its process.
inline int serve(const rpc::ManagerAddress& address) {
  auto result = run_command({"serve", "--name", address.name});
  INFO(result.err);
  REQUIRE(result.status == 0);
  int pid = server_pid(address);
  REQUIRE(pid != 0);
  return pid;
}

inline void destroy(const rpc::ManagerAddress& address) {
  auto result = run_command({"destroy", address.name});
  INFO(result.err);
  REQUIRE(result.status == 0);
}

}  // namespace commonhold::test
