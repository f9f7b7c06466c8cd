#include "bench/queue_channels.h"

#include <errno.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <stdexcept>

#include "bench/row.h"

#if COMMONHOLD_BENCH_ZEROMQ
#include <zmq.h>
#endif

namespace commonhold::bench {

namespace {
std::string fresh_name(const char* kind) {
  static std::atomic<int> made{0};
  return fmt::format("commonhold-bench-{}-{}-{}", kind, getpid(), made++);
}
}  // namespace

// ---- a pipe

PipeChannel::PipeChannel() {
  if (pipe(ends_) != 0) throw std::runtime_error(fmt::format("pipe: {}", std::strerror(errno)));
}

PipeChannel::~PipeChannel() {
  close(ends_[0]);
  close(ends_[1]);
}

void PipeChannel::send_bytes(const void* bytes, std::size_t size) {
  // Up to PIPE_BUF bytes go as a whole.
  for (auto* at = static_cast<const char*>(bytes); size != 0;) {
    ssize_t done = write(ends_[1], at, size);
    if (done < 0) throw std::runtime_error(fmt::format("write: {}", std::strerror(errno)));
    at += done;
    size -= static_cast<std::size_t>(done);
  }
}

void PipeChannel::receive_bytes(void* bytes, std::size_t size) {
  for (auto* at = static_cast<char*>(bytes); size != 0;) {
    ssize_t done = read(ends_[0], at, size);
    if (done <= 0) throw std::runtime_error(fmt::format("read: {}", std::strerror(errno)));
    at += done;
    size -= static_cast<std::size_t>(done);
  }
}

// ---- Boost

BoostChannel::BoostChannel(std::size_t size) : name_(fresh_name("boost")) {
  using boost::interprocess::message_queue;
  message_queue::remove(name_.c_str());
  queue_.emplace(boost::interprocess::create_only, name_.c_str(), 8192, size);
  message_queue::remove(name_.c_str());  // both ends inherit the mapping: nothing is left behind
}

BoostChannel::~BoostChannel() = default;

void BoostChannel::send_bytes(const void* bytes, std::size_t size) {
  queue_->send(bytes, size, 0);
}

void BoostChannel::receive_bytes(void* bytes, std::size_t size) {
  boost::interprocess::message_queue::size_type received = 0;
  unsigned priority = 0;
  queue_->receive(bytes, size, received, priority);
}

// ---- ZeroMQ

#if COMMONHOLD_BENCH_ZEROMQ

struct ZeroMqChannel::End {
  End(const std::string& address, bool sends)
      : context(zmq_ctx_new()), socket(zmq_socket(context, sends ? ZMQ_PUSH : ZMQ_PULL)) {
    if ((sends ? zmq_connect(socket, address.c_str()) : zmq_bind(socket, address.c_str())) != 0) {
      throw std::runtime_error(fmt::format("ZeroMQ, {}: {}", address, zmq_strerror(zmq_errno())));
    }
  }
  ~End() {
    zmq_close(socket);
    zmq_ctx_destroy(context);
  }
  void* context;
  void* socket;
};

// An abstract address: no file is left behind.
ZeroMqChannel::ZeroMqChannel() : address_("ipc://@" + fresh_name("zeromq")) {}
ZeroMqChannel::~ZeroMqChannel() = default;

void ZeroMqChannel::send_bytes(const void* bytes, std::size_t size) {
  if (!end_) end_ = std::make_unique<End>(address_, true);
  if (zmq_send(end_->socket, bytes, size, 0) < 0) throw std::runtime_error(zmq_strerror(zmq_errno()));
}

void ZeroMqChannel::receive_bytes(void* bytes, std::size_t size) {
  if (zmq_recv(end_->socket, bytes, size, 0) < 0) throw std::runtime_error(zmq_strerror(zmq_errno()));
}

void ZeroMqChannel::prepare() {
  end_ = std::make_unique<End>(address_, false);
}

#else

struct ZeroMqChannel::End {};
ZeroMqChannel::ZeroMqChannel() {
  throw Unavailable{"ZeroMQ (libzmq3-dev) was not there when the benchmarks were built"};
}
ZeroMqChannel::~ZeroMqChannel() = default;
void ZeroMqChannel::send_bytes(const void*, std::size_t) {}
void ZeroMqChannel::receive_bytes(void*, std::size_t) {}
void ZeroMqChannel::prepare() {}

#endif

}  // namespace commonhold::bench
