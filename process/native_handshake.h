// The handshake of this library's own protocol:
//
//   listener  "#CHALLENGE#" + 32 random bytes
//   client    "#ANSWER#" + 32 random bytes + the client's proof of both
//   listener  "#WELCOME#" + the listener's proof of both, or "#FAILURE#"
#pragma once

#include <memory>
#include <string>

#include <commonhold/detail/authentication.h>

#include "process/handshake.h"

namespace commonhold::detail {

std::unique_ptr<Handshake> native_handshake(End end, std::string key);

}  // namespace commonhold::detail
