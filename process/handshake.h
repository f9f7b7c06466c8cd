// The proof, at both ends of a new connection, that the other one knows the key:
//
//   listener  "#CHALLENGE#" + 32 random bytes
//   client    "#ANSWER#" + 32 random bytes + the client's proof of both
//   listener  "#WELCOME#" + the listener's proof of both, or "#FAILURE#"
#pragma once

#include <chrono>
#include <string_view>

#include <commonhold/connection.h>

namespace commonhold::detail {

inline constexpr std::string_view kChallengeWord = "#CHALLENGE#", kAnswerWord = "#ANSWER#", kWelcomeWord = "#WELCOME#",
                                  kFailureWord = "#FAILURE#";
inline constexpr std::chrono::seconds kAnswerWithin{10};

// The client's side; the listener's is in welcomes.h. Throws AuthenticationError; then the connection is of no use.
void ask_for_welcome(Connection& connection, std::string_view key);

}  // namespace commonhold::detail
