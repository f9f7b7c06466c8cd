#include "rpc/accept_loop.h"

#include <errno.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "rpc/bounded_stream.h"
#include "rpc/closed_on_fork.h"
#include "rpc/socket.h"

namespace commonhold::rpc {

namespace {

constexpr kj::Duration kFirstPause = 10 * kj::MILLISECONDS;
constexpr kj::Duration kLongestPause = 1 * kj::SECONDS;
constexpr kj::Duration kDismissAfter = 50 * kj::MILLISECONDS;  // for the reply to leave
constexpr int kAcceptedAtOnce = 64;
constexpr std::size_t kMostStrangers = 256;

bool is_shortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

// Errors that belong to the connection that was to be accepted, not to the listening socket.
bool is_of_peer(int error) {
  return error == EINTR || error == ECONNABORTED || error == EPROTO || error == EPERM;
}

}  // namespace

capnp::ReaderOptions reader_options() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = kMaxMessageBytes / sizeof(capnp::word);
  options.nestingLimit = 32;
  return options;
}

class AcceptLoop::Served final : public Connection {
 public:
  Served(AcceptLoop& loop, kj::Own<kj::AsyncIoStream> socket_stream, int socket, int pid)
      : loop_(loop),
        socket_(socket),
        pid_(pid),
        dismissal_(kj::newPromiseAndFulfiller<void>()),
        stream_(kj::mv(socket_stream), loop.timer_, [this](const char* why) { give_up(why); }),
        network_(stream_, capnp::rpc::twoparty::Side::SERVER, reader_options()),
        rpc_(capnp::makeRpcServer(network_, loop.welcome_(*this))) {
    rpc_.setFlowLimit(kMaxFlowBytes / sizeof(capnp::word));
    auto late = loop.timer_.afterDelay(loop.answer_within_).then([this]() -> kj::Promise<void> {
      if (admitted_) return kj::NEVER_DONE;
      return kj::READY_NOW;
    });
    auto dismissed = dismissal_.promise.then([this]() { return loop_.timer_.afterDelay(kDismissAfter); });
    end_ = network_.onDisconnect().exclusiveJoin(kj::mv(late)).exclusiveJoin(kj::mv(dismissed));
    ++loop_.connections_;
    add_closed_on_fork(socket_);
    loop_.strangers_.push_back(this);
    // A flood of strangers must not keep the descriptors from those who know the key.
    if (loop_.strangers_.size() > kMostStrangers)
      loop_.strangers_.front()->give_up("others came and it had not answered");
  }
  ~Served() noexcept(false) {
    loop_.strangers_.remove(this);
    remove_closed_on_fork(socket_);
    --loop_.connections_;
  }

  int peer_pid() const override { return pid_; }
  void admit() override {
    admitted_ = true;
    stream_.admit();
    loop_.strangers_.remove(this);
  }
  void dismiss() override { dismissal_.fulfiller->fulfill(); }

  kj::Promise<void> end() { return kj::mv(end_); }

  void give_up(const char* why) {
    loop_.log_(fmt::format("the connection from process {} is closed: {}", pid_, why));
    loop_.strangers_.remove(this);
    dismiss();
  }

 private:
  AcceptLoop& loop_;
  int socket_;  // owned by stream_
  int pid_;
  bool admitted_ = false;
  kj::PromiseFulfillerPair<void> dismissal_;
  BoundedStream stream_;
  capnp::TwoPartyVatNetwork network_;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc_;
  kj::Promise<void> end_ = kj::NEVER_DONE;
};

AcceptLoop::AcceptLoop(kj::LowLevelAsyncIoProvider& io, kj::UnixEventPort& port, int listener, Welcome welcome, Log log)
    : io_(io),
      timer_(port.getTimer()),
      listener_(listener),
      observer_(port, listener, kj::UnixEventPort::FdObserver::OBSERVE_READ),
      welcome_(std::move(welcome)),
      log_(std::move(log)),
      tasks_(*this) {
  add_closed_on_fork(listener_);
}

AcceptLoop::~AcceptLoop() noexcept(false) {
  remove_closed_on_fork(listener_);
}

kj::Promise<void> AcceptLoop::run() {
  for (int i = 0; i < kAcceptedAtOnce; ++i) {
    int socket = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket >= 0) {
      pause_ = 0 * kj::MILLISECONDS;
      int pid = 0;
      if (peer_is_same_user(socket, &pid)) {
        serve(socket, pid);
      } else {
        close(socket);
        log_(fmt::format("refused a connection from process {}: it belongs to another user", pid));
      }
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return observer_.whenBecomesReadable().then([this]() { return run(); });
    }
    if (is_shortage(errno)) return back_off(errno);
    if (!is_of_peer(errno)) KJ_FAIL_SYSCALL("accept4", errno);
  }
  return kj::evalLater([this]() { return run(); });
}

kj::Promise<void> AcceptLoop::back_off(int error) {
  if (pause_ == 0 * kj::MILLISECONDS) {
    log_(fmt::format("new connections wait, for there is a shortage: {}", std::strerror(error)));
    pause_ = kFirstPause;
  } else {
    pause_ = std::min(pause_ * 2, kLongestPause);
  }
  return timer_.afterDelay(pause_).then([this]() { return run(); });
}

void AcceptLoop::serve(int socket, int pid) {
  kj::AutoCloseFd owned(socket);
  // The stream's registration with the event port can fail (a full epoll table): that connection is lost, no more.
  auto failure = kj::runCatchingExceptions([&]() {
    auto stream = io_.wrapSocketFd(
        kj::mv(owned), kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC | kj::LowLevelAsyncIoProvider::ALREADY_NONBLOCK);
    auto served = kj::heap<Served>(*this, kj::mv(stream), socket, pid);
    auto end = served->end();
    tasks_.add(end.attach(kj::mv(served)));
  });
  KJ_IF_MAYBE (exception, failure) taskFailed(kj::mv(*exception));
}

void AcceptLoop::taskFailed(kj::Exception&& exception) {
  log_(fmt::format("a connection ended: {}", exception.getDescription().cStr()));
}

}  // namespace commonhold::rpc
