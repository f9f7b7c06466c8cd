// A manager's server on the kj event loop of a service that has one already. This header, and no other of ours, needs
// Cap'n Proto's headers.
//
//   auto io = kj::setupAsyncIo();
//   commonhold::ServerOnLoop server(*io.lowLevelProvider, io.unixEventPort, {.name = "stock"});
//   server.run().wait(io.waitScope);     // or beside the service's other promises
#pragma once

#include <commonhold/server.h>
#include <kj/async-io.h>
#include <kj/async-unix.h>

#include <memory>
#include <string>

namespace commonhold {

namespace manager {
class ServerCore;
}

// Thread safety: the loop's thread, except shutdown() and detach(). Recovery and housekeeping have a thread of their
// own, so a busy loop delays new connections and new objects, but no waiter for a dead owner's lock.
class ServerOnLoop {
 public:
  // Clients can connect from here on; they are answered once the loop runs. Throws ServerError.
  ServerOnLoop(kj::LowLevelAsyncIoProvider& io, kj::UnixEventPort& port, ServerOptions options = {});
  // Ends the server and its objects, as Server::shutdown() does.
  ~ServerOnLoop();
  ServerOnLoop(const ServerOnLoop&) = delete;
  ServerOnLoop& operator=(const ServerOnLoop&) = delete;

  // Resolves when a client or this program ended the server; after shutdown() its files are gone then. At most once.
  kj::Promise<void> run();

  // Ends the server and its objects, or the server alone: as Server's. Returns at once. From any thread.
  void shutdown();
  void detach();

  const std::string& name() const;
  const std::string& folder() const;

 private:
  std::unique_ptr<manager::ServerCore> core_;
  kj::LowLevelAsyncIoProvider& io_;
  kj::UnixEventPort& port_;
  int pid_;
};

}  // namespace commonhold
