#include "process/utf8.h"

#include <string.h>

#include <cstdint>

namespace commonhold::detail {

namespace {

// Of the characters that begin with this byte: their length, 0 for none, and the limits of their second byte, which
// keep out what is written too long and what is above U+10FFFF.
struct Lead {
  std::size_t length = 0;
  unsigned char lowest = 0x80, highest = 0xbf;
};

Lead lead_of(unsigned char byte) {
  if (byte < 0x80) return {1};
  if (byte >= 0xc2 && byte <= 0xdf) return {2};
  if (byte == 0xe0) return {3, 0xa0};
  if (byte >= 0xe1 && byte <= 0xef) return {3};
  if (byte == 0xf0) return {4, 0x90};
  if (byte >= 0xf1 && byte <= 0xf3) return {4};
  if (byte == 0xf4) return {4, 0x80, 0x8f};
  return {};
}

}  // namespace

std::size_t first_invalid_utf8(std::string_view text) {
  const auto byte_at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  std::size_t at = 0;
  while (at < text.size()) {
    std::uint64_t eight = 0;
    if (text.size() - at >= sizeof eight) {
      memcpy(&eight, text.data() + at, sizeof eight);
      if ((eight & 0x8080'8080'8080'8080) == 0) {
        at += sizeof eight;
        continue;
      }
    }
    const Lead lead = lead_of(byte_at(at));
    if (lead.length == 0 || lead.length > text.size() - at) return at;
    for (std::size_t i = 1; i < lead.length; ++i) {
      const unsigned char lowest = i == 1 ? lead.lowest : 0x80, highest = i == 1 ? lead.highest : 0xbf;
      if (byte_at(at + i) < lowest || byte_at(at + i) > highest) return at;
    }
    at += lead.length;
  }
  return at;
}

}  // namespace commonhold::detail
