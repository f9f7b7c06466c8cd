// A server without the thread it runs on: the folder it holds, what is in it, and the service for one event loop.
//
// Life: construct (clients can connect from then on and wait), serve_on() a kj event loop, and when its promise
// resolves finish(). The parts are made in the order in which they depend on each other and ended in the reverse.
//
// Thread safety: ask_to_end() from any thread; the rest on the loop's thread, or before it runs.
#pragma once

#include <kj/async-io.h>
#include <kj/async-unix.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "commonhold/server.h"
#include "manager/adoption.h"
#include "manager/custom_objects.h"
#include "manager/housekeeper.h"
#include "manager/registry.h"
#include "rpc/accept_loop.h"
#include "rpc/address.h"
#include "rpc/authentication.h"

namespace commonhold::manager {

struct CoreOptions {
  rpc::ManagerAddress address;
  std::uint64_t memory_limit = 0;
  std::optional<std::string> authkey;
  std::function<void(const std::string&)> log;
  int lifeline_fd = -1;  // see rpc/spawn.h; owned by the core
  // The process does nothing but serve: it has no other segment open, and reads no objects. Then the server removes
  // abandoned folders of other anonymous managers, and more memory can go back to the system.
  bool serves_alone = false;
};

// The place that the options' name asks for. Throws ServerError.
rpc::ManagerAddress address_for(const ServerOptions& options);

class ServerCore {
 public:
  explicit ServerCore(CoreOptions options);  // throws ServerError
  ~ServerCore();

  // Serves until an end is asked for. At most once.
  kj::Promise<void> serve_on(kj::LowLevelAsyncIoProvider& io, kj::UnixEventPort& port);

  enum class End { kRemove, kKeep };  // the folder with all objects
  void ask_to_end(End how = End::kRemove);

  // Stops serving and ends the tenure as asked for. REQUIRES: serve_on's promise resolved or was dropped.
  void finish();

  // ---- for the service's capabilities
  const rpc::ManagerAddress& address() const { return options_.address; }
  const rpc::Authkey& key() const { return *key_; }
  shm::Segment& segment() const { return *tenure_->segment(); }
  Registry& registry() { return *registry_; }
  CustomObjects& custom_objects() { return *custom_objects_; }
  const Housekeeper* housekeeper() const { return housekeeper_.get(); }
  std::uint32_t connections() const { return accept_loop_ == nullptr ? 0 : accept_loop_->connections(); }
  std::chrono::nanoseconds uptime() const { return std::chrono::steady_clock::now() - started_; }
  void log(const std::string& line) const { options_.log(line); }
  // Ends the server once the reply to whoever asked had time to leave.
  void end_after_reply(End how);

 private:
  CoreOptions options_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::unique_ptr<Tenure> tenure_;
  std::optional<rpc::Authkey> key_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<CustomObjects> custom_objects_;
  int listener_ = -1;  // until serve_on
  std::unique_ptr<Housekeeper> housekeeper_;
  std::unique_ptr<rpc::AcceptLoop> accept_loop_;
  kj::Timer* timer_ = nullptr;
  kj::Promise<void> ending_ = nullptr;

  std::mutex end_mutex_;
  bool end_asked_ = false;
  End end_ = End::kRemove;
  kj::Own<kj::CrossThreadPromiseFulfiller<void>> end_fulfiller_;
};

// Runs a kj event loop on the calling thread and the core on it, until its end. REQUIRES: all signals are blocked on
// the thread.
void serve_on_this_thread(ServerCore& core);

// Ends what the core has on a loop before the loop goes, also where an error ends both: the objects stay then.
class UseOfLoop {
 public:
  explicit UseOfLoop(ServerCore& core) : core_(core) {}
  ~UseOfLoop() {
    core_.ask_to_end(ServerCore::End::kKeep);
    core_.finish();
  }
  UseOfLoop(const UseOfLoop&) = delete;
  UseOfLoop& operator=(const UseOfLoop&) = delete;

 private:
  ServerCore& core_;
};

}  // namespace commonhold::manager
