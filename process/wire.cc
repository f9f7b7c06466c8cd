#include "process/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <span>

#include <commonhold/detail/lock_calls.h>
#include <commonhold/detail/stopping.h>
#include <commonhold/errors.h>

#include "process/readiness.h"

namespace commonhold::detail {

namespace {

enum PacketKind : char { kInline = 0, kInFile = 1, kDescriptorPacket = 2 };

constexpr std::int32_t kLong = -1, kDescriptorFollows = -2;
// As much of a message is expected ahead of its arrival: an announced length alone costs no memory.
constexpr std::size_t kStep = std::size_t{16} << 20;

iovec part(std::string_view bytes) {
  return {const_cast<char*>(bytes.data()), bytes.size()};
}

// Room for one descriptor's message.
struct Control {
  alignas(cmsghdr) char bytes[CMSG_SPACE(sizeof(int))] = {};
  void attach(msghdr& message, int descriptor) {
    message.msg_control = bytes;
    message.msg_controllen = sizeof bytes;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  }
};

// What one sendmsg takes; EINTR is never seen.
// `begun`: it is the rest of a message, which a stop does not cut off.
std::size_t send_some(int socket, const msghdr& message, bool begun) {
  const bool may_stop = !begun && in_stop_scope();
  for (;;) {
    const ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL | (may_stop ? MSG_DONTWAIT : 0));
    if (sent >= 0) return static_cast<std::size_t>(sent);
    if (may_stop && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      pollfd room{socket, POLLOUT, 0};
      (void)wait_ready({&room, 1}, kForever);
      poll(nullptr, 0, 1);  // there may be room, and not for all of a packet
      end_if_stopped("sending a message");
    } else if (errno != EINTR) {
      throw_wire_error("sending a message", errno);
    }
  }
}

// Sends all parts, however few bytes the socket takes at once.
void send_parts(int socket, iovec* parts, std::size_t count, int descriptor = -1) {
  msghdr message{};
  Control control;
  if (descriptor >= 0) control.attach(message, descriptor);
  for (bool begun = false; count != 0; begun = true) {
    message.msg_iov = parts;
    message.msg_iovlen = count;
    std::size_t sent = send_some(socket, message, begun);
    message.msg_control = nullptr;
    message.msg_controllen = 0;
    while (count != 0 && sent >= parts->iov_len) {
      sent -= parts->iov_len;
      ++parts, --count;
    }
    if (count != 0) {
      parts->iov_base = static_cast<char*>(parts->iov_base) + sent;
      parts->iov_len -= sent;
    }
  }
}

// recvmsg, but it looks for some microseconds before it sleeps: an answer from a process that runs is there within a
// few, and waking a sleeper takes tens. Who shares a processor with the sender lets him run meanwhile.
ssize_t receive_awake(int socket, msghdr& message, int flags) {
  constexpr std::chrono::microseconds kLookFor{10};
  const auto look = [&] { return recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT | flags); };
  const auto is_empty = [](ssize_t got) { return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK); };
  ssize_t got = look();
  if (!is_empty(got)) return got;
  const auto until = std::chrono::steady_clock::now() + kLookFor;
  do {
    sched_yield();
    got = look();
    if (!is_empty(got)) return got;
  } while (std::chrono::steady_clock::now() < until);
  if (in_stop_scope()) {
    pollfd one{socket, POLLIN, 0};
    (void)wait_ready({&one, 1}, kForever);
  }
  return recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags);
}

// One message or a part of one, with the descriptor that came along. 0: the end.
// `flags` MSG_PEEK: the message stays where it is.
struct Received {
  std::size_t size = 0;
  Descriptor descriptor;
  bool lost_descriptor = false;  // one came along, and this process has no room for it
};
Received receive_some(int socket, std::span<iovec> places, int flags = 0) {
  Control control;
  for (;;) {
    msghdr message{};
    message.msg_iov = places.data();
    message.msg_iovlen = places.size();
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    const ssize_t got = receive_awake(socket, message, flags);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_wire_error("receiving a message", errno);
    Received received;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
      int found = -1;
      memcpy(&found, CMSG_DATA(header), sizeof found);
      received.descriptor = Descriptor(found);
    }
    received.size = static_cast<std::size_t>(got);
    received.lost_descriptor = (message.msg_flags & MSG_CTRUNC) != 0 && received.descriptor.fd < 0;
    return received;
  }
}

// Looks at the next message's first bytes. A descriptor that comes with it is taken in now, while the message is where it
// was: without room for it this throws, and the next call finds the message again.
Received look_ahead(int socket, char* to, std::size_t size) {
  iovec place{to, size};
  Received seen = receive_some(socket, {&place, 1}, MSG_PEEK);
  if (seen.lost_descriptor) throw_wire_error("receiving a descriptor", EMFILE);
  return seen;
}

// Takes the message that was seen. Several processes may receive from one end: it may be another one that comes, with
// another descriptor. So the one that was seen makes room for the one that comes; it never stands in for it. The
// message is lost where another thread takes the room in that moment.
Received take_seen(int socket, std::span<iovec> places, Received seen) {
  seen.descriptor = Descriptor();
  Received taken = receive_some(socket, places);
  if (taken.lost_descriptor) throw_wire_error("receiving a descriptor", EMFILE);
  return taken;
}

void receive_all(int socket, char* to, std::size_t size) {
  while (size != 0) {
    const ssize_t got = recv(socket, to, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_wire_error("receiving a message", errno);
    if (got == 0) throw SystemError(EIO, "the other end closed the connection in the middle of a message");
    to += got;
    size -= static_cast<std::size_t>(got);
  }
}

template <typename Number>
Number big_endian(Number number) {
  if constexpr (std::endian::native == std::endian::little) {
    auto* bytes = reinterpret_cast<char*>(&number);
    std::reverse(bytes, bytes + sizeof number);
  }
  return number;
}

std::int32_t length_in(const char (&header)[4]) {
  std::int32_t word = 0;
  memcpy(&word, header, sizeof word);
  return big_endian(word);
}

void send_in_file(int socket, std::string_view first, std::string_view second) {
  const Descriptor file(memfd_create("commonhold-message", MFD_CLOEXEC));
  if (file.fd < 0) throw_wire_error("making a place for a long message", errno);
  for (std::string_view left : {first, second}) {
    while (!left.empty()) {
      const ssize_t written = write(file.fd, left.data(), left.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) throw_wire_error("writing a long message", errno);
      left.remove_prefix(static_cast<std::size_t>(written));
    }
  }
  char kind = kInFile;
  iovec parts[] = {{&kind, 1}};
  send_parts(socket, parts, 1, file.fd);
}

void read_file(int file, std::uint64_t most, Message& message) {
  struct stat status {};
  if (fstat(file, &status) != 0) throw_wire_error("receiving a long message", errno);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > most) {
    message.too_long = size;
    return;
  }
  // A length alone costs its sender nothing: there must be as much memory behind it as is asked for here.
  if (!S_ISREG(status.st_mode) || static_cast<std::uint64_t>(status.st_blocks) * 512 < size) {
    throw SystemError(EBADMSG, fmt::format("a long message of {} bytes is a file that does not hold them", size));
  }
  message.bytes.resize(size);
  std::size_t at = 0;
  while (at < size) {
    const ssize_t got = pread(file, message.bytes.data() + at, size - at, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw_wire_error("reading a long message", got < 0 ? errno : EIO);
    at += static_cast<std::size_t>(got);
  }
}

}  // namespace

void throw_wire_error(const char* doing, int error) {
  throw SystemError(error, fmt::format("{} failed: {}", doing, strerror(error)));
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    if (fd >= 0) ::close(fd);
    fd = other.release();
  }
  return *this;
}

Descriptor::~Descriptor() {
  if (fd >= 0) ::close(fd);
}

int Descriptor::release() {
  return std::exchange(fd, -1);
}

void send_packet(int socket, std::string_view first, std::string_view second) {
  if (first.size() + second.size() > kMostInline) return send_in_file(socket, first, second);
  char kind = kInline;
  iovec parts[] = {{&kind, 1}, part(first), part(second)};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 3;
  send_some(socket, message, false);  // a packet is taken whole
}

void send_stream(int socket, std::string_view first, std::string_view second) {
  const std::uint64_t size = first.size() + second.size();
  const bool is_long = size > INT32_MAX;
  char header[12];
  const auto word = big_endian(is_long ? kLong : static_cast<std::int32_t>(size));
  const auto length = big_endian(size);
  memcpy(header, &word, 4);
  memcpy(header + 4, &length, 8);
  iovec parts[] = {{header, is_long ? 12u : 4u}, part(first), part(second)};
  send_parts(socket, parts, 3);
}

void send_descriptor(int socket, bool packets, int descriptor, char flags) {
  char kind = kDescriptorPacket;
  auto word = big_endian(kDescriptorFollows);
  iovec parts[] = {packets ? iovec{&kind, 1} : iovec{&word, sizeof word}, {&flags, 1}};
  send_parts(socket, parts, 2, descriptor);
}

Message receive_packet(int socket, std::uint64_t most, char* buffer) {
  Message message;
  iovec place{buffer, kPacketBytes};
  Received seen = look_ahead(socket, buffer, 1);
  auto [size, descriptor, lost] = seen.size == 0 ? std::move(seen) : take_seen(socket, {&place, 1}, std::move(seen));
  if (size == 0) throw EndOfFile("the other end of the pipe is closed, and all its messages were received");
  if (buffer[0] == kInFile && descriptor.fd >= 0) {
    read_file(descriptor.fd, most, message);
  } else if (buffer[0] == kDescriptorPacket && size == 2 && descriptor.fd >= 0) {
    message.is_descriptor = true;
    message.descriptor = std::move(descriptor);
    message.bytes.push_back(buffer[1]);
  } else if (buffer[0] != kInline) {
    throw SystemError(EBADMSG, "a packet arrived that no Connection sent");
  } else if (size - 1 > most) {
    message.too_long = size - 1;
  } else {
    message.bytes.assign(buffer + 1, size - 1);
  }
  return message;
}

Message receive_stream(int socket, std::uint64_t most) {
  Message message;
  char header[4];
  // The header of a descriptor is one piece with it.
  Received got = look_ahead(socket, header, sizeof header);
  const std::int32_t seen = got.size == sizeof header ? length_in(header) : 0;
  // With the header comes what follows it, as far as that is known to be the message's.
  const auto follows = static_cast<std::uint64_t>(seen == kDescriptorFollows ? 1 : std::max(seen, 0));
  std::string& bytes = message.bytes;
  bytes.resize(follows <= most || seen == kDescriptorFollows ? std::min<std::uint64_t>(follows, kStep) : 0);
  iovec places[] = {{header, sizeof header}, {bytes.data(), bytes.size()}};
  if (got.size != 0) got = take_seen(socket, places, std::move(got));
  if (got.size == 0) throw EndOfFile("the other end of the connection is closed, and all its messages were received");
  message.descriptor = std::move(got.descriptor);
  if (got.size < sizeof header) receive_all(socket, header + got.size, sizeof header - got.size);
  std::uint64_t came = got.size - std::min(got.size, sizeof header);  // of `bytes`
  const std::int32_t word = length_in(header);
  if (word != seen) {
    if (came != 0) throw SystemError(EBADMSG, "somebody else receives from this end of a connection");
    bytes.clear();
  }
  if (word == kDescriptorFollows) {
    message.is_descriptor = true;
    bytes.resize(1);
    receive_all(socket, bytes.data() + came, 1 - came);
    if (message.descriptor.fd < 0) throw SystemError(EBADMSG, "a descriptor was announced and did not come");
    return message;
  }
  std::uint64_t size = static_cast<std::uint32_t>(word);
  if (word == kLong) {
    receive_all(socket, reinterpret_cast<char*>(&size), sizeof size);
    size = big_endian(size);
  } else if (word < 0) {
    throw SystemError(EBADMSG, fmt::format("a message of length {} was announced; is this a Connection?", word));
  }
  if (size > most) {
    message.too_long = size;
    return message;
  }
  for (std::uint64_t expected = 0; expected < size;) {
    expected = std::min<std::uint64_t>(size, expected + kStep);
    bytes.resize(expected);
    receive_all(socket, bytes.data() + came, expected - came);
    came = expected;
  }
  return message;
}

}  // namespace commonhold::detail
