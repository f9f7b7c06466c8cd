// A manager's server inside a program of yours, on a thread of its own.
//
//   commonhold::Server server({.name = "stock"});
//   server.start();          // from now on other programs can join by the name "stock"
//   server.wait();           // until somebody shuts it down
//   server.detach();         // or: the objects stay for the next server of the name
//
// The objects live in shared memory, not in the server: when it dies, clients go on, and the next server of the same
// name adopts what is there. Programs with a kj event loop of their own use <commonhold/server_on_loop.h>.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <commonhold/errors.h>

namespace commonhold {

// Why a server could not start; what() names the values and says what to do.
class ServerError : public RuntimeError {
 public:
  enum class Code {
    kInvalid,         // a name, size or key that no server accepts
    kAlreadyRunning,  // another server serves that name
    kForeignLayout,   // the name's segment was made by another version
    kPermission,      // the folder is somebody else's, or open to others
    kOutOfMemory,     // no room for even an empty segment
    kSystem,          // the operating system refused something else
  };
  ServerError(Code code, const std::string& message) : RuntimeError(message), code_(code) {}
  Code code() const { return code_; }

 private:
  Code code_;
};

struct ServerOptions {
  // 1 to 63 of [A-Za-z0-9._-]; or the path of a folder, with a slash in it; or nothing for a name of its own.
  std::string name;
  // Bytes that all objects together may take; 0: as much as the file system holds.
  std::uint64_t memory_limit = 0;
  // What clients must know. Nothing: COMMONHOLD_AUTHKEY, or a random key that only this user's programs can read.
  std::optional<std::string> authkey;
  // Gets a line now and then, from any thread; must not throw.
  std::function<void(const std::string&)> log;
};

// Thread safety: start, shutdown, detach and the destructor from one thread at a time; the rest from any.
// A process death leaves the folder to the next server of the name. In a forked child the object does nothing.
class Server {
 public:
  explicit Server(ServerOptions options = {});
  // Like shutdown(): call detach() before where the objects are to outlive this program.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Returns when clients can connect. Throws ServerError.
  void start();

  // Ends the server and its objects: the name is free, its files are gone. Clients keep what they have mapped until
  // they let go of it.
  void shutdown();

  // Ends the server and leaves the objects to the next server of the same name. Clients go on working meanwhile. One
  // without a name leaves them to whoever still uses them, and the folder to the next start of any server.
  void detach();

  bool running() const;

  // Waits until the server ended, by shutdown() or detach(), a program's or a client's.
  void wait();
  // The same for a while; true when it ended.
  bool wait_for(std::chrono::nanoseconds timeout);

  // The manager's name and its folder, by either of which other programs join. Empty before start().
  const std::string& name() const;
  const std::string& folder() const;

 private:
  class Running;
  ServerOptions options_;
  std::string name_, folder_;
  std::shared_ptr<Running> running_;
};

}  // namespace commonhold
