#include "process/courier.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>

#include <commonhold/current_process.h>
#include <commonhold/detail/task_codec.h>
#include <commonhold/errors.h>
#include <commonhold/listener.h>

#include "process/identity.h"
#include "process/wire.h"

namespace commonhold::detail {

namespace {

using namespace std::chrono_literals;
constexpr std::string_view kPrefix = "connection:";

// One for each process that has offered anything; leaked, since its thread may be at work until the very end.
class Courier {
 public:
  static Courier& instance() {
    static std::mutex mutex;
    static Courier* courier = nullptr;
    // In a forked child another thread of the parent may have held the mutex.
    static const int renewed = pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); },
                                              [] {
                                                courier = nullptr;  // the parent's
                                                mutex.unlock();
                                              });
    static_cast<void>(renewed);
    std::lock_guard guard(mutex);
    if (courier == nullptr) courier = new Courier;
    return *courier;
  }

  std::string offer(Connection connection) {
    std::lock_guard guard(mutex_);
    const std::uint64_t number = ++last_;
    offered_.emplace(number, std::move(connection));
    return std::string(kPrefix) + std::to_string(number) + ":" + listener_.address().path();
  }

 private:
  Courier() : listener_(Address(), {.authkey = identity().authkey}) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    try {
      std::thread([this] { serve(); }).detach();
    } catch (const std::system_error& refusal) {
      error = refusal.code().value();
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (error != 0) throw_wire_error("starting a thread that hands connections on", error);
  }

  void serve() noexcept {
    for (;;) {
      try {
        Connection client = listener_.accept();
        // It says at once what it came for.
        if (!client.poll_for(5s)) continue;
        const auto number = client.recv<std::uint64_t>();
        std::lock_guard guard(mutex_);
        const auto found = offered_.find(number);
        if (found == offered_.end()) continue;  // it sees the end of the connection
        client.send(found->second);
        offered_.erase(found);
      } catch (const SystemError& error) {
        if (error.code() == EMFILE || error.code() == ENFILE || error.code() == ENOMEM) {
          std::this_thread::sleep_for(10ms);
        }
      } catch (...) {
        // That client's fault, or its death.
      }
    }
  }

  Listener listener_;
  std::mutex mutex_;
  // Guarded by the mutex.
  std::map<std::uint64_t, Connection> offered_;
  std::uint64_t last_ = 0;
};

}  // namespace

std::string offer_connection(const Connection& connection) {
  return Courier::instance().offer(connection.duplicate());
}

Connection redeem_connection(std::string_view ticket) {
  const std::size_t colon = ticket.find(':', kPrefix.size());
  if (!ticket.starts_with(kPrefix) || colon == std::string_view::npos) {
    throw ValueError("what was to be a connection is no ticket for one");
  }
  std::uint64_t number = 0;
  for (const char digit : ticket.substr(kPrefix.size(), colon - kPrefix.size())) {
    number = number * 10 + static_cast<std::uint64_t>(digit - '0');
  }
  try {
    Client sender(Address(std::string(ticket.substr(colon + 1))), {.authkey = identity().authkey});
    sender.send(number);
    return sender.recv<Connection>();
  } catch (const EndOfFile&) {
    throw SystemError(ENOENT, "the connection was taken already: a task that is run again cannot have it");
  } catch (const AuthenticationError& error) {
    throw SystemError(EACCES, std::string("the connection's sender gave it not: ") + error.what());
  }
}

}  // namespace commonhold::detail
