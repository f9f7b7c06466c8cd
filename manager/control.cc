#include "manager/control.h"

#include <errno.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "rpc/accept_loop.h"
#include "rpc/authentication.h"
#include "rpc/knock.h"
#include "rpc/socket.h"

namespace commonhold::manager {

namespace {

constexpr auto kFolderGoneWithin = std::chrono::seconds(10);

int connect_or_throw(const rpc::ManagerAddress& address) {
  int socket = rpc::connect_to_folder(address.folder);
  if (socket >= 0) return socket;
  int error = errno;
  bool exists = access(address.segment_file().c_str(), F_OK) == 0;
  if (!exists) {
    throw ControlError(
        fmt::format("there is no manager \"{}\" ({} has no segment); `commonhold list` names those that are",
                    address.name, address.folder));
  }
  throw ControlError(
      fmt::format("the server of \"{}\" does not answer at {} ({}); `commonhold doctor` tells whether it died",
                  address.name, address.socket_file(), std::strerror(error)));
}

rpc::Authkey key_or_throw(const rpc::ManagerAddress& address) {
  auto key = rpc::key_for_client(address, std::nullopt);
  if (!key) {
    throw ControlError(fmt::format("the manager \"{}\" was started with a key of its own; put the same key into {}",
                                   address.name, rpc::kKeyVariable));
  }
  return *key;
}

}  // namespace

void shut_down(const rpc::ManagerAddress& address) {
  auto io = kj::setupAsyncIo();
  kj::AutoCloseFd socket(connect_or_throw(address));
  rpc::Authkey key = key_or_throw(address);
  auto stream = io.lowLevelProvider->wrapSocketFd(
      kj::mv(socket), kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC | kj::LowLevelAsyncIoProvider::ALREADY_NONBLOCK);
  capnp::TwoPartyVatNetwork network(*stream, capnp::rpc::twoparty::Side::CLIENT, rpc::reader_options());
  auto rpc_system = capnp::makeRpcClient(network);
  capnp::MallocMessageBuilder message;
  auto host = message.initRoot<capnp::rpc::twoparty::VatId>();
  host.setSide(capnp::rpc::twoparty::Side::SERVER);
  auto door = rpc_system.bootstrap(host).castAs<rpc::schema::Door>();
  std::string refusal;
  auto failure = kj::runCatchingExceptions([&]() {
    auto answer = rpc::knock(door, key, "commonhold").wait(io.waitScope);
    if (auto* denied = std::get_if<rpc::Denied>(answer.get())) {
      refusal = denied->message;
      return;
    }
    auto response = std::get<rpc::Admitted>(*answer).session.shutdownRequest().send().wait(io.waitScope);
    auto outcome = response.getResult();
    if (outcome.isFailure()) refusal = outcome.getFailure().getMessage();
  });
  KJ_IF_MAYBE (exception, failure) {
    throw ControlError(
        fmt::format("the server of \"{}\" broke the connection: {}", address.name, exception->getDescription().cStr()));
  }
  if (!refusal.empty()) throw ControlError(refusal);
  // The connection ends with the service, the folder a moment later.
  network.onDisconnect().wait(io.waitScope);
  auto until = std::chrono::steady_clock::now() + kFolderGoneWithin;
  while (access(address.segment_file().c_str(), F_OK) == 0) {
    if (std::chrono::steady_clock::now() > until) {
      throw ControlError(
          fmt::format("the server of \"{}\" ended, but its folder {} is still there; look at it with "
                      "`commonhold doctor`",
                      address.name, address.folder));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace commonhold::manager
