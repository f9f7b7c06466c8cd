// Listener and Client: connections between programs, over Unix sockets and TCP.
//
//   commonhold::Listener listener("/run/user/1000/orders", {.authkey = key});         // one program
//   commonhold::Connection connection = listener.accept();
//
//   commonhold::Client orders("/run/user/1000/orders", {.authkey = key});             // another one
//   orders.send(std::string("two of those"));
//
// With an authkey both ends prove that they know it, and the key never travels: the listener asks first. Its proof is
// an HMAC-SHA-512/256 of 32 random bytes of each end. What is sent afterwards is neither secret nor signed.
//
// With Protocol::kPython the other program is one in Python, with multiprocessing.connection's Client or Listener:
//
//   commonhold::Listener orders("/run/user/1000/orders", {.authkey = key, .protocol = commonhold::Protocol::kPython});
//
// Messages, and the proof of the key, are then Python's: an HMAC-SHA256 from Python 3.12 on, an HMAC-MD5 before. That
// proof says less than ours: an end's answer is about the other end's bytes alone, so that a program that sits between
// the two can pass it on. With a key it needs OpenSSL's libcrypto.so.3 at run time, and is a SystemError without.
//
// A death: a Listener that was killed leaves its socket file, which the next Listener with that path takes over; a
// listener without an address leaves nothing.
//
// Thread safety: one thread at a time for each Listener.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <commonhold/connection.h>

namespace commonhold {

namespace detail {
class Courier;    // process/courier.cc
class Welcomes;   // process/welcomes.h
struct Accepted;  // likewise
}  // namespace detail

// Where a Listener is. Unix: a path, or a name in the abstract namespace, which begins with a null. TCP: host and port.
class Address {
 public:
  Address() = default;                                   // for a Listener: a new abstract name, for this user alone
  Address(std::string path) : path_(std::move(path)) {}  // NOLINT: a path is an address
  Address(const char* path) : path_(path) {}             // NOLINT
  Address(std::string host, std::uint16_t port) : host_(std::move(host)), port_(port), is_tcp_(true) {}

  bool is_tcp() const { return is_tcp_; }
  const std::string& path() const { return path_; }
  const std::string& host() const { return host_; }
  std::uint16_t port() const { return port_; }
  std::string to_string() const;  // "tcp:127.0.0.1:7000", "unix:/run/x", "unix:@abstract"
  bool operator==(const Address&) const = default;

 private:
  std::string path_, host_;
  std::uint16_t port_ = 0;
  bool is_tcp_ = false;
};

struct ListenerOptions {
  int backlog = 128;                        // clients that may wait to be accepted
  std::optional<std::string> authkey = {};  // none or empty: anybody may connect
  Protocol protocol = Protocol::kNative;    // of every connection that it accepts
};

class Listener {
 public:
  // Port 0: any free one. SystemError with code() EADDRINUSE and the like.
  explicit Listener(const Address& address = {}, ListenerOptions options = {});
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&& other) noexcept;
  ~Listener();

  // Waits for the next client; with an authkey, for the next one that has proved that it knows the key: nobody waits for
  // another one's proof. AuthenticationError for one that does not know the key, or says nothing for ten seconds; the
  // listener goes on. Closed after close().
  Connection accept();

  const Address& address() const { return address_; }                             // with the real port or name
  const std::optional<Address>& last_accepted() const { return last_accepted_; }  // the empty address over Unix sockets
  // Removes the socket file, in the process that made it.
  void close() noexcept;
  bool closed() const { return descriptor_ < 0; }
  int fileno() const;  // readable when accept() has something to do; stays this object's

 private:
  friend class detail::Courier;
  // In a forked child, where another thread of the parent may have been at work on it.
  void close_in_child() noexcept;
  void bind_path();
  void bind_tcp();
  std::optional<detail::Accepted> accept_one() const;

  Address address_;
  ListenerOptions options_;
  std::optional<Address> last_accepted_;
  std::unique_ptr<detail::Welcomes> welcomes_;  // with an authkey
  int descriptor_ = -1;
  detail::KeptIdentity identity_;
  int made_by_ = 0;
  bool own_user_only_ = false;
};

struct ClientOptions {
  std::optional<std::string> authkey = {};  // given, the listener must prove that it knows it
  Protocol protocol = Protocol::kNative;    // the listener's
  // With an authkey: how long the listener may say nothing. A listener may be slow, or be stopped.
  std::chrono::milliseconds answer_within = std::chrono::seconds(10);
};

// A connection to a Listener.
class Client : public Connection {
 public:
  // SystemError with code() ECONNREFUSED or ENOENT when nobody listens; AuthenticationError.
  explicit Client(const Address& address, const ClientOptions& options = {});
};

}  // namespace commonhold
