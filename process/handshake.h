// The proof, at both ends of a new connection, that the other one knows the key:
//
//   listener  "#CHALLENGE#" + 32 random bytes
//   client    "#ANSWER#" + 32 random bytes + the client's proof of both
//   listener  "#WELCOME#" + the listener's proof of both, or "#FAILURE#"
#pragma once

#include <string_view>

#include <commonhold/connection.h>

namespace commonhold::detail {

// Throw AuthenticationError; then the connection is of no use any more.
void welcome(Connection& connection, std::string_view key);
void ask_for_welcome(Connection& connection, std::string_view key);

}  // namespace commonhold::detail
