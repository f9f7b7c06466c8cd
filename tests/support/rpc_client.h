// A client of the protocol for tests: one connection that calls and waits, as the schema says and no more.
#pragma once

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <rpc/commonhold.capnp.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "rpc/accept_loop.h"
#include "rpc/knock.h"
#include "rpc/socket.h"
#include "shm/object_table.h"

namespace commonhold::test {

// One per thread at a time.
using ClientLoop = kj::AsyncIoContext;

class RpcClient {
 public:
  RpcClient(ClientLoop& loop, const std::string& folder)
      : loop_(loop),
        stream_(loop.lowLevelProvider->wrapSocketFd(kj::AutoCloseFd(socket_in(folder)))),
        network_(*stream_, capnp::rpc::twoparty::Side::CLIENT, rpc::reader_options()),
        rpc_(capnp::makeRpcClient(network_)) {}

  rpc::schema::Door::Client door() {
    capnp::MallocMessageBuilder message;
    auto host = message.initRoot<capnp::rpc::twoparty::VatId>();
    host.setSide(capnp::rpc::twoparty::Side::SERVER);
    return rpc_.bootstrap(host).castAs<rpc::schema::Door>();
  }

  // The answer to one try with `key`.
  kj::Own<rpc::Answer> knock(const rpc::Authkey& key) { return rpc::knock(door(), key, "test").wait(loop_.waitScope); }

  // Comes in with the key that the folder or the environment has. Throws when denied.
  rpc::schema::Session::Client come_in(const rpc::ManagerAddress& address) {
    auto key = rpc::key_for_client(address, std::nullopt);
    if (!key) throw std::runtime_error("no key");
    auto answer = knock(*key);
    if (auto* denied = std::get_if<rpc::Denied>(answer.get())) throw std::runtime_error(denied->message);
    return std::get<rpc::Admitted>(*answer).session;
  }

  void wait_for_disconnect() { network_.onDisconnect().wait(loop_.waitScope); }
  kj::WaitScope& scope() { return loop_.waitScope; }

 private:
  static int socket_in(const std::string& folder) {
    int socket = rpc::connect_to_folder(folder);
    if (socket < 0) throw std::runtime_error("nobody listens in " + folder);
    return socket;
  }

  ClientLoop& loop_;
  kj::Own<kj::AsyncIoStream> stream_;
  capnp::TwoPartyVatNetwork network_;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc_;
};

// An OpenResult with what a test wants to know of it.
struct OpenAnswer {
  std::optional<rpc::schema::Failure::Code> failure;
  std::string message;
  shm::ObjectId id;
  shm::Offset control = 0;
  bool created = false;
  std::string signature;
  std::optional<rpc::schema::Hold::Client> hold;
};

inline OpenAnswer read_answer(rpc::schema::OpenResult::Reader result) {
  OpenAnswer answer;
  if (result.isFailure()) {
    answer.failure = result.getFailure().getCode();
    answer.message = result.getFailure().getMessage();
    return answer;
  }
  auto ok = result.getOk();
  answer.id = {ok.getId().getIndex(), ok.getId().getGeneration()};
  answer.control = ok.getControl();
  answer.created = ok.getCreated();
  answer.signature = ok.getSignature();
  answer.hold = ok.getHold();
  return answer;
}

inline void write_plan(rpc::schema::ObjectPlan::Builder plan, rpc::schema::ObjectKind kind, const std::string& name,
                       const std::string& signature, std::initializer_list<std::uint64_t> arguments = {}) {
  plan.setKind(kind);
  plan.setName({name.data(), name.size()});  // with its null bytes
  plan.setSignature(signature);
  auto list = plan.initArguments(static_cast<capnp::uint>(arguments.size()));
  capnp::uint i = 0;
  for (std::uint64_t argument : arguments) list.set(i++, argument);
}

inline OpenAnswer create(RpcClient& client, rpc::schema::Session::Client& session, rpc::schema::ObjectKind kind,
                         const std::string& name, const std::string& signature,
                         std::initializer_list<std::uint64_t> arguments = {}) {
  auto request = session.createRequest();
  write_plan(request.initPlan(), kind, name, signature, arguments);
  return read_answer(request.send().wait(client.scope()).getResult());
}

inline OpenAnswer open_or_create(RpcClient& client, rpc::schema::Session::Client& session, rpc::schema::ObjectKind kind,
                                 const std::string& name, const std::string& signature) {
  auto request = session.openOrCreateRequest();
  write_plan(request.initPlan(), kind, name, signature);
  return read_answer(request.send().wait(client.scope()).getResult());
}

inline OpenAnswer open(RpcClient& client, rpc::schema::Session::Client& session, const std::string& name,
                       rpc::schema::ObjectKind kind, const std::string& signature) {
  auto request = session.openRequest();
  request.setName(name);
  request.setKind(kind);
  request.setSignature(signature);
  return read_answer(request.send().wait(client.scope()).getResult());
}

inline OpenAnswer open_by_id(RpcClient& client, rpc::schema::Session::Client& session, shm::ObjectId id) {
  auto request = session.openByIdRequest();
  request.initId().setIndex(id.index);
  request.getId().setGeneration(id.generation);
  return read_answer(request.send().wait(client.scope()).getResult());
}

// nullopt when it was removed.
inline std::optional<rpc::schema::Failure::Code> remove(RpcClient& client, rpc::schema::Session::Client& session,
                                                        const std::string& name) {
  auto request = session.removeRequest();
  request.setName(name);
  auto response = request.send().wait(client.scope());
  if (response.getResult().isOk()) return std::nullopt;
  return response.getResult().getFailure().getCode();
}

}  // namespace commonhold::test
