// The listener's side of many handshakes at once (handshake.h): no client waits for another one's proof.
//
// Thread safety: one thread at a time. A forked child lets go of its parent's guests at its first call: they are the
// parent's to answer.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include <commonhold/listener.h>

#include "process/handshake.h"
#include "process/wire.h"

namespace commonhold::detail {

struct Accepted {
  Descriptor socket;
  Address peer;
};

class Welcomes {
 public:
  using NewHandshake = std::function<std::unique_ptr<Handshake>()>;  // the listener's side of one
  // `listener` is a listening socket that does not block; it stays the caller's.
  Welcomes(int listener, NewHandshake new_handshake);

  // Readable when accept() has something to do; stays this object's.
  int descriptor();

  // The next client that has proved that it knows the key. `accept` takes one that has connected, or nothing when there
  // is none. AuthenticationError for one that does not know the key, or does not say so in time; the others stay.
  Accepted next(const std::function<std::optional<Accepted>()>& accept);

 private:
  using Clock = std::chrono::steady_clock;
  // Somebody who has connected and not proved anything yet.
  struct Guest {
    Accepted accepted;
    std::unique_ptr<Handshake> handshake;
    std::string said;  // of the next message, header included, as far as it came
    Clock::time_point until;
  };
  using Place = std::list<Guest>::iterator;

  void renew_after_fork();
  void watch(int descriptor, Guest* guest);
  void take_in(Accepted accepted);
  // Out of the set and of the list.
  Accepted let_go(Place guest) noexcept;
  void refuse_late();
  // True when the guest has proved it.
  static bool go_on(Guest& guest);

  const int listener_;
  const NewHandshake new_handshake_;
  Descriptor epoll_;
  int made_by_ = 0;
  std::list<Guest> guests_;  // in the order of their coming
};

}  // namespace commonhold::detail
