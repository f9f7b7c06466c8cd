// Results and contents as people read them, for outcomes that are compared.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "shm/status.h"

namespace commonhold::test {

inline std::string word_of(shm::Status status) {
  return std::string(shm::to_string(status));
}

// Bytes as people can tell them apart.
inline std::string shown(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    text += byte >= ' ' && byte <= '~' ? std::string(1, byte) : fmt::format("\\{:x}", static_cast<unsigned char>(byte));
  }
  return text;
}

}  // namespace commonhold::test
