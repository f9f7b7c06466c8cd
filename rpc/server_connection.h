// A client's connection to a server: the socket, the session behind the door, and the loop on which both live.
//
// Thread safety: calls on the loop as CallLoop::run(); the rest from any thread once authenticate() has returned. A
// forked child abandons its parent's.
#pragma once

#include <capnp/rpc-twoparty.h>
#include <rpc/commonhold.capnp.h>

#include <memory>
#include <optional>
#include <string>

#include "rpc/call_loop.h"
#include "rpc/knock.h"
#include "shm/kept_file.h"

namespace commonhold::rpc {

class ServerConnection {
 public:
  ServerConnection() : loop_(std::make_unique<CallLoop>()) {}
  // Closes it, unless it was abandoned or the program closed its descriptors: others may have their numbers.
  ~ServerConnection();
  ServerConnection(const ServerConnection&) = delete;
  ServerConnection& operator=(const ServerConnection&) = delete;

  // Knocks through a connected socket, which it takes. What the server says when it lets nobody in; nothing: it did.
  // Throws kj::Exception, of the type OVERLOADED when the server does not answer in time. Called once.
  std::optional<Denied> authenticate(int socket, const Authkey& key, std::string program);

  // REQUIRES, of these: it has come in.
  const Admitted& admitted() const { return std::get<Admitted>(*parts_->answer); }
  schema::Session::Client& session() { return std::get<Admitted>(*parts_->answer).session; }
  CallLoop& loop() { return *loop_; }
  // What a promise gives, or a kj::Exception of the type OVERLOADED when the server does not answer in time.
  template <typename T>
  auto await(kj::Promise<T>&& promise, kj::WaitScope& scope) {
    return loop_->timer().timeoutAfter(kAnswerTimeout, kj::mv(promise)).wait(scope);
  }

  // True when the server closed its end while nobody looked: what is sent now cannot arrive.
  bool is_closed() const;
  // True when the program closed them, and may have opened others that have their numbers.
  bool lost_its_descriptors() const { return socket_ >= 0 && !identity_.is(socket_); }

  // Leaves everything as it is, for good: it is another process's.
  void abandon() noexcept { (void)loop_.release(); }

 private:
  static constexpr auto kAnswerTimeout = 10 * kj::SECONDS;

  // Live on the loop.
  struct Parts {
    Parts(CallLoop& loop, int socket)
        : stream(loop.wrap_socket(socket)),
          network(*stream, capnp::rpc::twoparty::Side::CLIENT),
          rpc_system(capnp::makeRpcClient(network)) {}
    schema::Door::Client door();

    kj::Own<kj::AsyncIoStream> stream;
    capnp::TwoPartyVatNetwork network;
    capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc_system;
    kj::Own<Answer> answer;
  };

  std::unique_ptr<CallLoop> loop_;
  int socket_ = -1;  // the stream's
  shm::FileIdentity identity_;
  Parts* parts_ = nullptr;
};

}  // namespace commonhold::rpc
