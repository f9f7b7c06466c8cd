// A TCP socket on this machine as a C++ program has it: closed with its object, moved, not copied.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace commonhold::test {

class TcpSocket {
 public:
  // At any free port of 127.0.0.1.
  static TcpSocket listening() {
    TcpSocket server(::socket(AF_INET, SOCK_STREAM, 0));
    const sockaddr_in any = address_of(0);
    check(::bind(server.descriptor_, reinterpret_cast<const sockaddr*>(&any), sizeof any));
    check(::listen(server.descriptor_, 5));
    return server;
  }
  static TcpSocket connected_to(std::uint16_t port) {
    TcpSocket client(::socket(AF_INET, SOCK_STREAM, 0));
    const sockaddr_in server = address_of(port);
    check(::connect(client.descriptor_, reinterpret_cast<const sockaddr*>(&server), sizeof server));
    return client;
  }

  explicit TcpSocket(int descriptor) : descriptor_(descriptor) { check(descriptor); }
  TcpSocket(TcpSocket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  TcpSocket& operator=(TcpSocket&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~TcpSocket() { close(); }
  void close() {
    if (descriptor_ >= 0) ::close(release());
  }

  int release() { return std::exchange(descriptor_, -1); }
  TcpSocket accept() const { return TcpSocket(::accept(descriptor_, nullptr, nullptr)); }
  std::uint16_t port() const {
    sockaddr_in own{};
    socklen_t size = sizeof own;
    check(::getsockname(descriptor_, reinterpret_cast<sockaddr*>(&own), &size));
    return ntohs(own.sin_port);
  }
  // What is there, at most 1024 bytes; nothing at the end.
  std::string recv() const {
    char bytes[1024];
    const ssize_t size = ::recv(descriptor_, bytes, sizeof bytes, 0);
    check(size);
    return {bytes, static_cast<std::size_t>(size)};
  }
  void send(std::string_view bytes) const { check(::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL)); }

 private:
  static void check(ssize_t result) {
    if (result < 0) throw std::system_error(errno, std::generic_category());
  }
  static sockaddr_in address_of(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }
  int descriptor_;
};

}  // namespace commonhold::test
