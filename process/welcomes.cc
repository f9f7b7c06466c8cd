#include "process/welcomes.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include <commonhold/detail/stopping.h>
#include <commonhold/errors.h>

#include "process/readiness.h"

namespace commonhold::detail {

namespace {

constexpr std::size_t kMostGuests = 256;  // then the one that has waited longest goes
constexpr std::size_t kHeaderBytes = 4;   // of a message (wire.h)

bool is_readable(int socket) {
  pollfd one{socket, POLLIN, 0};
  return ::poll(&one, 1, 0) == 1;
}

// A message to somebody whose socket has room for it, or who is given up.
void send_now(int socket, std::string_view said) {
  std::string message(kHeaderBytes, '\0');
  message.back() = static_cast<char>(said.size());  // big-endian; handshakes say less than 256 bytes
  message.append(said);
  const ssize_t sent = send(socket, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent != static_cast<ssize_t>(message.size())) {
    throw AuthenticationError("authentication failed: the other end is gone, or does not read");
  }
}

// Of the message that begins so, header included; of the header, as long as that is not there.
std::size_t expected_size(std::string_view said) {
  if (said.size() < kHeaderBytes) return kHeaderBytes;
  std::uint32_t size = 0;
  for (const char byte : said.substr(0, kHeaderBytes)) size = size << 8 | static_cast<unsigned char>(byte);
  if (size > kMostHandshakeBytes) {
    throw AuthenticationError("the other end announced a message of " + std::to_string(size) +
                              " bytes where it should prove that it knows the authkey");
  }
  return kHeaderBytes + size;
}

}  // namespace

Welcomes::Welcomes(int listener, NewHandshake new_handshake)
    : listener_(listener), new_handshake_(std::move(new_handshake)) {
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
  Guest& guest = guests_.emplace_back(Guest{std::move(accepted), new_handshake_(), {}, Clock::now() + kAnswerWithin});
  try {
    send_now(guest.accepted.socket.fd, guest.handshake->opening());
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

bool Welcomes::go_on(Guest& guest) {
  const int socket = guest.accepted.socket.fd;
  std::string& said = guest.said;
  // No byte more than the message: what follows the last one is for the connection.
  char bytes[kHeaderBytes + kMostHandshakeBytes];
  const ssize_t got = recv(socket, bytes, expected_size(said) - said.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return false;
  if (got <= 0) {
    throw AuthenticationError("the other end closed the connection before it had proved that it knows the authkey");
  }
  said.append(bytes, static_cast<std::size_t>(got));
  if (said.size() < expected_size(said)) return false;
  const Reply reply = guest.handshake->hear(std::string_view(said).substr(kHeaderBytes));
  said.clear();
  if (!reply.message.empty()) send_now(socket, reply.message);
  if (reply.outcome == Reply::Outcome::kRefused) throw AuthenticationError(reply.reason);
  return reply.outcome == Reply::Outcome::kProved;
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
    if (in_stop_scope()) {
      pollfd any{epoll_.fd, POLLIN, 0};
      (void)wait_ready({&any, 1}, milliseconds < 0 ? kForever : milliseconds * std::int64_t{1'000'000});
      milliseconds = 0;
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
