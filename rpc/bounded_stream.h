// A peer's stream that keeps what the peer can make this process store within bounds.
//
// The two-party protocol queues every reply, whatever the socket takes: a peer that sends and never reads would fill the
// memory. So nothing is read from a peer while something waits to be written to it; a peer that reads nothing for
// kWriteWithin is given up, and so is a stranger that sends more than kMostOfStranger bytes before it is admitted.
//
// Thread safety: belongs to one kj event loop.
#pragma once

#include <kj/async-io.h>
#include <kj/timer.h>

#include <cstdint>
#include <functional>

namespace commonhold::rpc {

inline constexpr kj::Duration kWriteWithin = 30 * kj::SECONDS;
inline constexpr std::uint64_t kMostOfStranger = 64 << 10;

class BoundedStream final : public kj::AsyncIoStream {
 public:
  // `give_up` is called with the reason, at most once; it ends the connection soon.
  using GiveUp = std::function<void(const char* why)>;
  BoundedStream(kj::Own<kj::AsyncIoStream> stream, kj::Timer& timer, GiveUp give_up)
      : stream_(kj::mv(stream)), timer_(timer), give_up_(std::move(give_up)) {}

  void admit() { admitted_ = true; }

  kj::Promise<std::size_t> tryRead(void* buffer, std::size_t least, std::size_t most) override;
  kj::Promise<void> write(const void* buffer, std::size_t size) override;
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override;
  kj::Promise<void> whenWriteDisconnected() override { return stream_->whenWriteDisconnected(); }
  void shutdownWrite() override { stream_->shutdownWrite(); }
  void abortRead() override { stream_->abortRead(); }
  void getsockopt(int level, int option, void* value, kj::uint* length) override {
    stream_->getsockopt(level, option, value, length);
  }

  // For tests of the time.
  static kj::Duration write_within;

 private:
  kj::Promise<void> bounded(kj::Promise<void> written);
  kj::Promise<std::size_t> give_up(const char* why);

  kj::Own<kj::AsyncIoStream> stream_;
  kj::Timer& timer_;
  GiveUp give_up_;
  bool admitted_ = false;
  std::uint64_t received_ = 0;
  unsigned reads_ = 0;
  unsigned writing_ = 0;                         // writes that are not done
  kj::Own<kj::PromiseFulfiller<void>> written_;  // the reader waits for them
};

}  // namespace commonhold::rpc
