#include "manager/control.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "manager/adoption.h"
#include "rpc/accept_loop.h"
#include "rpc/authentication.h"
#include "rpc/folder_removal.h"
#include "rpc/knock.h"
#include "rpc/socket.h"

namespace commonhold::manager {

namespace {

using std::chrono::milliseconds;

void require_manager(const rpc::ManagerAddress& address) {
  rpc::require_own(address);
  if (address.exists()) return;
  throw ControlError(
      fmt::format("there is no manager \"{}\" ({} has no segment); `commonhold list` names those that are",
                  address.name, address.folder));
}

// How a manager is written on a command line.
const std::string& word_for(const rpc::ManagerAddress& address) {
  return address.under_root ? address.name : address.folder;
}

// Of a server that lives: a stopped one, one without descriptors, or one that is stuck.
ControlError is_silent(const rpc::ManagerAddress& address, milliseconds timeout) {
  const int pid = rpc::occupants_of(address).server_pid;
  const std::string seconds = fmt::format("{:g} seconds", static_cast<double>(timeout.count()) / 1000);
  if (pid == 0) {
    return ControlError(fmt::format(
        "the server of \"{}\" has not answered within {} and has ended meanwhile; try again", address.name, seconds));
  }
  return ControlError(
      fmt::format("the server of \"{}\" (process {}) has not answered within {}; where it is stopped, `kill -CONT {}` "
                  "lets it go on; where it has no descriptors left, clients that end give some back; else `kill -9 {}` "
                  "ends it and leaves its objects, which `commonhold destroy {}` then removes",
                  address.name, pid, seconds, pid, pid, word_for(address)));
}

ControlError does_not_answer(const rpc::ManagerAddress& address, int error, milliseconds timeout) {
  if (error == EAGAIN) return is_silent(address, timeout);
  return ControlError(
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

enum class Ending { kDestroy, kStop };

// What KJ throws carries a stack trace, which is for nobody who uses the command.
template <typename Call>
void without_kj(const rpc::ManagerAddress& address, Call&& call) {
  try {
    call();
  } catch (const kj::Exception& exception) {
    throw ControlError(
        fmt::format("talking to the server of \"{}\" failed: {}", address.name, exception.getDescription().cStr()));
  }
}

// Asks the server at the other end of `socket`; returns when the connection has ended. Waits for at most `timeout`.
void ask_server(const rpc::ManagerAddress& address, int socket_fd, Ending ending, milliseconds timeout) {
  auto io = kj::setupAsyncIo();
  kj::Timer& timer = io.provider->getTimer();
  const kj::TimePoint end = timer.now() + timeout.count() * kj::MILLISECONDS;
  const auto in_time = [&](auto&& promise) { return timer.timeoutAt(end, kj::mv(promise)).wait(io.waitScope); };
  kj::AutoCloseFd socket(socket_fd);
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
  auto note = [&](auto&& response) {
    auto outcome = response.getResult();
    if (outcome.isFailure()) refusal = outcome.getFailure().getMessage();
  };
  auto failure = kj::runCatchingExceptions([&]() {
    auto answer = in_time(rpc::knock(door, key, "commonhold"));
    if (auto* denied = std::get_if<rpc::Denied>(answer.get())) {
      refusal = denied->message;
      return;
    }
    auto& session = std::get<rpc::Admitted>(*answer).session;
    if (ending == Ending::kDestroy) {
      note(in_time(session.shutdownRequest().send()));
    } else {
      note(in_time(session.detachRequest().send()));
    }
  });
  KJ_IF_MAYBE (exception, failure) {
    if (timer.now() >= end) throw is_silent(address, timeout);
    throw ControlError(
        fmt::format("the server of \"{}\" broke the connection: {}", address.name, exception->getDescription().cStr()));
  }
  if (!refusal.empty()) throw ControlError(refusal);
  auto ended = kj::runCatchingExceptions([&]() { in_time(network.onDisconnect()); });
  if (ended != nullptr) throw is_silent(address, timeout);
}

// Waits until done() holds. What is not so in time is told as an error.
template <typename Done>
void wait_until(Done&& done, milliseconds timeout, const std::string& otherwise) {
  auto until = std::chrono::steady_clock::now() + timeout;
  while (!done()) {
    if (std::chrono::steady_clock::now() > until) throw ControlError(otherwise);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// Which file has a name, to tell whether it still has it when another server may have made a file of the same name.
class NamedFile {
 public:
  // REQUIRES: a server has the file: an open descriptor keeps remove_if_dead() from removing it.
  explicit NamedFile(std::string path) : path_(std::move(path)), file_(open(path_.c_str(), O_PATH | O_CLOEXEC)) {
    if (file_ < 0 && errno != ENOENT) throw ControlError(fmt::format("cannot look at {}: {}", path_, strerror(errno)));
  }
  bool is_there() const {
    struct stat mine, now;
    return file_ >= 0 && fstat(file_, &mine) == 0 && stat(path_.c_str(), &now) == 0 && mine.st_dev == now.st_dev &&
           mine.st_ino == now.st_ino;
  }

 private:
  std::string path_;
  kj::AutoCloseFd file_;  // the file's number is not used again meanwhile
};

// Of one whose server is dead. Clients that live keep what they have mapped, as at a shutdown.
void destroy_unserved(const rpc::ManagerAddress& address) {
  if (!rpc::remove_if_dead(address)) return;
  try {
    Tenure tenure(address, 0, [](const std::string&) {});
    tenure.close();
  } catch (const ServerError& error) {
    throw ControlError(error.what());
  }
}

}  // namespace

void destroy(const rpc::ManagerAddress& address, milliseconds timeout) {
  require_manager(address);
  int socket = rpc::connect_to_folder(address.folder, timeout);
  const int error = errno;
  if (socket < 0 && rpc::occupants_of(address).server_pid == 0) return destroy_unserved(address);
  if (socket < 0) throw does_not_answer(address, error, timeout);
  const NamedFile segment(address.segment_file()), locks(address.locks_file());
  without_kj(address, [&]() { ask_server(address, socket, Ending::kDestroy, timeout); });
  // The connection ends with the service, the folder a moment later.
  wait_until(
      [&]() { return !segment.is_there() && !locks.is_there(); }, timeout,
      fmt::format("the server of \"{}\" ended, but its folder {} is still there; look at it with `commonhold doctor`",
                  address.name, address.folder));
}

void stop(const rpc::ManagerAddress& address, milliseconds timeout) {
  require_manager(address);
  int socket = rpc::connect_to_folder(address.folder, timeout);
  const int error = errno;
  if (socket < 0 && rpc::occupants_of(address).server_pid == 0) {
    throw ControlError(
        fmt::format("no server runs for \"{}\"; its objects are there: `commonhold serve --name {}` goes "
                    "on with them, `commonhold destroy {}` removes them",
                    address.name, word_for(address), word_for(address)));
  }
  if (socket < 0) throw does_not_answer(address, error, timeout);
  const int server = rpc::occupants_of(address).server_pid;
  without_kj(address, [&]() { ask_server(address, socket, Ending::kStop, timeout); });
  const auto ended = [&]() {
    const int now = rpc::occupants_of(address).server_pid;
    return now == 0 || now != server;  // the next one may be there at once
  };
  wait_until(ended, timeout, fmt::format("the server of \"{}\" said that it ends and has not done so", address.name));
}

}  // namespace commonhold::manager
