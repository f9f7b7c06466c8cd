#include "commonhold/server.h"

#include <fmt/format.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "manager/server_core.h"
#include "shm/blocked_signals.h"

namespace commonhold {

class Server::Running {
 public:
  explicit Running(manager::CoreOptions options) : log_(options.log), core_(std::move(options)) {
    const shm::BlockedSignals blocked;
    try {
      thread_ = std::thread([this]() { run(); });
    } catch (const std::system_error& error) {
      throw ServerError(ServerError::Code::kSystem,
                        fmt::format("starting the server's thread failed: {}", error.what()));
    }
  }
  ~Running() { thread_.join(); }

  bool is_of_this_process() const { return pid_ == getpid(); }
  manager::ServerCore& core() { return core_; }

  bool ended() {
    std::lock_guard guard(mutex_);
    return ended_;
  }
  void wait() {
    std::unique_lock guard(mutex_);
    changed_.wait(guard, [this]() { return ended_; });
  }
  bool wait_for(std::chrono::nanoseconds timeout) {
    std::unique_lock guard(mutex_);
    return changed_.wait_for(guard, timeout, [this]() { return ended_; });
  }

 private:
  void run() {
    try {
      manager::serve_on_this_thread(core_);
    } catch (const kj::Exception& exception) {
      log_(fmt::format("the server ends: {}", exception.getDescription().cStr()));
    } catch (const std::exception& exception) {
      log_(fmt::format("the server ends: {}", exception.what()));
    }
    std::lock_guard guard(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

  const pid_t pid_ = getpid();
  std::function<void(const std::string&)> log_;
  manager::ServerCore core_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;  // guarded by mutex_
  std::thread thread_;
};

Server::Server(ServerOptions options) : options_(std::move(options)) {
  if (!options_.log) options_.log = [](const std::string&) {};
}

Server::~Server() {
  if (running_ != nullptr && !running_->is_of_this_process()) {
    // A forked child has a copy of the object and not the thread: it must not touch anything.
    // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): without memory the child ends, and the parent goes on
    new std::shared_ptr<Running>(std::move(running_));
    return;
  }
  shutdown();
}

void Server::start() {
  if (running()) {
    throw ServerError(ServerError::Code::kAlreadyRunning, fmt::format("this server runs already, at {}", folder_));
  }
  running_.reset();
  rpc::ManagerAddress address = manager::address_for(options_);
  manager::CoreOptions core;
  core.address = address;
  core.memory_limit = options_.memory_limit;
  core.authkey = options_.authkey;
  core.log = options_.log;
  running_ = std::make_shared<Running>(std::move(core));
  name_ = address.name;
  folder_ = address.folder;
}

void Server::shutdown() {
  if (running_ == nullptr || !running_->is_of_this_process()) return;
  running_->core().ask_to_end(manager::ServerCore::End::kRemove);
  running_.reset();
}

void Server::detach() {
  if (running_ == nullptr || !running_->is_of_this_process()) return;
  running_->core().ask_to_end(manager::ServerCore::End::kKeep);
  running_.reset();
}

bool Server::running() const {
  return running_ != nullptr && running_->is_of_this_process() && !running_->ended();
}

void Server::wait() {
  if (running()) running_->wait();
}

bool Server::wait_for(std::chrono::nanoseconds timeout) {
  return !running() || running_->wait_for(timeout);
}

const std::string& Server::name() const {
  return name_;
}

const std::string& Server::folder() const {
  return folder_;
}

}  // namespace commonhold
