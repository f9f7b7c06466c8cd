#include <commonhold/listener.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <memory>

#include <commonhold/detail/authentication.h>
#include <commonhold/detail/stopping.h>

#include "process/handshake.h"
#include "process/native_handshake.h"
#include "process/python_handshake.h"
#include "process/readiness.h"
#include "process/welcomes.h"
#include "process/wire.h"

namespace commonhold {

namespace {

using detail::Descriptor;

[[noreturn]] void throw_for(const char* doing, const Address& address, int error) {
  throw SystemError(error, std::string(doing) + " " + address.to_string() + " failed: " + strerror(error));
}

struct UnixAddress {
  explicit UnixAddress(const std::string& path) {
    if (path.empty() || path.size() > sizeof address.sun_path - 1) {
      throw ValueError("the path of a Unix socket has 1 to " + std::to_string(sizeof address.sun_path - 1) +
                       " bytes, not " + std::to_string(path.size()) + ": " + path);
    }
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path.data(), path.size());
    // An abstract name has no null at its end.
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (path[0] == '\0' ? 0 : 1));
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
  sockaddr_un address{};
  socklen_t size;
};

struct Addresses {
  Addresses(const Address& address, bool passive) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = passive ? AI_PASSIVE : 0;
    const char* host = address.host().empty() ? nullptr : address.host().c_str();
    const int error = getaddrinfo(host, std::to_string(address.port()).c_str(), &hints, &first);
    if (error != 0) throw ValueError("no address is known of " + address.to_string() + ": " + gai_strerror(error));
  }
  ~Addresses() { freeaddrinfo(first); }
  Addresses(const Addresses&) = delete;
  Addresses& operator=(const Addresses&) = delete;
  addrinfo* first = nullptr;
};

Address tcp_address(const sockaddr_storage& storage) {
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(storage);
    inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof text);
    return {text, ntohs(six.sin6_port)};
  }
  const auto& four = reinterpret_cast<const sockaddr_in&>(storage);
  inet_ntop(AF_INET, &four.sin_addr, text, sizeof text);
  return {text, ntohs(four.sin_port)};
}

Descriptor new_socket(int family) {
  Descriptor made(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (made.fd < 0) detail::throw_wire_error("making a socket", errno);
  return made;
}

// 0, or errno. An interrupted attempt goes on by itself.
int connect_to(int socket, const sockaddr* address, socklen_t size) {
  if (connect(socket, address, size) == 0) return 0;
  if (errno != EINTR) return errno;
  pollfd connected{socket, POLLOUT, 0};
  detail::wait_ready({&connected, 1}, detail::kForever);
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length);
  return error;
}

void send_at_once(int socket) {
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

Descriptor connect_by(const Address& address) {
  if (!address.is_tcp()) {
    const UnixAddress at(address.path());
    Descriptor made = new_socket(AF_UNIX);
    if (const int error = connect_to(made.fd, at.get(), at.size); error != 0) {
      throw_for("connecting to", address, error);
    }
    return made;
  }
  const Addresses found(address, false);
  int error = ECONNREFUSED;
  for (const addrinfo* at = found.first; at != nullptr; at = at->ai_next) {
    Descriptor made = new_socket(at->ai_family);
    error = connect_to(made.fd, at->ai_addr, at->ai_addrlen);
    if (error != 0) continue;
    send_at_once(made.fd);
    return made;
  }
  throw_for("connecting to", address, error);
}

std::unique_ptr<detail::Handshake> new_handshake(Protocol protocol, detail::End end, const std::string& key) {
  return protocol == Protocol::kPython ? detail::python_handshake(end, key) : detail::native_handshake(end, key);
}

std::string random_name() {
  std::string name("\0commonhold-", 12);
  for (const unsigned char byte : detail::make_challenge().substr(0, 16)) {
    name += "0123456789abcdef"[byte >> 4];
    name += "0123456789abcdef"[byte & 15];
  }
  return name;
}

}  // namespace

std::string Address::to_string() const {
  if (is_tcp_) return "tcp:" + host_ + ":" + std::to_string(port_);
  if (!path_.empty() && path_[0] == '\0') return "unix:@" + path_.substr(1);
  return "unix:" + path_;
}

Listener::Listener(const Address& address, ListenerOptions options)
    : address_(address), options_(std::move(options)), made_by_(getpid()) {
  if (!address_.is_tcp() && address_.path().empty()) {
    address_ = Address(random_name());
    own_user_only_ = true;
  }
  address_.is_tcp() ? bind_tcp() : bind_path();
  if (!options_.authkey || options_.authkey->empty()) return;
  try {
    (void)new_handshake(options_.protocol, detail::End::kListener, *options_.authkey);  // what it lacks is said now
    // Others may accept at the same socket, and take whom we saw.
    if (fcntl(descriptor_, F_SETFL, fcntl(descriptor_, F_GETFL) | O_NONBLOCK) != 0) {
      detail::throw_wire_error("making a listener", errno);
    }
    welcomes_ =
        std::make_unique<detail::Welcomes>(descriptor_, [protocol = options_.protocol, key = *options_.authkey] {
          return new_handshake(protocol, detail::End::kListener, key);
        });
  } catch (...) {
    close();
    throw;
  }
}

void Listener::bind_path() {
  const std::string& path = address_.path();
  Descriptor made = new_socket(AF_UNIX);
  if (path[0] == '\0') {
    const UnixAddress at(path);
    if (bind(made.fd, at.get(), at.size) != 0 || listen(made.fd, options_.backlog) != 0) {
      throw_for("listening at", address_, errno);
    }
  } else {
    // It gets its name when it listens already: a name that refuses connections is one that a dead listener left.
    const std::string temporary = path + "." + std::to_string(getpid()) + "~";
    const UnixAddress final_place(path), at(temporary);
    unlink(temporary.c_str());
    if (bind(made.fd, at.get(), at.size) != 0) throw_for("listening at", address_, errno);
    int error = listen(made.fd, options_.backlog) != 0 ? errno : 0;
    if (error == 0 && link(temporary.c_str(), path.c_str()) != 0) error = errno;
    struct stat status {};
    if (error == EEXIST && lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode) &&
        connect_to(new_socket(AF_UNIX).fd, final_place.get(), final_place.size) == ECONNREFUSED) {
      error = rename(temporary.c_str(), path.c_str()) != 0 ? errno : 0;
    }
    unlink(temporary.c_str());
    if (error != 0) throw_for("listening at", address_, error == EEXIST ? EADDRINUSE : error);
  }
  descriptor_ = made.release();
  identity_ = detail::identity_of(descriptor_);
}

void Listener::bind_tcp() {
  const Addresses found(address_, true);
  int error = EADDRNOTAVAIL;
  for (const addrinfo* at = found.first; at != nullptr; at = at->ai_next) {
    Descriptor made = new_socket(at->ai_family);
    const int on = 1;
    setsockopt(made.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(made.fd, at->ai_addr, at->ai_addrlen) != 0 || listen(made.fd, options_.backlog) != 0) {
      error = errno;
      continue;
    }
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    getsockname(made.fd, reinterpret_cast<sockaddr*>(&bound), &size);
    address_ = tcp_address(bound);
    descriptor_ = made.release();
    identity_ = detail::identity_of(descriptor_);
    return;
  }
  throw_for("listening at", address_, error);
}

Listener::Listener(Listener&& other) noexcept
    : address_(std::move(other.address_)),
      options_(std::move(other.options_)),
      last_accepted_(std::move(other.last_accepted_)),
      welcomes_(std::move(other.welcomes_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      identity_(other.identity_),
      made_by_(other.made_by_),
      own_user_only_(other.own_user_only_) {}

Listener& Listener::operator=(Listener&& other) noexcept {
  if (this != &other) {
    close();
    address_ = std::move(other.address_);
    options_ = std::move(other.options_);
    last_accepted_ = std::move(other.last_accepted_);
    welcomes_ = std::move(other.welcomes_);
    descriptor_ = std::exchange(other.descriptor_, -1);
    identity_ = other.identity_;
    made_by_ = other.made_by_;
    own_user_only_ = other.own_user_only_;
  }
  return *this;
}

Listener::~Listener() {
  close();
}

void Listener::close() noexcept {
  if (descriptor_ < 0) return;
  if (made_by_ == getpid() && !address_.is_tcp() && address_.path()[0] != '\0') unlink(address_.path().c_str());
  welcomes_.reset();
  detail::close_kept(std::exchange(descriptor_, -1), identity_);
}

void Listener::close_in_child() noexcept {
  (void)welcomes_.release();
  detail::close_kept(std::exchange(descriptor_, -1), identity_);
}

int Listener::fileno() const {
  if (descriptor_ < 0) throw Closed("fileno() of a listener that is closed");
  return welcomes_ != nullptr ? welcomes_->descriptor() : descriptor_;
}

std::optional<detail::Accepted> Listener::accept_one() const {
  for (;;) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    if (detail::in_stop_scope()) {
      pollfd client{descriptor_, POLLIN, 0};
      (void)detail::wait_ready({&client, 1}, detail::kForever);
    }
    Descriptor accepted(accept4(descriptor_, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC));
    if (accepted.fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
      throw_for("accepting at", address_, errno);
    }
    if (own_user_only_) {
      ucred who{};
      socklen_t length = sizeof who;
      if (getsockopt(accepted.fd, SOL_SOCKET, SO_PEERCRED, &who, &length) != 0 || who.uid != geteuid()) continue;
    }
    if (address_.is_tcp()) send_at_once(accepted.fd);
    return detail::Accepted{std::move(accepted), address_.is_tcp() ? tcp_address(peer) : Address()};
  }
}

Connection Listener::accept() {
  if (descriptor_ < 0) throw Closed("accept() of a listener that is closed");
  std::optional<detail::Accepted> accepted;
  if (welcomes_ != nullptr) {
    accepted = welcomes_->next([this] { return accept_one(); });
  } else {
    while (!(accepted = accept_one())) {
      // Somebody made the socket one that does not block.
      pollfd client{descriptor_, POLLIN, 0};
      detail::wait_ready({&client, 1}, detail::kForever);
    }
  }
  last_accepted_ = accepted->peer;
  return Connection(accepted->socket.release(), true, true, options_.protocol);
}

Client::Client(const Address& address, const ClientOptions& options)
    : Connection(connect_by(address).release(), true, true, options.protocol) {
  if (!options.authkey) return;
  detail::authenticate(*this, *new_handshake(options.protocol, detail::End::kConnector, *options.authkey),
                       options.answer_within);
}

}  // namespace commonhold
