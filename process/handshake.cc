#include "process/handshake.h"

#include <errno.h>
#include <sys/socket.h>

#include <commonhold/detail/authentication.h>

namespace commonhold::detail {

namespace {

constexpr std::size_t kMostBytes = 256;

// The other end must say something in time, at every read, and is as it was afterwards.
class Patience {
 public:
  explicit Patience(const Connection& connection) : socket_(connection.fileno()) { set(kAnswerWithin.count()); }
  ~Patience() { set(0); }
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;

 private:
  void set(std::chrono::seconds::rep seconds) const {
    const timeval time{static_cast<time_t>(seconds), 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  }
  int socket_;
};

// The rest of a message that begins with `word`; throws for another one.
std::string expect(Connection& connection, std::string_view word, std::size_t rest) {
  std::string message = connection.recv_bytes(kMostBytes);
  if (message == kFailureWord) throw AuthenticationError("the other end refused this one's proof: the authkeys differ");
  if (!message.starts_with(word) || message.size() != word.size() + rest) {
    throw AuthenticationError("the other end did not say what was expected (" + std::string(word) +
                              "): do both ends use an authkey?");
  }
  return message.substr(word.size());
}

// What a peer does wrong on its way is a failed authentication.
template <typename Steps>
void authenticate(const Connection& connection, Steps&& steps) {
  const Patience patience(connection);
  try {
    steps();
  } catch (const EndOfFile&) {
    throw AuthenticationError("the other end closed the connection before it had proved that it knows the authkey");
  } catch (const LimitReached& error) {
    throw AuthenticationError(std::string("authentication failed: ") + error.what());
  } catch (const SystemError& error) {
    if (error.code() == EAGAIN || error.code() == EWOULDBLOCK) {
      throw AuthenticationError("the other end said nothing for " + std::to_string(kAnswerWithin.count()) +
                                " seconds: do both ends use an authkey?");
    }
    throw AuthenticationError(std::string("authentication failed: ") + error.what());
  }
}

}  // namespace

void ask_for_welcome(Connection& connection, std::string_view key) {
  authenticate(connection, [&] {
    const std::string theirs = expect(connection, kChallengeWord, kChallengeBytes);
    const std::string mine = make_challenge();
    const std::string proof = prove_key(key, End::kConnector, theirs, mine);
    connection.send_bytes(std::string(kAnswerWord) + mine + proof);
    const std::string found = expect(connection, kWelcomeWord, proof.size());
    if (!proofs_equal(prove_key(key, End::kListener, theirs, mine), found)) {
      throw AuthenticationError("the listener does not know the authkey");
    }
  });
}

}  // namespace commonhold::detail
