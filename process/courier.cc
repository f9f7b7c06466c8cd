// Connections and descriptors that travel where no descriptor can: inside of a pool's tasks and results, and in shared
// objects, as tickets.
//
// The sender keeps a descriptor of its own for each ticket, and a thread that hands a copy of it to every process of the
// same program that comes with the ticket, until one says that it took the ticket out of where it was, or the sender
// withdraws it, or nobody has come for an hour. When the sender dies, its tickets are void.
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
#include <commonhold/detail/tickets.h>
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

using Open = std::variant<Connection, FileDescriptor>;
struct Offer {
  std::shared_ptr<const Open> open;
  std::chrono::steady_clock::time_point wanted;  // last
};

// What a client comes for.
enum class Wish : std::uint8_t {
  kCopy = 0,
  kTaken = 1,  // nothing more: it has a copy, and the ticket is used up
  kTake = 2    // the last copy
};
struct Request {
  std::uint64_t number = 0;
  Wish wish = Wish::kCopy;
};

}  // namespace

// One for each process that has offered anything; leaked, since its thread may be at work until the very end.
class Courier {
 public:
  static Courier& instance() {
    std::lock_guard guard(mutex_of_all());
    if (courier_ == nullptr) courier_ = new Courier;
    return *courier_;
  }
  // nullptr: this process has offered nothing.
  static Courier* existing() {
    std::lock_guard guard(mutex_of_all());
    return courier_;
  }

  std::string offer(Open open) {
    std::lock_guard guard(mutex_);
    const auto now = std::chrono::steady_clock::now();
    std::erase_if(offered_, [&](const auto& one) { return now - one.second.wanted > kOfferedFor; });
    const std::uint64_t number = ++last_;
    offered_.emplace(number, Offer{std::make_shared<const Open>(std::move(open)), now});
    return std::string(kPrefix) + std::to_string(number) + ":" + listener_.address().path();
  }

  void withdraw(std::uint64_t number) noexcept {
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
    const auto request = client.recv<Request>();
    std::shared_ptr<const Open> open;
    {
      std::lock_guard guard(mutex_);
      const auto found = offered_.find(request.number);
      if (found == offered_.end()) return;  // it sees the end of the connection
      if (request.wish == Wish::kTaken) return void(offered_.erase(found));
      found->second.wanted = std::chrono::steady_clock::now();
      open = found->second.open;
    }
    std::visit([&](const auto& one) { client.send(one); }, *open);
    open.reset();
    if (request.wish == Wish::kTake) withdraw(request.number);
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

  // Of the courier itself. A forked child has none of its own, and keeps open nothing of its parent's.
  static std::mutex& mutex_of_all() {
    static std::mutex mutex;
    static const int at_forks = pthread_atfork([] { lock_for_fork(); }, [] { unlock_after_fork(); },
                                               [] {
                                                 if (courier_ != nullptr) {
                                                   courier_->offered_.clear();
                                                   courier_->listener_.close_in_child();
                                                 }
                                                 unlock_after_fork();
                                                 courier_ = nullptr;
                                               });
    static_cast<void>(at_forks);
    return mutex;
  }
  static void lock_for_fork() {
    mutex_of_all().lock();
    if (courier_ != nullptr) courier_->mutex_.lock();
  }
  static void unlock_after_fork() {
    if (courier_ != nullptr) courier_->mutex_.unlock();
    mutex_of_all().unlock();
  }
  static constinit inline Courier* courier_ = nullptr;  // guarded by that mutex

  Listener listener_;
  std::mutex mutex_;
  // Guarded by the mutex.
  std::map<std::uint64_t, Offer> offered_;
  std::uint64_t last_ = 0;
};

namespace {

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

void withdraw_offer(std::string_view text) noexcept {
  const std::optional<Ticket> ticket = parse(text);
  Courier* courier = ticket ? Courier::existing() : nullptr;
  if (courier != nullptr && courier->is_at(ticket->path)) courier->withdraw(ticket->number);
}

std::string offer_connection(const Connection& connection) {
  std::string ticket = Courier::instance().offer(connection.duplicate());
  TicketsWritten::note(ticket, withdraw_offer);
  return ticket;
}

std::string offer_descriptor(const FileDescriptor& descriptor) {
  std::string ticket = Courier::instance().offer(descriptor.duplicate());
  TicketsWritten::note(ticket, withdraw_offer);
  return ticket;
}

namespace {

Client client_of(const Ticket& ticket, Wish wish, std::chrono::nanoseconds patience) {
  const auto time = std::chrono::duration_cast<std::chrono::milliseconds>(patience);
  Client sender(Address(std::string(ticket.path)), {.authkey = identity().authkey, .answer_within = time});
  sender.send(Request{ticket.number, wish});
  return sender;
}

// The sender, who may have died meanwhile, keeps its copy for an hour else.
void note_taken(std::string_view text) noexcept try {
  const std::optional<Ticket> ticket = parse(text);
  if (!ticket) return;
  Courier* courier = Courier::existing();
  if (courier != nullptr && courier->is_at(ticket->path)) return courier->withdraw(ticket->number);
  (void)client_of(*ticket, Wish::kTaken, kTicketPatience);
} catch (...) {
}

[[noreturn]] void throw_unanswered(std::chrono::nanoseconds patience) {
  const auto time = std::chrono::duration_cast<std::chrono::milliseconds>(patience);
  throw SystemError(ETIMEDOUT, "the process that offers a connection or descriptor did not answer for " +
                                   std::to_string(time.count()) + " ms: it may be stopped. What it offers stays");
}

template <typename T>
T redeem(std::string_view text) {
  const std::optional<Ticket> ticket = parse(text);
  if (!ticket) throw ValueError("what was to be a connection or descriptor is no ticket for one");
  const bool at_once = TicketsRead::ends_at_once();
  const std::chrono::nanoseconds patience = TicketsRead::patience();
  const auto start = std::chrono::steady_clock::now();
  try {
    Client sender = client_of(*ticket, at_once ? Wish::kTake : Wish::kCopy, patience);
    if (!sender.poll_for(patience)) throw_unanswered(patience);
    T redeemed = sender.template recv<T>();
    if (!at_once) TicketsRead::note(std::string(text), note_taken);
    return redeemed;
  } catch (const EndOfFile&) {
    TicketsRead::note_void();
    throw TicketGone(
        std::string(text), ENOENT,
        "its sender does not offer the connection or descriptor any more: somebody took it, or nobody came "
        "for it within an hour");
  } catch (const AuthenticationError& error) {
    if (std::chrono::steady_clock::now() - start >= patience) throw_unanswered(patience);
    throw SystemError(EACCES, std::string("the sender of a connection or descriptor gave it not: ") + error.what());
  } catch (const SystemError& error) {
    if (error.code() != ECONNREFUSED && error.code() != ENOENT) throw;
    TicketsRead::note_void();
    throw SystemError(error.code(),
                      std::string("the process that offered a connection or descriptor has ended: ") + error.what());
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
