#include "rpc/server_connection.h"

#include <poll.h>

#include <utility>
#include <variant>

namespace commonhold::rpc {

schema::Door::Client ServerConnection::Parts::door() {
  capnp::word scratch[4] = {};
  capnp::MallocMessageBuilder message(scratch);
  auto server = message.getRoot<capnp::rpc::twoparty::VatId>();
  server.setSide(capnp::rpc::twoparty::Side::SERVER);
  return rpc_system.bootstrap(server).castAs<schema::Door>();
}

ServerConnection::~ServerConnection() {
  if (loop_ != nullptr && lost_its_descriptors()) abandon();  // to close them would close the program's files
  if (loop_ == nullptr) return;
  try {
    loop_->run([this](kj::WaitScope&) { delete parts_; });
  } catch (...) {
    // Closing did not go well; there is nobody to tell.
  }
}

std::optional<Denied> ServerConnection::authenticate(int socket, const Authkey& key, std::string program) {
  kj::AutoCloseFd owned(socket);
  return loop_->run([&](kj::WaitScope& scope) -> std::optional<Denied> {
    socket_ = owned.get();
    identity_ = shm::FileIdentity::of(socket_);
    parts_ = new Parts(*loop_, owned.release());
    parts_->answer = await(knock(parts_->door(), key, std::move(program)), scope);
    if (auto* denied = std::get_if<Denied>(parts_->answer.get())) return *denied;
    return std::nullopt;
  });
}

bool ServerConnection::is_closed() const {
  pollfd end{socket_, POLLIN | POLLRDHUP, 0};
  return poll(&end, 1, 0) == 1 && (end.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

}  // namespace commonhold::rpc
