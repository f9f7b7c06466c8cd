#include "proxy/server_link.h"

#include <errno.h>
#include <fmt/format.h>
#include <rpc/commonhold.capnp.h>
#include <string.h>

#include <system_error>
#include <thread>

#include <commonhold/errors.h>

#include "proxy/errors.h"
#include "proxy/fork_guard.h"
#include "proxy/refusal.h"
#include "rpc/authentication.h"
#include "rpc/server_connection.h"
#include "rpc/socket.h"

namespace commonhold::detail {

namespace schema = rpc::schema;

namespace {

using Code = schema::Failure::Code;
using Milliseconds = std::chrono::milliseconds;

constexpr Milliseconds kRetryPause{5};

std::optional<rpc::Authkey> key_of(const ServerLink::Options& options) {
  try {
    return rpc::key_for_client(options.address, options.authkey);
  } catch (const rpc::AddressError& error) {
    if (options.authkey && error.code() == rpc::AddressError::Code::kInvalid) throw ValueError(error.what());
    throw_address_error(error);
  }
}

// Neither KJ's nor the standard library's word for it may leave.
[[noreturn]] void throw_loop_failure(const char* doing, const std::string& manager, const std::string& why) {
  throw RemoteError(fmt::format("{} the server of the manager \"{}\" failed: {}", doing, manager, why));
}

Refusal to_refusal(schema::Failure::Reader failure) {
  return {failure.getCode(), failure.getMessage()};
}

std::optional<Refusal> to_refusal(schema::Outcome::Reader outcome) {
  if (outcome.isFailure()) return to_refusal(outcome.getFailure());
  return std::nullopt;
}

kj::ArrayPtr<const kj::byte> to_data(std::string_view bytes) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size());
}

void write_plan(schema::ObjectPlan::Builder plan, std::string_view name, const ObjectRequest& request) {
  plan.setKind(static_cast<schema::ObjectKind>(request.kind));
  plan.setName(std::string(name));
  plan.setSignature(request.signature);
  plan.setArguments(kj::arrayPtr(request.arguments, std::size(request.arguments)));
  plan.setCompared(request.compared);
  if (!request.data.empty()) plan.setData(to_data(request.data));
}

OpenedObject to_object(schema::OpenedObject::Reader opened) {
  OpenedObject object;
  object.id = {opened.getId().getIndex(), opened.getId().getGeneration()};
  object.kind = static_cast<ObjectKind>(opened.getKind());
  object.signature = opened.getSignature();
  object.created = opened.getCreated();
  return object;
}

struct OpenReply {
  std::optional<Refusal> refusal;
  OpenedObject object;
  kj::Maybe<schema::Hold::Client> hold;  // the server keeps the object for us until this goes
};

OpenReply to_reply(schema::OpenResult::Reader result) {
  OpenReply reply;
  if (result.isFailure()) {
    reply.refusal = to_refusal(result.getFailure());
    return reply;
  }
  reply.object = to_object(result.getOk());
  reply.hold = result.getOk().getHold();
  return reply;
}

}  // namespace

// Left alone in forked children: it is the parent's, and so is its loop.
struct ServerLink::Connection : rpc::ServerConnection {
  ~Connection() {
    if (generation != ForkGuard::instance().generation()) abandon();
  }
  const unsigned generation = ForkGuard::instance().generation();
  ServerFacts facts;
};

void ServerLink::throw_shortage(int error) const {
  throw SystemError(error,
                    fmt::format("calling the server of the manager \"{}\" takes descriptors, and there are none: {}; "
                                "close some, or raise `ulimit -n`",
                                options_.address.name, strerror(error)));
}

// KJ tells the system's errors in words alone.
void ServerLink::throw_if_shortage(const kj::Exception& exception) const {
  const std::string_view words(exception.getDescription().cStr());
  for (int error : {EMFILE, ENFILE}) {
    if (words.find(strerror(error)) != std::string_view::npos) throw_shortage(error);
  }
}

ServerLink::ServerLink(Options options) : options_(std::move(options)) {}

ServerLink::~ServerLink() = default;

std::shared_ptr<ServerLink::Connection> ServerLink::current() {
  ForkGuard& guard = ForkGuard::instance();
  std::shared_ptr<Connection> ended;  // outlives the lock
  std::lock_guard hold(guard.mutex);
  if (connection_ != nullptr &&
      (connection_->generation != guard.generation() || connection_->lost_its_descriptors())) {
    ended.swap(connection_);
  }
  return connection_;
}

bool ServerLink::was_connected() {
  std::lock_guard hold(ForkGuard::instance().mutex);
  return nonce_ != 0;
}

void ServerLink::drop(const std::shared_ptr<Connection>& broken) {
  std::shared_ptr<Connection> ended;
  std::lock_guard hold(ForkGuard::instance().mutex);
  if (connection_ == broken) ended.swap(connection_);
}

std::shared_ptr<ServerLink::Connection> ServerLink::connection(Milliseconds patience) {
  if (auto present = current()) return present;
  const auto end = std::chrono::steady_clock::now() + patience;
  bool revived = options_.revive == nullptr;
  for (;;) {
    const std::string& folder = options_.address.folder;
    std::string why;
    const int socket = rpc::connect_to_folder(folder);
    if (socket < 0) {
      const int error = errno;
      if (error == EMFILE || error == ENFILE) throw_shortage(error);
      why = fmt::format("nobody answers at {}/socket ({})", folder, strerror(error));
      if (!revived) {
        revived = true;
        options_.revive();
        continue;
      }
    } else {
      try {
        return knock(socket);
      } catch (const std::system_error& error) {
        throw_loop_failure("connecting to", options_.address.name, error.what());
      } catch (const kj::Exception& error) {
        throw_if_shortage(error);
        why = fmt::format("the connection broke ({})", error.getDescription().cStr());
      }
    }
    if (was_connected() && !options_.address.exists()) {
      throw ServerGone(fmt::format("the manager \"{}\" was ended: {}. Its objects that are open can still be used",
                                   options_.address.name, why));
    }
    if (std::chrono::steady_clock::now() >= end) {
      throw ServerGone(
          fmt::format("the manager \"{}\" has no server: {}. Start it again with `commonhold serve`; its "
                      "objects are still there, and those that are open can be used meanwhile",
                      options_.address.name, why));
    }
    std::this_thread::sleep_for(kRetryPause);
  }
}

std::shared_ptr<ServerLink::Connection> ServerLink::knock(int socket) {
  kj::AutoCloseFd owned(socket);
  const auto key = key_of(options_);
  if (!key) {
    throw AuthenticationError(
        fmt::format("the manager \"{}\" was started with an authkey of its own: pass it as .authkey or in {}",
                    options_.address.name, rpc::kKeyVariable));
  }
  auto made = std::make_shared<Connection>();
  const auto refusal = made->authenticate(owned.release(), *key, program_invocation_short_name);
  if (refusal) throw_refusal(*refusal, options_.address.name);
  const rpc::Admitted& admitted = made->admitted();
  made->facts = {admitted.name, admitted.folder, admitted.nonce, admitted.anonymous, admitted.starts};

  std::lock_guard hold(ForkGuard::instance().mutex);
  if (nonce_ == 0) nonce_ = made->facts.nonce;
  if (nonce_ != made->facts.nonce) {
    throw ServerGone(
        fmt::format("the manager \"{}\" was ended, and another one of its name was started: connect to it "
                    "anew. Objects of the former one that are open can still be used",
                    options_.address.name));
  }
  // Another thread may have been faster; then there are two, and this one serves this call.
  if (connection_ == nullptr) connection_ = made;
  return made;
}

template <typename Call>
auto ServerLink::call(bool repeatable, Call&& use) {
  constexpr int kTries = 5;
  for (int attempt = 1;; ++attempt) {
    auto connection = this->connection(options_.patience);
    if (!repeatable && connection->is_closed()) {
      drop(connection);
      connection = this->connection(options_.patience);
    }
    try {
      return connection->loop().run([&](kj::WaitScope& scope) { return use(*connection, scope); });
    } catch (const std::system_error& error) {
      throw_loop_failure("calling", options_.address.name, error.what());
    } catch (const kj::Exception& error) {
      const std::string what(error.getDescription().cStr());
      const auto type = error.getType();
      if (type != kj::Exception::Type::DISCONNECTED && type != kj::Exception::Type::OVERLOADED) {
        throw RemoteError(fmt::format("the server of the manager \"{}\" failed: {}", options_.address.name, what));
      }
      drop(connection);
      if (type == kj::Exception::Type::DISCONNECTED && repeatable && attempt < kTries) continue;
      throw ServerGone(
          fmt::format("the server of the manager \"{}\" went away during a call, which may have been done "
                      "or not: {}",
                      options_.address.name, what));
    } catch (const ObjectGone& gone) {
      // It was there when the server answered, and the server kept it for us until we had noted our reference. So the
      // server is gone since then, and its successor found nobody who referred to the object.
      const bool server_went = connection->is_closed();
      if (server_went) drop(connection);
      if (repeatable && attempt < kTries) continue;
      if (!server_went) throw;
      throw ServerGone(
          fmt::format("the server of the manager \"{}\" went away during a call, and what it gave with it: {}",
                      options_.address.name, gone.what()));
    }
  }
}

ServerFacts ServerLink::facts(Milliseconds patience) {
  return connection(patience)->facts;
}

void ServerLink::open(Opening opening, std::string_view name, const ObjectRequest& request,
                      const std::function<void(const OpenedObject&)>& note) {
  // Made twice, an object without a name ends by itself; one with a name would be in its own way.
  const bool repeatable = opening != Opening::kCreate;
  const auto ask = [&](schema::Session::Client& session) -> kj::Promise<OpenReply> {
    const auto read = [](auto&& response) { return to_reply(response.getResult()); };
    switch (opening) {
      case Opening::kOpen: {
        auto message = session.openRequest();
        message.setName(std::string(name));
        message.setKind(static_cast<schema::ObjectKind>(request.kind));
        message.setSignature(request.signature);
        message.setArguments(kj::arrayPtr(request.arguments, std::size(request.arguments)));
        message.setCompared(request.compared);
        return message.send().then(read);
      }
      case Opening::kOpenOrCreate: {
        auto message = session.openOrCreateRequest();
        write_plan(message.initPlan(), name, request);
        return message.send().then(read);
      }
      case Opening::kAnonymous:
      case Opening::kCreate:
        break;
    }
    auto message = session.createRequest();
    write_plan(message.initPlan(), name, request);
    return message.send().then(read);
  };
  const auto refusal = call(repeatable, [&](Connection& connection, kj::WaitScope& scope) -> std::optional<Refusal> {
    // A constructor of the program's own may take its time.
    const OpenReply reply = request.kind == ObjectKind::kCustom ? ask(connection.session()).wait(scope)
                                                                : connection.await(ask(connection.session()), scope);
    if (!reply.refusal) note(reply.object);
    return reply.refusal;
  });
  if (refusal) throw_refusal(*refusal, name);
}

void ServerLink::name(shm::ObjectId id, std::string_view name, bool or_open,
                      const std::function<void(const OpenedObject&)>& note) {
  const auto refusal = call(true, [&](Connection& connection, kj::WaitScope& scope) -> std::optional<Refusal> {
    auto message = connection.session().nameRequest();
    message.initObject().setIndex(id.index);
    message.getObject().setGeneration(id.generation);
    message.setName(std::string(name));
    message.setOrOpen(or_open);
    const OpenReply reply =
        connection.await(message.send().then([](auto&& response) { return to_reply(response.getResult()); }), scope);
    if (!reply.refusal) note(reply.object);
    return reply.refusal;
  });
  if (refusal) throw_refusal(*refusal, name);
}

void ServerLink::remove(std::string_view name) {
  const auto refusal = call(false, [&](Connection& connection, kj::WaitScope& scope) {
    auto message = connection.session().removeRequest();
    message.setName(std::string(name));
    return to_refusal(connection.await(message.send(), scope).getResult());
  });
  if (refusal) throw_refusal(*refusal, name);
}

std::vector<ObjectInfo> ServerLink::objects() {
  std::vector<ObjectInfo> all;
  std::uint32_t after = 0;
  do {
    after = call(true, [&](Connection& connection, kj::WaitScope& scope) {
      auto message = connection.session().listRequest();
      message.setAfter(after);
      auto response = connection.await(message.send(), scope);
      for (auto object : response.getObjects()) {
        ObjectInfo info;
        info.name = object.getName();
        info.type = object.getSignature();
        info.bytes = object.getBytes();
        info.processes = object.getSessions();
        info.created_ns = object.getCreatedNs();
        info.id = shm::ObjectId{object.getId().getIndex(), object.getId().getGeneration()}.word();
        all.push_back(std::move(info));
      }
      return response.getNext();
    });
  } while (after != 0);
  return all;
}

MethodReply ServerLink::call_method(shm::ObjectId id, const std::string& method, std::string_view arguments,
                                    const std::function<void(std::string_view)>& note) {
  using Answer = std::pair<std::optional<Refusal>, MethodReply>;
  auto [refusal, reply] = call(false, [&](Connection& connection, kj::WaitScope& scope) -> Answer {
    auto message = connection.session().callRequest();
    message.initObject().setIndex(id.index);
    message.getObject().setGeneration(id.generation);
    message.setMethod(method);
    message.setArguments(to_data(arguments));
    auto response = message.send().wait(scope);
    auto result = response.getResult();
    if (result.isFailure()) return {to_refusal(result.getFailure()), {}};
    if (result.isRaised()) return {std::nullopt, {true, result.getRaised().getType(), result.getRaised().getMessage()}};
    auto value = result.getOk().getValue();
    note({reinterpret_cast<const char*>(value.begin()), value.size()});
    return {};
  });
  if (refusal) throw_refusal(*refusal, {});
  return std::move(reply);
}

std::vector<std::string> ServerLink::methods(shm::ObjectId id) {
  std::vector<std::string> names;
  const auto refusal = call(true, [&](Connection& connection, kj::WaitScope& scope) -> std::optional<Refusal> {
    auto message = connection.session().methodsRequest();
    message.initObject().setIndex(id.index);
    message.getObject().setGeneration(id.generation);
    auto response = connection.await(message.send(), scope);
    if (response.getResult().isFailure()) return to_refusal(response.getResult().getFailure());
    names.clear();
    for (auto name : response.getResult().getOk()) names.emplace_back(name.cStr());
    return std::nullopt;
  });
  if (refusal) throw_refusal(*refusal, {});
  return names;
}

void ServerLink::shut_down() {
  // Done twice it is done once: a manager that was started anew under the name has another nonce, and is refused.
  const auto refusal = call(true, [](Connection& connection, kj::WaitScope& scope) {
    return to_refusal(connection.await(connection.session().shutdownRequest().send(), scope).getResult());
  });
  if (refusal && refusal->code != Code::SHUTTING_DOWN) throw_refusal(*refusal, {});
}

std::uint64_t ServerLink::detach() {
  std::uint64_t asked = 0;
  const auto refusal = call(false, [&](Connection& connection, kj::WaitScope& scope) {
    asked = connection.facts.starts;
    return to_refusal(connection.await(connection.session().detachRequest().send(), scope).getResult());
  });
  if (refusal && refusal->code != Code::SHUTTING_DOWN) throw_refusal(*refusal, {});
  return asked;
}

}  // namespace commonhold::detail
