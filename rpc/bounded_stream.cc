#include "rpc/bounded_stream.h"

#include <utility>

namespace commonhold::rpc {

namespace {

constexpr unsigned kReadsInARow = 64;  // then the loop looks at its other sockets

}  // namespace

kj::Duration BoundedStream::write_within = kWriteWithin;

kj::Promise<std::size_t> BoundedStream::give_up(const char* why) {
  if (give_up_) std::exchange(give_up_, nullptr)(why);
  return kj::NEVER_DONE;
}

kj::Promise<std::size_t> BoundedStream::tryRead(void* buffer, std::size_t least, std::size_t most) {
  // Last: what was read before has been answered by then, as far as it can be, and the answers went to the socket.
  return kj::evalLast([this, buffer, least, most]() -> kj::Promise<std::size_t> {
    if (!admitted_ && received_ > kMostOfStranger) return give_up("it sent too much before it proved its key");
    if (writing_ != 0) {
      auto done = kj::newPromiseAndFulfiller<void>();
      written_ = kj::mv(done.fulfiller);
      return done.promise.then([this, buffer, least, most]() { return tryRead(buffer, least, most); });
    }
    if (++reads_ % kReadsInARow == 0) {
      return timer_.afterDelay(0 * kj::NANOSECONDS).then([this, buffer, least, most]() {
        return tryRead(buffer, least, most);
      });
    }
    return stream_->tryRead(buffer, least, most).then([this](std::size_t got) {
      received_ += got;
      return got;
    });
  });
}

kj::Promise<void> BoundedStream::bounded(kj::Promise<void> written) {
  ++writing_;
  auto late = timer_.afterDelay(write_within).then([this]() -> kj::Promise<void> {
    return give_up("it did not read what it was sent").ignoreResult();
  });
  return written.exclusiveJoin(kj::mv(late)).attach(kj::defer([this]() {
    --writing_;
    if (writing_ == 0 && written_.get() != nullptr) kj::mv(written_)->fulfill();
  }));
}

kj::Promise<void> BoundedStream::write(const void* buffer, std::size_t size) {
  return bounded(stream_->write(buffer, size));
}

kj::Promise<void> BoundedStream::write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) {
  return bounded(stream_->write(pieces));
}

}  // namespace commonhold::rpc
