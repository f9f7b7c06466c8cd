// Names of things in a segment. Indexes are reused; an index with its generation names one thing for ever.
#pragma once

#include <cstdint>
#include <functional>

namespace commonhold::shm {

// A position in the segment, in bytes from its start. 0 is the header, so it serves as "none".
using Offset = std::uint64_t;

enum class SessionIndex : std::uint32_t {};  // a client process
enum class ThreadIndex : std::uint32_t {};   // a thread slot

constexpr std::uint32_t index_of(SessionIndex i) {
  return static_cast<std::uint32_t>(i);
}
constexpr std::uint32_t index_of(ThreadIndex i) {
  return static_cast<std::uint32_t>(i);
}

// An object: its record's index and the generation of that record's use.
struct ObjectId {
  std::uint32_t index = 0;
  std::uint32_t generation = 0;

  constexpr std::uint64_t word() const { return std::uint64_t{generation} << 32 | index; }
  static constexpr ObjectId from_word(std::uint64_t word) {
    return {static_cast<std::uint32_t>(word), static_cast<std::uint32_t>(word >> 32)};
  }
  constexpr bool operator==(const ObjectId&) const = default;
  constexpr explicit operator bool() const { return generation != 0; }
};

}  // namespace commonhold::shm
