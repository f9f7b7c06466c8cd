#include <commonhold/connection.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "process/readiness.h"
#include "process/wire.h"

namespace commonhold {

namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();
constexpr char kReadable = 1, kWritable = 2, kPythonSpoken = 4;
constexpr auto kNoItem = static_cast<detail::ItemKind>(0xff);

const char* word_for(detail::ItemKind kind) {
  switch (kind) {
    case detail::ItemKind::kBool:
      return "a truth value";
    case detail::ItemKind::kInt64:
      return "a whole number";
    case detail::ItemKind::kDouble:
      return "a floating point number";
    case detail::ItemKind::kText:
      return "a text";
    case detail::ItemKind::kBytes:
      return "bytes";
    case detail::ItemKind::kStruct:
      return "a struct";
    case detail::ItemKind::kNull:
      return "null";
    case detail::ItemKind::kCompound:
    case detail::ItemKind::kLinked:
      return "a compound value";
    default:
      return "something that send() did not make";
  }
}

std::string_view piece(std::string_view bytes, std::size_t offset, std::optional<std::size_t> size) {
  if (offset > bytes.size() || size.value_or(0) > bytes.size() - offset) {
    throw ValueError("send_bytes of " + (size ? std::to_string(*size) + " bytes" : std::string("all bytes")) +
                     " from " + std::to_string(offset) + " on, where there are " + std::to_string(bytes.size()));
  }
  return bytes.substr(offset, size.value_or(bytes.size()));
}

}  // namespace

Connection::Connection(int descriptor, bool readable, bool writable, Protocol protocol)
    : readable_(readable), writable_(writable), protocol_(protocol) {
  if (descriptor < 0) throw ValueError("a Connection of the descriptor " + std::to_string(descriptor));
  if (!readable && !writable) throw ValueError("a Connection that can neither receive nor send");
  int type = 0;
  socklen_t size = sizeof type;
  if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
      (type != SOCK_STREAM && type != SOCK_SEQPACKET)) {
    throw ValueError("a Connection needs a connected socket, and the descriptor " + std::to_string(descriptor) +
                     " is none that keeps the order of what is sent");
  }
  packets_ = type == SOCK_SEQPACKET;
  if (packets_ && protocol == Protocol::kPython) {
    throw ValueError("a Connection with Protocol::kPython needs a stream, and the descriptor " +
                     std::to_string(descriptor) + " is a socket of packets");
  }
  descriptor_ = descriptor;
  identity_ = detail::identity_of(descriptor);
}

Connection::Connection(Connection&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      identity_(other.identity_),
      readable_(other.readable_),
      writable_(other.writable_),
      packets_(other.packets_),
      protocol_(other.protocol_),
      buffer_(std::move(other.buffer_)) {}

Connection& Connection::operator=(Connection&& other) noexcept {
  if (this != &other) {
    close();
    descriptor_ = std::exchange(other.descriptor_, -1);
    identity_ = other.identity_;
    readable_ = other.readable_;
    writable_ = other.writable_;
    packets_ = other.packets_;
    protocol_ = other.protocol_;
    buffer_ = std::move(other.buffer_);
  }
  return *this;
}

Connection::~Connection() {
  close();
}

void Connection::close() noexcept {
  if (descriptor_ >= 0) detail::close_kept(std::exchange(descriptor_, -1), identity_);
}

int Connection::open(const char* call) const {
  if (descriptor_ < 0) throw Closed(std::string(call) + "() of a connection whose handle is closed");
  return descriptor_;
}

int Connection::receiving(const char* call) const {
  open(call);
  if (!readable_) throw UsageError(std::string(call) + "() of a connection that cannot receive");
  return descriptor_;
}

int Connection::sending(const char* call) const {
  open(call);
  if (!writable_) throw UsageError(std::string(call) + "() of a connection that cannot send");
  return descriptor_;
}

Connection Connection::duplicate() const {
  detail::Descriptor copy(fcntl(open("duplicate"), F_DUPFD_CLOEXEC, 3));
  if (copy.fd < 0) detail::throw_wire_error("duplicating a connection", errno);
  Connection made(copy.fd, readable_, writable_, protocol_);
  copy.release();
  return made;
}

int Connection::fileno() const {
  return open("fileno");
}

void Connection::send_bytes(std::string_view bytes, std::size_t offset, std::optional<std::size_t> size) {
  const int socket = sending("send_bytes");
  const std::string_view sent = piece(bytes, offset, size);
  packets_ ? detail::send_packet(socket, sent, {}) : detail::send_stream(socket, sent, {});
}

void Connection::send_bytes(std::span<const std::byte> bytes, std::size_t offset, std::optional<std::size_t> size) {
  send_bytes(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), offset, size);
}

void Connection::send_item(const detail::Item& item) {
  const int socket = sending("send");
  const char kind = static_cast<char>(item.kind);
  const std::string_view bytes(static_cast<const char*>(item.data), item.size);
  packets_ ? detail::send_packet(socket, {&kind, 1}, bytes) : detail::send_stream(socket, {&kind, 1}, bytes);
}

std::string Connection::receive(const char* call, std::uint64_t most) {
  const int socket = receiving(call);
  if (packets_ && buffer_ == nullptr) buffer_ = std::make_unique<char[]>(detail::kPacketBytes);
  detail::Message message =
      packets_ ? detail::receive_packet(socket, most, buffer_.get()) : detail::receive_stream(socket, most);
  if (message.is_descriptor) {
    if (protocol_ == Protocol::kPython) throw SystemError(EBADMSG, "a message of length -2 was announced");
    throw TypeMismatch(std::string(call) + "() met a descriptor, which recv_descriptor() or recv<Connection>() takes");
  }
  if (message.too_long != 0) {
    readable_ = false;
    if (!writable_) close();
    throw LimitReached("a message of " + std::to_string(message.too_long) + " bytes, where " + std::to_string(most) +
                       " are allowed; nothing more can be received here");
  }
  return std::move(message.bytes);
}

std::string Connection::recv_bytes(std::optional<std::size_t> most) {
  return receive("recv_bytes", most ? *most : kNoLimit);
}

std::size_t Connection::recv_bytes_into(std::span<std::byte> buffer, std::size_t offset) {
  receiving("recv_bytes_into");
  if (offset > buffer.size()) {
    throw ValueError("recv_bytes_into from " + std::to_string(offset) + " on, in a buffer of " +
                     std::to_string(buffer.size()) + " bytes");
  }
  std::string bytes = receive("recv_bytes_into", kNoLimit);
  const std::size_t size = bytes.size();
  if (size > buffer.size() - offset) {
    throw BufferTooShort(std::move(bytes), "a message of " + std::to_string(size) + " bytes, where " +
                                               std::to_string(buffer.size() - offset) + " have room; bytes() has it");
  }
  memcpy(buffer.data() + offset, bytes.data(), size);
  return size;
}

std::string Connection::recv_item(std::optional<detail::ItemKind> kind, std::optional<detail::ItemKind> plain) {
  std::string message = receive("recv", kNoLimit);
  const auto found = message.empty() ? kNoItem : static_cast<detail::ItemKind>(message[0]);
  // A compound value without references is one that may have some, too.
  const bool fits = !message.empty() && (!kind || found == *kind ||
                                         (*kind == detail::ItemKind::kLinked && found == detail::ItemKind::kCompound) ||
                                         (plain && (found == *plain || found == detail::ItemKind::kNull)));
  if (!fits) {
    throw TypeMismatch(std::string("recv() of ") + (kind ? word_for(*kind) : "a value") + " met " + word_for(found));
  }
  return message;
}

void Connection::refuse_for_python(const char* call) const {
  open(call);
  throw UsageError(std::string(call) +
                   "() of a connection with Protocol::kPython: no descriptors and no shared objects "
                   "travel to and from Python, and no connections");
}

void Connection::send_descriptor(int descriptor) {
  if (protocol_ == Protocol::kPython) refuse_for_python("send_descriptor");
  detail::send_descriptor(sending("send_descriptor"), packets_, descriptor, 0);
}

void Connection::send_connection(const Connection& other) {
  const int socket = sending("send");
  const int flags = (other.readable_ ? kReadable : 0) | (other.writable_ ? kWritable : 0) |
                    (other.protocol_ == Protocol::kPython ? kPythonSpoken : 0);
  detail::send_descriptor(socket, packets_, other.open("send"), static_cast<char>(flags));
}

int Connection::receive_descriptor(const char* call, std::string& flags) {
  const int socket = receiving(call);
  if (packets_ && buffer_ == nullptr) buffer_ = std::make_unique<char[]>(detail::kPacketBytes);
  detail::Message message =
      packets_ ? detail::receive_packet(socket, kNoLimit, buffer_.get()) : detail::receive_stream(socket, kNoLimit);
  if (!message.is_descriptor) {
    throw TypeMismatch(std::string(call) + "() met a message of " + std::to_string(message.bytes.size()) +
                       " bytes without a descriptor");
  }
  flags = std::move(message.bytes);
  return message.descriptor.release();
}

int Connection::recv_descriptor() {
  if (protocol_ == Protocol::kPython) refuse_for_python("recv_descriptor");
  std::string flags;
  return receive_descriptor("recv_descriptor", flags);
}

Connection Connection::recv_connection() {
  std::string flags;
  detail::Descriptor received(receive_descriptor("recv", flags));
  if (flags[0] == 0) throw TypeMismatch("recv() of a Connection met a plain descriptor");
  Connection made(received.fd, (flags[0] & kReadable) != 0, (flags[0] & kWritable) != 0,
                  (flags[0] & kPythonSpoken) != 0 ? Protocol::kPython : Protocol::kNative);
  received.release();
  return made;
}

bool Connection::wait_readable(std::int64_t wait) const {
  pollfd one{receiving("poll"), POLLIN, 0};
  return detail::wait_ready({&one, 1}, wait) != 0;
}

struct Pipe::Ends {
  Ends() {
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, descriptors) != 0) {
      detail::throw_wire_error("making a pipe", errno);
    }
  }
  int descriptors[2];
};

Pipe::Pipe(bool duplex) : Pipe(Ends(), duplex) {}

Pipe::Pipe(Ends ends, bool duplex)
    : first(ends.descriptors[0], true, duplex), second(ends.descriptors[1], duplex, true) {
  if (duplex) return;
  shutdown(ends.descriptors[0], SHUT_WR);
}

}  // namespace commonhold
