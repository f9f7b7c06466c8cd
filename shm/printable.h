// Text of a program's or a peer's choosing, as it goes into a message, a log or a terminal: names of objects and files may
// hold anything.
//
// Thread safety: free functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace commonhold::shm {

inline constexpr std::size_t kMostShown = 120;  // bytes

// One line: control characters, which could change a terminal's state or feign another line, and bytes that are no UTF-8,
// become "\x1b", a backslash is doubled, and of a long text there are the first `most` bytes and its length:
// "abc... (1048576 bytes)".
std::string printable(std::string_view text, std::size_t most = kMostShown);

// The same for a text that is written as in a program already, quotes and backslashes included: a backslash stays one.
std::string printable_literal(std::string_view text, std::size_t most = kMostShown);

}  // namespace commonhold::shm
