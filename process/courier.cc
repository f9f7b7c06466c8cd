// Connections and descriptors that travel where no descriptor can: inside of a pool's tasks and results, and in shared
// objects, as tickets.
//
// The sender keeps a descriptor of its own for each ticket, and a thread that hands it, once, to a process of the same
// program that comes with the ticket. When the sender dies, its tickets are void: redeem_connection() throws.
//
// Thread safety: any thread. A forked child has tickets of its own; its parent's are redeemed at the parent.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <variant>

#include <commonhold/current_process.h>
#include <commonhold/detail/quiet_threads.h>
#include <commonhold/detail/task_codec.h>
#include <commonhold/errors.h>
#include <commonhold/listener.h>

#include "process/identity.h"
#include "process/wire.h"

namespace commonhold {

FileDescriptor::FileDescriptor(int descriptor) : descriptor_(descriptor) {
  if (fcntl(descriptor, F_GETFD) < 0) {
    throw ValueError("FileDescriptor(" + std::to_string(descriptor) + "): that is no open descriptor");
  }
}

FileDescriptor::~FileDescriptor() {
  if (descriptor_ >= 0) close(descriptor_);
}

FileDescriptor FileDescriptor::duplicate() const {
  const int copy = fcntl(descriptor_, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) throw SystemError(errno, "a descriptor cannot be duplicated: " + std::string(strerror(errno)));
  return FileDescriptor(copy);
}

}  // namespace commonhold

namespace commonhold::detail {

namespace {

using namespace std::chrono_literals;
constexpr std::string_view kPrefix = "connection:";

constexpr std::chrono::hours kOfferedFor{1};

struct Offer {
  std::variant<Connection, FileDescriptor> open;
  std::chrono::steady_clock::time_point since;
};

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

  std::string offer(std::variant<Connection, FileDescriptor> open, std::shared_ptr<void>* kept) {
    std::uint64_t number = 0;
    {
      std::lock_guard guard(mutex_);
      // What nobody came for in an hour is offered no longer.
      const auto now = std::chrono::steady_clock::now();
      std::erase_if(offered_, [&](const auto& one) { return now - one.second.since > kOfferedFor; });
      number = ++last_;
      offered_.emplace(number, Offer{std::move(open), now});
    }
    if (kept != nullptr) kept->reset(this, [number](Courier* courier) { courier->withdraw(number); });
    return std::string(kPrefix) + std::to_string(number) + ":" + listener_.address().path();
  }

  // In a forked child an offer is its parent's, and so is the mutex.
  void withdraw(std::uint64_t number) noexcept {
    if (made_by_ != getpid()) return;
    std::lock_guard guard(mutex_);
    offered_.erase(number);
  }
  bool is_at(std::string_view path) const { return listener_.address().path() == path; }

 private:
  Courier() : listener_(Address(), {.authkey = identity().authkey}) {
    const int error = start_quiet_thread([this] { serve(); });
    if (error != 0) throw_wire_error("starting a thread that hands connections on", error);
  }

  void hand_over(Connection client) noexcept try {
    // It says at once what it came for.
    if (!client.poll_for(5s)) return;
    const auto number = client.recv<std::uint64_t>();
    std::lock_guard guard(mutex_);
    const auto found = offered_.find(number);
    if (found == offered_.end()) return;  // it sees the end of the connection
    std::visit([&](const auto& open) { client.send(open); }, found->second.open);
    offered_.erase(found);
  } catch (...) {
    // That client's fault, or its death.
  }

  void serve() noexcept {
    for (;;) {
      try {
        // A thread for each: none waits for another one that says nothing.
        auto client = std::make_shared<Connection>(listener_.accept());
        const int error = start_quiet_thread([this, client] { hand_over(std::move(*client)); });
        // No thread to be had: that client sees the end of the connection.
        if (error != 0) std::this_thread::sleep_for(10ms);
      } catch (const SystemError& error) {
        if (error.code() == EMFILE || error.code() == ENFILE || error.code() == ENOMEM) {
          std::this_thread::sleep_for(10ms);
        }
      } catch (...) {
        // That client's fault, or its death.
      }
    }
  }

  const pid_t made_by_ = getpid();
  Listener listener_;
  std::mutex mutex_;
  // Guarded by the mutex.
  std::map<std::uint64_t, Offer> offered_;
  std::uint64_t last_ = 0;
};

struct Ticket {
  std::uint64_t number;
  std::string_view path;  // of the sender's listener
};

std::optional<Ticket> parse(std::string_view text) {
  Ticket ticket{};
  if (!is_ticket(text)) return std::nullopt;
  const std::string_view rest = text.substr(kPrefix.size());
  const auto [colon, error] = std::from_chars(rest.data(), rest.data() + rest.size(), ticket.number);
  const auto digits = static_cast<std::size_t>(colon - rest.data());
  if (error != std::errc() || digits == rest.size() || *colon != ':') return std::nullopt;
  ticket.path = rest.substr(digits + 1);
  return ticket;
}

}  // namespace

bool is_ticket(std::string_view text) {
  return text.starts_with(kPrefix);
}

void withdraw_offer(std::string_view text) noexcept try {
  const std::optional<Ticket> ticket = parse(text);
  if (!ticket) return;
  Courier& courier = Courier::instance();
  if (courier.is_at(ticket->path)) courier.withdraw(ticket->number);
} catch (...) {
  // It offers nothing: there is no courier.
}

std::string offer_connection(const Connection& connection, std::shared_ptr<void>* kept) {
  return Courier::instance().offer(connection.duplicate(), kept);
}

std::string offer_descriptor(const FileDescriptor& descriptor, std::shared_ptr<void>* kept) {
  return Courier::instance().offer(descriptor.duplicate(), kept);
}

namespace {

template <typename T>
T redeem(std::string_view text) {
  const std::optional<Ticket> ticket = parse(text);
  if (!ticket) throw ValueError("what was to be a connection or descriptor is no ticket for one");
  try {
    Client sender(Address(std::string(ticket->path)), {.authkey = identity().authkey});
    sender.send(ticket->number);
    return sender.recv<T>();
  } catch (const EndOfFile&) {
    throw SystemError(ENOENT, "the connection or descriptor was taken already: its ticket is good for once");
  } catch (const AuthenticationError& error) {
    throw SystemError(EACCES, std::string("the sender of a connection or descriptor gave it not: ") + error.what());
  }
}

}  // namespace

Connection redeem_connection(std::string_view text) {
  return redeem<Connection>(text);
}
FileDescriptor redeem_descriptor(std::string_view text) {
  return redeem<FileDescriptor>(text);
}

}  // namespace commonhold::detail
