#include "shm/printable.h"

#include <fmt/format.h>

#include <iterator>

namespace commonhold::shm {

namespace {

// The bytes of the UTF-8 character that `text` begins with, 0 when it begins with none.
std::size_t character_bytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const std::size_t size = first < 0x80   ? 1
                           : first < 0xc2 ? 0
                           : first < 0xe0 ? 2
                           : first < 0xf0 ? 3
                           : first < 0xf5 ? 4
                                          : 0;
  if (size > text.size()) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Forms that are too long, halves of pairs, and what is above the last character.
  const bool is_wrong = size > 2 && ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f) ||
                                     (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f));
  return is_wrong ? 0 : size;
}

std::string shown_of(std::string_view text, std::size_t most, bool doubles_backslash) {
  std::string shown;
  std::size_t at = 0;
  while (at < text.size() && at < most) {
    const std::string_view rest = text.substr(at);
    const auto first = static_cast<unsigned char>(rest[0]);
    const std::size_t size = character_bytes(rest);
    // U+0080 to U+009F are control characters, too.
    const bool is_control =
        first < 0x20 || first == 0x7f || (size == 2 && first == 0xc2 && static_cast<unsigned char>(rest[1]) < 0xa0);
    if (size == 0 || is_control) {
      fmt::format_to(std::back_inserter(shown), "\\x{:02x}", static_cast<unsigned char>(rest[size == 2 ? 1 : 0]));
    } else if (first == '\\' && doubles_backslash) {
      shown += "\\\\";
    } else {
      shown.append(rest.substr(0, size));
    }
    at += size == 0 ? 1 : size;
  }
  if (at < text.size()) fmt::format_to(std::back_inserter(shown), "... ({} bytes)", text.size());
  return shown;
}

}  // namespace

std::string printable(std::string_view text, std::size_t most) {
  return shown_of(text, most, true);
}

std::string printable_literal(std::string_view text, std::size_t most) {
  return shown_of(text, most, false);
}

}  // namespace commonhold::shm
