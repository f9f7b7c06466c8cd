// Connection: one end of a channel that carries whole messages. Pipe: two ends that belong together.
//
//   commonhold::Pipe pipe;                                       // both ends send and receive
//   commonhold::Process child([&] { pipe.second.send(pipe.second.recv<int>() + 1); });
//   child.start();
//   pipe.first.send(41);
//   pipe.first.recv<int>();                                      // 42
//
// A shared object that is sent lives until it is received, also when its sender has dropped it or died meanwhile: for an
// hour at most. A message that nobody receives keeps its objects as long.
//
// Messages keep their borders, empty ones included, and arrive in order. send<T> and recv<T> take every type that a
// shared object can hold (codec.h); send_bytes and recv_bytes are for bytes as they are.
//
// The other end may be a Python program with a multiprocessing.connection of its own (Protocol::kPython; listener.h).
// Then null, bool, integers, floating point numbers, texts, bytes, types with a Codec, containers of such and Any
// travel, as pickles: detail/pickle.h has the table of what becomes what. To send a struct, a shared object, a Connection or a
// descriptor is a UsageError, to send a text that is no UTF-8 a ValueError. recv() throws TypeMismatch for a pickle of
// anything else, and for what is no pickle; LimitReached for one that is nested in more than 128 levels, or that
// mentions parts of itself so often that the value is far larger than the message. That message is lost, and the next
// one is fine. Nothing that a pickle says is run.
//
// A death: a Pipe's message arrives whole or not at all, whatever its length and whoever is killed while sending or
// receiving it; so several processes may send into one end, or receive from one, without a lock, and each message is
// received once. When every process that has one end open has closed it or died, the other one receives what was sent
// and then EndOfFile. A fork's child has both ends open: close those that it does not use. Connections over Listener
// and Client (listener.h) are between two processes; there an end that dies in the middle of a message is a
// SystemError.
//
// Thread safety: one thread may send while another one receives.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <commonhold/any.h>
#include <commonhold/attach.h>
#include <commonhold/detail/encoded.h>
#include <commonhold/detail/kept_descriptor.h>
#include <commonhold/detail/lock_calls.h>
#include <commonhold/detail/pickle.h>
#include <commonhold/detail/shape.h>
#include <commonhold/errors.h>
#include <commonhold/file_descriptor.h>

namespace commonhold {
namespace detail {
// Optionals whose plain values cannot be taken for the stored form of an optional.
template <typename T>
inline constexpr bool kTakesPlain = false;
template <Storable T>
inline constexpr bool kTakesPlain<std::optional<T>> = kKind<T> != kKind<std::optional<T>>;
}  // namespace detail

// How messages are written; both ends use the same one.
enum class Protocol {
  kNative,  // of this library: every type that a shared object can hold, shared objects, descriptors
  kPython,  // of Python's multiprocessing.connection, 3.4 or later: plain values, and bytes
};

// What several calls throw: Closed after close(); UsageError for an end that cannot receive, or cannot send; EndOfFile;
// SystemError with code() EPIPE when a message is sent to an end that is closed everywhere, with ECONNRESET, once, when
// the other end was closed with messages unread.
class Connection {
 public:
  // Takes over a connected Unix or TCP socket; for Protocol::kPython a stream. ValueError when it is none, or neither
  // readable nor writable.
  explicit Connection(int descriptor, bool readable = true, bool writable = true,
                      Protocol protocol = Protocol::kNative);
  Connection(Connection&& other) noexcept;
  Connection& operator=(Connection&& other) noexcept;
  ~Connection();

  // nullptr and std::nullopt are sent as null.
  template <typename T>
  void send(const T& value) {
    if (protocol_ == Protocol::kPython) return send_pickle(value);
    if constexpr (std::is_same_v<T, Connection>) {
      send_connection(value);
    } else if constexpr (std::is_same_v<T, FileDescriptor>) {
      send_descriptor(value.get());
    } else if constexpr (std::is_same_v<T, std::nullptr_t> || std::is_same_v<T, std::nullopt_t>) {
      send(Any());
    } else if constexpr (detail::Proxy<T>) {
      send_item(detail::Encoded<std::string>(detail::token_in_flight(*detail::Access::handle(value))).item());
    } else if constexpr (std::is_convertible_v<const T&, std::string_view>) {
      send_item(detail::Encoded<std::string>(std::string_view(value)).item());
    } else if constexpr (std::is_same_v<T, Any>) {
      send_item(detail::Encoded<T>::to_send(value).item());
    } else if constexpr (detail::kMayLink<T>) {
      const std::string bytes = detail::pack_to_send(value);
      send_item({detail::kKind<T>, bytes.data(), bytes.size()});
    } else {
      static_assert(detail::Storable<T>, "this type needs a specialisation of commonhold::Codec to be sent");
      send_item(detail::Encoded<T>(value).item());
    }
  }
  // TypeMismatch for a message of another kind, which is lost. An Any takes every message but a struct and a descriptor.
  // An optional number, text, bytes or struct takes what was sent as one, as a plain value, or as null.
  template <typename T>
  T recv() {
    if (protocol_ == Protocol::kPython) return recv_pickle<T>();
    if constexpr (std::is_same_v<T, Connection>) {
      return recv_connection();
    } else if constexpr (std::is_same_v<T, FileDescriptor>) {
      return FileDescriptor(recv_descriptor());
    } else if constexpr (detail::Proxy<T>) {
      return attach<T>(recv<std::string>());
    } else if constexpr (std::is_same_v<T, Any>) {
      const std::string message = recv_item({});
      return T::received(static_cast<detail::ItemKind>(message[0]), std::string_view(message).substr(1));
    } else if constexpr (detail::kMayLink<T>) {
      const std::string message = recv_item(detail::kKind<T>);
      [[maybe_unused]] const detail::ReadingMessage<T> tickets;
      return detail::unpack_received<T>(std::string_view(message).substr(1));
    } else if constexpr (detail::kTakesPlain<T>) {
      constexpr detail::ItemKind kPlain = detail::kKind<typename T::value_type>;
      const std::string message = recv_item(detail::kKind<T>, kPlain);
      [[maybe_unused]] const detail::ReadingMessage<T> tickets;
      const std::string_view bytes = std::string_view(message).substr(1);
      const auto kind = static_cast<detail::ItemKind>(message[0]);
      if (kind == detail::ItemKind::kNull) return std::nullopt;
      return kind == kPlain ? T(detail::decode<typename T::value_type>(bytes)) : detail::decode<T>(bytes);
    } else {
      static_assert(detail::Storable<T>, "this type needs a specialisation of commonhold::Codec to be received");
      const std::string message = recv_item(detail::kKind<T>);
      [[maybe_unused]] const detail::ReadingMessage<T> tickets;
      return detail::decode<T>(std::string_view(message).substr(1));
    }
  }

  // `size` bytes from `offset` on, all of them when none is given. ValueError outside of `bytes`. Nothing was sent when
  // it throws. Waits while the channel is full.
  void send_bytes(std::string_view bytes, std::size_t offset = 0, std::optional<std::size_t> size = std::nullopt);
  void send_bytes(std::span<const std::byte> bytes, std::size_t offset = 0,
                  std::optional<std::size_t> size = std::nullopt);
  // A message longer than `most` is a LimitReached, and then nothing more can be received here.
  std::string recv_bytes(std::optional<std::size_t> most = std::nullopt);
  // Its length. BufferTooShort has the message when there is no room for it behind `offset`.
  std::size_t recv_bytes_into(std::span<std::byte> buffer, std::size_t offset = 0);

  // A descriptor of the receiver's own, for the same open file; it is for the receiver to close, and is closed on exec.
  // The sender may close its own at once. Unix sockets only, and Protocol::kNative.
  void send_descriptor(int descriptor);
  int recv_descriptor();

  // Whether something can be received, the end of file included; the timeout may be of any length.
  bool poll() const { return wait_readable(0); }
  template <typename Rep, typename Period>
  bool poll_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return wait_readable(detail::to_wait(timeout));
  }

  // Another handle of the same end, with a descriptor of its own.
  Connection duplicate() const;
  void close() noexcept;
  bool closed() const { return descriptor_ < 0; }
  bool readable() const { return readable_; }
  bool writable() const { return writable_; }
  Protocol protocol() const { return protocol_; }
  int fileno() const;  // stays this object's

 private:
  template <typename T>
  void send_pickle(const T& value) {
    sending("send");
    detail::PickleWriter out;
    detail::pickle(out, value);
    send_bytes(out.take());
  }
  template <typename T>
  T recv_pickle() {
    if constexpr (std::is_same_v<T, Connection>) {
      refuse_for_python("recv<Connection>");
    } else {
      const detail::Pickle message(receive("recv", std::numeric_limits<std::uint64_t>::max()));
      return detail::unpickle<T>(message, message.root());
    }
  }
  // Closed, else UsageError: what `call` is about does not travel to and from Python.
  [[noreturn]] void refuse_for_python(const char* call) const;

  int open(const char* call) const;
  int receiving(const char* call) const;
  int sending(const char* call) const;
  void send_item(const detail::Item& item);
  // A message of `kind`, of any kind if it is empty. With `plain`, null and messages of that kind as well.
  std::string recv_item(std::optional<detail::ItemKind> kind, std::optional<detail::ItemKind> plain = std::nullopt);
  void send_connection(const Connection& other);
  Connection recv_connection();
  std::string receive(const char* call, std::uint64_t most);
  int receive_descriptor(const char* call, std::string& flags);
  bool wait_readable(std::int64_t wait) const;

  int descriptor_ = -1;
  detail::KeptIdentity identity_;
  bool readable_ = true, writable_ = true;
  bool packets_ = false;  // the socket keeps borders itself
  Protocol protocol_ = Protocol::kNative;
  std::unique_ptr<char[]> buffer_;
};

namespace detail {
// A ticket for processes of the same program (detail/tickets.h), each of which gets the connection with it; the caller's
// stays as it is.
std::string offer_connection(const Connection& connection);
// SystemError when its sender is gone or offers it no longer; ValueError for what is no ticket.
Connection redeem_connection(std::string_view ticket);
}  // namespace detail

// In shared objects a ticket for the connection is stored, as for a FileDescriptor (file_descriptor.h).
template <>
struct Codec<Connection> {
  static constexpr std::string_view name = "connection";
  static constexpr bool is_ticket = true;
  static std::string encode(const Connection& connection) { return detail::offer_connection(connection); }
  static Connection decode(std::string_view bytes) { return detail::redeem_connection(bytes); }
};

// Two connected ends. Pipe(false): `first` only receives, `second` only sends.
struct Pipe {
  explicit Pipe(bool duplex = true);
  Connection first, second;

 private:
  struct Ends;
  explicit Pipe(Ends ends, bool duplex);
};

}  // namespace commonhold
