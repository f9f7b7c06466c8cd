// A client's line to a manager's server: connects when first needed, proves the authkey, connects again when the
// connection broke or the process forked, and says so in bounded time when nobody answers.
//
// Thread safety: any thread; calls on one manager are made one after the other.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <commonhold/detail/manager_calls.h>

#include "rpc/address.h"
#include "shm/ids.h"

namespace kj {
class Exception;
}

namespace commonhold::detail {

// What the server said of itself.
struct ServerFacts {
  std::string name, folder;
  std::uint64_t nonce = 0;
  bool anonymous = false;
  std::uint64_t starts = 0;  // how many servers the segment had, this one included
};

struct OpenedObject {
  shm::ObjectId id;
  ObjectKind kind = ObjectKind::kNone;
  std::string signature;
  bool created = false;
};

// What a method threw, if it did.
struct MethodReply {
  bool raised = false;
  std::string type, message;
};

class ServerLink {
 public:
  struct Options {
    rpc::ManagerAddress address;
    std::optional<std::string> authkey;
    // How long to wait for a server that does not answer the door: it may be about to be started again.
    std::chrono::milliseconds patience{2000};
    // Called when nobody serves, at most once a call: may start a server again.
    std::function<void()> revive;
  };
  explicit ServerLink(Options options);
  ~ServerLink();
  ServerLink(const ServerLink&) = delete;
  ServerLink& operator=(const ServerLink&) = delete;

  // Connects if there is no connection. All calls throw ServerGone and AuthenticationError.
  ServerFacts facts(std::chrono::milliseconds patience);

  // Calls `note` while the server keeps the object alive for us. Throws NameError, TypeMismatch, OutOfMemory...
  void open(Opening opening, std::string_view name, const ObjectRequest& request,
            const std::function<void(const OpenedObject&)>& note);
  // Names an anonymous object of ours. With `or_open`, `note` gets the object that has the name already, if there is one.
  void name(shm::ObjectId id, std::string_view name, bool or_open,
            const std::function<void(const OpenedObject&)>& note);
  void remove(std::string_view name);
  std::vector<ObjectInfo> objects();
  // Calls a method of a custom object and waits as long as it takes. `note` gets the result while the server keeps for
  // us what it refers to.
  MethodReply call_method(shm::ObjectId id, const std::string& method, std::string_view arguments,
                          const std::function<void(std::string_view)>& note);
  std::vector<std::string> methods(shm::ObjectId id);
  // Ends the manager, objects and all; or its server alone. Returns when the server has said that it will.
  void shut_down();
  // Which one that is (ServerFacts::starts).
  std::uint64_t detach();

 private:
  struct Connection;
  std::shared_ptr<Connection> connection(std::chrono::milliseconds patience);
  std::shared_ptr<Connection> knock(int socket);  // takes the socket
  std::shared_ptr<Connection> current();
  bool was_connected();
  void drop(const std::shared_ptr<Connection>& broken);
  [[noreturn]] void throw_shortage(int error) const;
  void throw_if_shortage(const kj::Exception& exception) const;
  template <typename Call>
  auto call(bool repeatable, Call&& use);

  Options options_;
  // Guarded by the fork guard's mutex.
  std::shared_ptr<Connection> connection_;
  std::uint64_t nonce_ = 0;  // of the manager's segment, from the first answer
};

}  // namespace commonhold::detail
