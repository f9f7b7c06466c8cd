#include "manager/server_core.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <system_error>

#include "manager/service.h"
#include "rpc/socket.h"
#include "shm/extents.h"

namespace commonhold::manager {

namespace {

constexpr kj::Duration kReplyLeavesWithin = 20 * kj::MILLISECONDS;

ServerError from_address(const rpc::AddressError& error) {
  using From = rpc::AddressError::Code;
  using To = ServerError::Code;
  To code = error.code() == From::kInvalid      ? To::kInvalid
            : error.code() == From::kPermission ? To::kPermission
                                                : To::kSystem;
  return ServerError(code, error.what());
}

// Runs one step of the start with the errors that our callers expect.
template <typename Step>
auto or_server_error(Step&& step) {
  try {
    return step();
  } catch (const rpc::AddressError& error) {
    throw from_address(error);
  } catch (const std::system_error& error) {
    throw ServerError(ServerError::Code::kSystem, error.what());
  }
}

}  // namespace

rpc::ManagerAddress address_for(const ServerOptions& options) {
  return or_server_error(
      [&]() { return options.name.empty() ? rpc::anonymous_address() : rpc::address_of(options.name); });
}

ServerCore::ServerCore(CoreOptions options) : options_(std::move(options)) {
  tenure_ = or_server_error(
      [&]() { return std::make_unique<Tenure>(options_.address, options_.memory_limit, options_.log); });
  try {
    key_ = or_server_error([&]() { return rpc::key_for_server(options_.address, options_.authkey); });
    registry_ = std::make_unique<Registry>(tenure_->segment());
    custom_objects_ = std::make_unique<CustomObjects>(tenure_->segment(), options_.authkey);
    registry_->after_destroying([this]() { custom_objects_->collect(); });
    listener_ = or_server_error([&]() { return rpc::listen_in_folder(options_.address.folder); });
  } catch (...) {
    if (!tenure_->adopted()) tenure_->close();
    throw;
  }
}

ServerCore::~ServerCore() {
  end_ = End::kKeep;
  if (tenure_ != nullptr) finish();
}

kj::Promise<void> ServerCore::serve_on(kj::LowLevelAsyncIoProvider& io, kj::UnixEventPort& port) {
  timer_ = &port.getTimer();
  auto asked = kj::newPromiseAndCrossThreadFulfiller<void>();
  {
    std::lock_guard guard(end_mutex_);
    end_fulfiller_ = kj::mv(asked.fulfiller);
    if (end_asked_) end_fulfiller_->fulfill();
  }
  accept_loop_ = std::make_unique<rpc::AcceptLoop>(
      io, port, std::exchange(listener_, -1),
      [this](rpc::Connection& connection) { return make_door(*this, connection); }, options_.log);
  Housekeeper::Lifeline lifeline{std::exchange(options_.lifeline_fd, -1), [this]() { ask_to_end(); }};
  auto first_look = [this]() {
    try {
      if (options_.serves_alone) remove_abandoned_folders(options_.address);
    } catch (const std::exception& error) {
      options_.log(fmt::format("what dead servers left stays: {}", error.what()));
    }
  };
  housekeeper_ = or_server_error([&]() {
    return std::make_unique<Housekeeper>(tenure_->segment(), *registry_, options_.log, std::move(lifeline),
                                         options_.serves_alone, first_look);
  });
  return asked.promise.exclusiveJoin(accept_loop_->run());
}

void ServerCore::ask_to_end(End how) {
  std::lock_guard guard(end_mutex_);
  if (end_asked_) return;
  end_asked_ = true;
  end_ = how;
  if (end_fulfiller_.get() != nullptr) end_fulfiller_->fulfill();
}

void ServerCore::end_after_reply(End how) {
  ending_ = timer_->afterDelay(kReplyLeavesWithin).then([this, how]() { ask_to_end(how); }).eagerlyEvaluate(nullptr);
}

void ServerCore::finish() {
  ending_ = nullptr;
  accept_loop_.reset();
  if (listener_ >= 0) close(std::exchange(listener_, -1));
  housekeeper_.reset();
  custom_objects_.reset();
  {
    std::lock_guard guard(end_mutex_);
    end_fulfiller_ = nullptr;
  }
  if (tenure_ == nullptr) return;
  if (end_ == End::kRemove) {
    tenure_->close();
  } else {
    unlink(options_.address.socket_file().c_str());
  }
  registry_.reset();
  tenure_.reset();
}

void serve_on_this_thread(ServerCore& core) {
  // KJ ignores SIGPIPE for the whole process when a loop is made. The program keeps its own setting: on this thread,
  // and on the housekeeper's, signals are blocked.
  struct sigaction pipe_action;
  sigaction(SIGPIPE, nullptr, &pipe_action);
  auto io = kj::setupAsyncIo();
  sigaction(SIGPIPE, &pipe_action, nullptr);
  pthread_setname_np(pthread_self(), "commonhold");
  const UseOfLoop use(core);
  core.serve_on(*io.lowLevelProvider, io.unixEventPort).wait(io.waitScope);
  core.finish();
}

}  // namespace commonhold::manager
