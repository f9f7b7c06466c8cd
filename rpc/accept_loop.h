// Accepts connections at a Unix socket and runs the two-party protocol on each, within limits: a message has at most
// kMaxMessageBytes, calls that wait for their reply at most kMaxFlowBytes, nothing is read from a peer that does not read
// its replies (rpc/bounded_stream.h), and a peer that has not proven itself in time is sent away; so is the one that has
// waited longest when too many have not. Only processes of the same user are let in, which the kernel is asked before
// anything is read.
//
// What a peer sends can end its own connection and nothing else. When descriptors run out, the loop waits and tries
// again.
//
// Thread safety: belongs to one kj event loop; everything is called on its thread.
#pragma once

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/async-unix.h>

#include <cstdint>
#include <functional>
#include <list>
#include <string>

namespace commonhold::rpc {

inline constexpr std::uint64_t kMaxMessageBytes = 4 << 20;
inline constexpr std::uint64_t kMaxFlowBytes = 8 << 20;
inline constexpr kj::Duration kAnswerWithin = 10 * kj::SECONDS;

// How both ends read messages.
capnp::ReaderOptions reader_options();

// One connection as the bootstrap capability sees it.
class Connection {
 public:
  virtual int peer_pid() const = 0;  // as the kernel says
  virtual void admit() = 0;          // the peer has proven itself: no deadline any more
  virtual void dismiss() = 0;        // ends the connection soon, after what was replied

 protected:
  ~Connection() = default;
};

class AcceptLoop : private kj::TaskSet::ErrorHandler {
 public:
  // Makes what a new connection gets as its bootstrap capability. The Connection outlives the capability.
  using Welcome = std::function<capnp::Capability::Client(Connection&)>;
  using Log = std::function<void(const std::string&)>;

  // `listener` is a listening, non-blocking socket (rpc/socket.h), which the loop closes at its end.
  AcceptLoop(kj::LowLevelAsyncIoProvider& io, kj::UnixEventPort& port, int listener, Welcome welcome, Log log);
  // Closes all connections.
  ~AcceptLoop() noexcept(false);

  // Accepts until it is dropped, or the listening socket fails for good.
  kj::Promise<void> run();

  std::uint32_t connections() const { return connections_; }

  // For tests of the deadline.
  void set_answer_within_for_test(kj::Duration duration) { answer_within_ = duration; }

 private:
  class Served;
  kj::Promise<void> back_off(int error);
  void serve(int socket, int pid);
  void taskFailed(kj::Exception&& exception) override;

  kj::LowLevelAsyncIoProvider& io_;
  kj::Timer& timer_;
  kj::AutoCloseFd listener_;
  kj::UnixEventPort::FdObserver observer_;
  Welcome welcome_;
  Log log_;
  kj::Duration answer_within_ = kAnswerWithin;
  kj::Duration pause_ = 0 * kj::MILLISECONDS;
  std::uint32_t connections_ = 0;
  std::list<Served*> strangers_;  // who have not proven themselves, the longest first
  kj::TaskSet tasks_;             // last: its end ends the connections, which use the rest
};

}  // namespace commonhold::rpc
