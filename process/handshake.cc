#include "process/handshake.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <chrono>
#include <string>

#include <commonhold/errors.h>

namespace commonhold::detail {

namespace {

// The other end must say something in time, at every read, and is as it was afterwards.
class Patience {
 public:
  Patience(const Connection& connection, std::chrono::milliseconds time) : socket_(connection.fileno()) {
    set(std::max(time, std::chrono::milliseconds(1)));
  }
  ~Patience() { set(std::chrono::milliseconds(0)); }
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;

 private:
  void set(std::chrono::milliseconds time) const {
    const timeval value{static_cast<time_t>(time.count() / 1000), static_cast<suseconds_t>(time.count() % 1000 * 1000)};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value);
  }
  int socket_;
};

void exchange(Connection& connection, Handshake& handshake) {
  for (;;) {
    const Reply reply = handshake.hear(connection.recv_bytes(kMostHandshakeBytes));
    if (!reply.message.empty()) connection.send_bytes(reply.message);
    if (reply.outcome == Reply::Outcome::kRefused) throw AuthenticationError(reply.reason);
    if (reply.outcome == Reply::Outcome::kProved) return;
  }
}

}  // namespace

// What a peer does wrong on its way is a failed authentication.
void authenticate(Connection& connection, Handshake& handshake, std::chrono::milliseconds answer_within) {
  const Patience patience(connection, answer_within);
  try {
    exchange(connection, handshake);
  } catch (const EndOfFile&) {
    throw AuthenticationError("the other end closed the connection before it had proved that it knows the authkey");
  } catch (const LimitReached& error) {
    throw AuthenticationError(std::string("authentication failed: ") + error.what());
  } catch (const TypeMismatch& error) {
    throw AuthenticationError(std::string("authentication failed: ") + error.what());
  } catch (const SystemError& error) {
    if (error.code() == EAGAIN || error.code() == EWOULDBLOCK) {
      throw AuthenticationError("the other end said nothing for " + std::to_string(answer_within.count()) +
                                " ms: do both ends use an authkey?");
    }
    throw AuthenticationError(std::string("authentication failed: ") + error.what());
  }
}

std::string unexpected(std::string_view expected_word) {
  return "the other end did not say what was expected (" + std::string(expected_word) +
         "): do both ends use an authkey?";
}

}  // namespace commonhold::detail
