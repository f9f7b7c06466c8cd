#include "rpc/call_loop.h"

#include <errno.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

namespace commonhold::rpc {

namespace {

class SocketStream final : public kj::AsyncIoStream {
 public:
  SocketStream(kj::UnixEventPort& port, int socket)
      : socket_(socket), observer_(port, socket, kj::UnixEventPort::FdObserver::OBSERVE_READ_WRITE) {}

  kj::Promise<std::size_t> tryRead(void* buffer, std::size_t least, std::size_t most) override {
    return read_on(static_cast<char*>(buffer), least, most, 0);
  }

  kj::Promise<void> write(const void* buffer, std::size_t size) override {
    auto* bytes = static_cast<const char*>(buffer);
    while (size != 0) {
      ssize_t sent;
      KJ_NONBLOCKING_SYSCALL(sent = send(socket_, bytes, size, MSG_NOSIGNAL));
      if (sent < 0) {
        return observer_.whenBecomesWritable().then([this, bytes, size] { return write(bytes, size); });
      }
      bytes += sent;
      size -= static_cast<std::size_t>(sent);
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override {
    // Messages of this protocol are small: one copy makes them one packet.
    std::vector<kj::byte> all;
    for (auto piece : pieces) all.insert(all.end(), piece.begin(), piece.end());
    auto whole = kj::heap<std::vector<kj::byte>>(std::move(all));
    auto written = write(whole->data(), whole->size());
    return written.attach(kj::mv(whole));
  }

  kj::Promise<void> whenWriteDisconnected() override { return observer_.whenWriteDisconnected(); }
  void shutdownWrite() override { shutdown(socket_, SHUT_WR); }
  void getsockopt(int level, int option, void* value, kj::uint* length) override {
    auto size = static_cast<socklen_t>(*length);
    KJ_SYSCALL(::getsockopt(socket_, level, option, value, &size));
    *length = size;
  }

 private:
  kj::Promise<std::size_t> read_on(char* buffer, std::size_t least, std::size_t most, std::size_t before) {
    for (;;) {
      ssize_t got;
      KJ_NONBLOCKING_SYSCALL(got = ::read(socket_, buffer, most));
      if (got < 0) {
        return observer_.whenBecomesReadable().then(
            [this, buffer, least, most, before] { return read_on(buffer, least, most, before); });
      }
      const auto size = static_cast<std::size_t>(got);
      before += size;
      if (size == 0 || size >= least) return before;
      buffer += size;
      least -= size;
      most -= size;
    }
  }

  kj::AutoCloseFd socket_;
  kj::UnixEventPort::FdObserver observer_;
};

}  // namespace

bool thread_has_loop() {
  kj::EventLoop probe;
  try {
    kj::WaitScope scope(probe);
    return false;
  } catch (const kj::Exception&) {
    return true;
  }
}

CallLoop::CallLoop() {
  struct sigaction before {};
  sigaction(SIGPIPE, nullptr, &before);
  port_ = std::make_unique<kj::UnixEventPort>();
  loop_ = std::make_unique<kj::EventLoop>(*port_);
  sigaction(SIGPIPE, &before, nullptr);
}

kj::Own<kj::AsyncIoStream> CallLoop::wrap_socket(int socket) {
  return kj::heap<SocketStream>(*port_, socket);
}

}  // namespace commonhold::rpc
