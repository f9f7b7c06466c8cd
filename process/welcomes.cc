#include "process/welcomes.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include <commonhold/detail/authentication.h>
#include <commonhold/errors.h>

#include "process/handshake.h"

namespace commonhold::detail {

namespace {

constexpr std::size_t kMostGuests = 256;  // then the one that has waited longest goes
constexpr std::size_t kHeaderBytes = 4;   // of a message (wire.h)

bool is_readable(int socket) {
  pollfd one{socket, POLLIN, 0};
  return ::poll(&one, 1, 0) == 1;
}

// A message to somebody whose socket has room for it, or who is given up.
void send_now(int socket, std::string_view word, std::string_view rest) {
  const std::size_t size = word.size() + rest.size();
  std::string message(kHeaderBytes, '\0');
  message.back() = static_cast<char>(size);  // big-endian; handshakes have less than 256 bytes
  message.append(word).append(rest);
  const ssize_t sent = send(socket, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent != static_cast<ssize_t>(message.size())) {
    throw AuthenticationError("authentication failed: the other end is gone, or does not read");
  }
}

}  // namespace

Welcomes::Welcomes(int listener, std::string key) : listener_(listener), key_(std::move(key)) {
  renew_after_fork();
}

void Welcomes::renew_after_fork() {
  if (made_by_ == getpid()) return;
  Descriptor own(epoll_create1(EPOLL_CLOEXEC));
  if (own.fd < 0) throw_wire_error("making a place to wait for clients", errno);
  epoll_ = std::move(own);
  guests_.clear();
  watch(listener_, nullptr);
  made_by_ = getpid();
}

void Welcomes::watch(int descriptor, Guest* guest) {
  epoll_event event{EPOLLIN, {.ptr = guest}};
  if (epoll_ctl(epoll_.fd, EPOLL_CTL_ADD, descriptor, &event) != 0) {
    throw_wire_error("waiting for a client's proof", errno);
  }
}

int Welcomes::descriptor() {
  renew_after_fork();
  return epoll_.fd;
}

// A forked child may still have the socket, and then closing it does not take it out of the set.
Accepted Welcomes::let_go(Place guest) noexcept {
  epoll_ctl(epoll_.fd, EPOLL_CTL_DEL, guest->accepted.socket.fd, nullptr);
  Accepted accepted = std::move(guest->accepted);
  guests_.erase(guest);
  return accepted;
}

void Welcomes::take_in(Accepted accepted) {
  if (guests_.size() >= kMostGuests) let_go(guests_.begin());
  Guest& guest = guests_.emplace_back(Guest{std::move(accepted), make_challenge(), {}, Clock::now() + kAnswerWithin});
  try {
    send_now(guest.accepted.socket.fd, kChallengeWord, guest.challenge);
    watch(guest.accepted.socket.fd, &guest);
  } catch (...) {
    let_go(std::prev(guests_.end()));
    throw;
  }
}

// What came in time and was not looked at is no reason to refuse anybody: the program may have been at other work.
void Welcomes::refuse_late() {
  const auto now = Clock::now();
  const auto late = std::find_if(guests_.begin(), guests_.end(), [&](const Guest& guest) {
    return guest.until <= now && !is_readable(guest.accepted.socket.fd);
  });
  if (late == guests_.end()) return;
  let_go(late);
  throw AuthenticationError("the other end said nothing for " + std::to_string(kAnswerWithin.count()) +
                            " seconds: do both ends use an authkey?");
}

bool Welcomes::go_on(Guest& guest) const {
  const int socket = guest.accepted.socket.fd;
  const std::size_t proof_bytes = prove_key(key_, End::kListener, guest.challenge, guest.challenge).size();
  const std::size_t answer_bytes = kAnswerWord.size() + kChallengeBytes + proof_bytes;
  // No byte more than the answer: what follows is for the connection.
  char bytes[256];
  const std::size_t missing = kHeaderBytes + answer_bytes - guest.said.size();
  const ssize_t got = recv(socket, bytes, std::min(missing, sizeof bytes), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return false;
  if (got <= 0) {
    throw AuthenticationError("the other end closed the connection before it had proved that it knows the authkey");
  }
  guest.said.append(bytes, static_cast<std::size_t>(got));
  const std::string_view said = guest.said;
  std::string header(kHeaderBytes, '\0');
  header.back() = static_cast<char>(answer_bytes);
  const std::string expected = header.append(kAnswerWord);
  if (said.substr(0, expected.size()) != std::string_view(expected).substr(0, said.size())) {
    throw AuthenticationError("the other end did not say what was expected (" + std::string(kAnswerWord) +
                              "): do both ends use an authkey?");
  }
  if (said.size() < kHeaderBytes + answer_bytes) return false;
  const std::string theirs(said.substr(expected.size(), kChallengeBytes));
  if (!proofs_equal(prove_key(key_, End::kConnector, guest.challenge, theirs),
                    said.substr(expected.size() + kChallengeBytes))) {
    send_now(socket, kFailureWord, {});
    throw AuthenticationError("a client does not know the authkey");
  }
  send_now(socket, kWelcomeWord, prove_key(key_, End::kListener, guest.challenge, theirs));
  return true;
}

Accepted Welcomes::next(const std::function<std::optional<Accepted>()>& accept) {
  renew_after_fork();
  for (;;) {
    refuse_late();
    int milliseconds = -1;
    if (!guests_.empty()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(guests_.front().until - Clock::now()).count();
      milliseconds = static_cast<int>(std::max<std::int64_t>(left, 1));
    }
    epoll_event event{};
    const int ready = epoll_wait(epoll_.fd, &event, 1, milliseconds);
    if (ready < 0 && errno != EINTR) throw_wire_error("waiting for a client", errno);
    if (ready <= 0) continue;
    if (event.data.ptr == nullptr) {
      std::optional<Accepted> accepted;
      try {
        accepted = accept();
      } catch (const SystemError& error) {
        // Descriptors for those who have said nothing are better used otherwise.
        if ((error.code() != EMFILE && error.code() != ENFILE) || guests_.empty()) throw;
        let_go(guests_.begin());
      }
      if (accepted) take_in(std::move(*accepted));
      continue;
    }
    const Place guest =
        std::find_if(guests_.begin(), guests_.end(), [&](const Guest& one) { return &one == event.data.ptr; });
    if (guest == guests_.end()) continue;
    try {
      if (!go_on(*guest)) continue;
    } catch (...) {
      let_go(guest);
      throw;
    }
    return let_go(guest);
  }
}

}  // namespace commonhold::detail
