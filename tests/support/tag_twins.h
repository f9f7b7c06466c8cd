// Keys that a bucket of a dict cannot tell apart: equal in all bits of their hash that a slot keeps.
#pragma once

#include <string>
#include <unordered_map>
#include <utility>

#include "shm/dict_table.h"
#include "support/test_segment.h"

namespace commonhold::test {

// Two keys with one tag, of a dict with that seed: among some 20,000 keys there are about twelve such pairs.
inline std::pair<std::string, std::string> tag_twins(shm::Word seed) {
  std::unordered_map<std::uint32_t, std::string> seen;
  for (int i = 0;; ++i) {
    std::string key = "key " + std::to_string(i);
    auto [other, fresh] = seen.emplace(shm::hash_tag(shm::hash_key(text(key), seed)), key);
    if (!fresh) return {other->second, key};
  }
}

}  // namespace commonhold::test
