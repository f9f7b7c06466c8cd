#include "commonhold/server_on_loop.h"

#include <unistd.h>

#include "manager/server_core.h"

namespace commonhold {

namespace {

manager::CoreOptions core_options(ServerOptions options) {
  manager::CoreOptions core;
  core.address = manager::address_for(options);
  core.memory_limit = options.memory_limit;
  core.authkey = std::move(options.authkey);
  core.log = std::move(options.log);
  if (!core.log) core.log = [](const std::string&) {};
  return core;
}

}  // namespace

ServerOnLoop::ServerOnLoop(kj::LowLevelAsyncIoProvider& io, kj::UnixEventPort& port, ServerOptions options)
    : core_(std::make_unique<manager::ServerCore>(core_options(std::move(options)))),
      io_(io),
      port_(port),
      pid_(getpid()) {}

ServerOnLoop::~ServerOnLoop() {
  if (pid_ != getpid()) {
    (void)core_.release();  // a forked child must not touch what its parent serves
    return;
  }
  core_->ask_to_end();
  core_->finish();
}

kj::Promise<void> ServerOnLoop::run() {
  return core_->serve_on(io_, port_).then([this]() { core_->finish(); });
}

void ServerOnLoop::shutdown() {
  core_->ask_to_end(manager::ServerCore::End::kRemove);
}

void ServerOnLoop::detach() {
  core_->ask_to_end(manager::ServerCore::End::kKeep);
}

const std::string& ServerOnLoop::name() const {
  return core_->address().name;
}

const std::string& ServerOnLoop::folder() const {
  return core_->address().folder;
}

}  // namespace commonhold
