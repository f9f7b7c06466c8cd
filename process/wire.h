// How messages travel over a socket.
//
// packets (SOCK_SEQPACKET, between the ends of a Pipe): one packet is one message, so that a kill never tears one:
//   byte 0   what the packet is (PacketKind), then
//            kInline      the message
//            kInFile      nothing; the message is the contents of the file whose descriptor comes with the packet
//            kDescriptor  one byte of flags; the descriptor comes with the packet
//
// a stream (SOCK_STREAM, Listener and Client): a signed 32-bit big-endian length, then the message. Length -1: an
// unsigned 64-bit length follows it. Length -2: one byte of flags follows it, and the descriptor comes with the first
// byte. Length and message go out in one call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace commonhold::detail {

inline constexpr std::size_t kMostInline = std::size_t{64} * 1024;
inline constexpr std::size_t kPacketBytes = kMostInline + 1;

struct Descriptor {
  Descriptor() = default;
  explicit Descriptor(int fd) : fd(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  int release();
  int fd = -1;
};

struct Message {
  std::string bytes;           // the flags, with a descriptor
  bool is_descriptor = false;  // then `descriptor` is set
  Descriptor descriptor;
  std::uint64_t too_long = 0;  // not 0: it has so many bytes, more than were allowed
};

// The first part and the second are one message. They throw SystemError, EndOfFile.
void send_packet(int socket, std::string_view first, std::string_view second);
void send_stream(int socket, std::string_view first, std::string_view second);
void send_descriptor(int socket, bool packets, int descriptor, char flags);
// `buffer` has kPacketBytes.
Message receive_packet(int socket, std::uint64_t most, char* buffer);
Message receive_stream(int socket, std::uint64_t most);

[[noreturn]] void throw_wire_error(const char* doing, int error);

}  // namespace commonhold::detail
