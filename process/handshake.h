// The proof, at both ends of a new connection, that the other one knows the key: what an end says to what it hears,
// in whole messages. How they travel is for others: a connector waits for each (authenticate), a listener has many
// going on at once (welcomes.h). Each protocol has its own: native_handshake.h, python_handshake.h.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include <commonhold/connection.h>

namespace commonhold::detail {

inline constexpr std::size_t kMostHandshakeBytes = 256;  // of a message, in every protocol
inline constexpr std::chrono::seconds kAnswerWithin{10};

struct Reply {
  enum class Outcome {
    kGoesOn,   // the other end's next message is waited for
    kProved,   // both ends have proved that they know the key
    kRefused,  // the connection is of no use
  };
  Outcome outcome = Outcome::kGoesOn;
  std::string message = {};  // what is said, before anything else; nothing when it is empty
  std::string reason = {};   // of kRefused
};

// One end's side. Thread safety: one thread at a time.
class Handshake {
 public:
  virtual ~Handshake() = default;
  // The first message, of an end that speaks first; empty for one that listens first.
  virtual std::string opening() { return {}; }
  virtual Reply hear(std::string_view message) = 0;
};

// A connector's side, to its end: its Handshake listens first. Throws AuthenticationError; then the connection is of no
// use.
void authenticate(Connection& connection, Handshake& handshake,
                  std::chrono::milliseconds answer_within = kAnswerWithin);

// "the other end did not say what was expected (#WORD#): do both ends use an authkey?"
std::string unexpected(std::string_view expected_word);

}  // namespace commonhold::detail
