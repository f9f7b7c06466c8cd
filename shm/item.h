// What containers hold: a kind and bytes. Scalars travel as one 64-bit word.
#pragma once

#include <cstddef>
#include <cstdint>

namespace commonhold::shm {

enum class ItemKind : std::uint8_t {
  kNull = 0,
  kBool = 1,    // word 0 or 1
  kInt64 = 2,   // word, two's complement; narrower and unsigned integers too, as the signature says
  kDouble = 3,  // word, IEEE 754
  kText = 4,    // UTF-8 by convention, not checked
  kBytes = 5,
  kStruct = 6,     // a trivially copyable C++ object
  kReference = 7,  // word, the ObjectId of an object that lives as long as this item does (sweep.h)
  kCompound = 8,   // bytes that a codec wrote
  kLinked = 9,     // a word with a count, so many ObjectIds, then bytes as kCompound has them that name these objects
};

// Items that keep other objects alive.
constexpr bool is_link(ItemKind kind) {
  return kind == ItemKind::kReference || kind == ItemKind::kLinked;
}

constexpr bool is_scalar(ItemKind kind) {
  return kind == ItemKind::kBool || kind == ItemKind::kInt64 || kind == ItemKind::kDouble ||
         kind == ItemKind::kReference;
}

inline constexpr std::uint64_t kMaxItemBytes = 0xffff'fff0;  // just below 4 GiB

// Private bytes that the caller lends for a call.
struct Item {
  ItemKind kind = ItemKind::kNull;
  const void* data = nullptr;
  std::size_t size = 0;  // 8 for scalars, 0 for null
};

// Where a copied item goes: `room` returns a place for `size` bytes (called again when a copy has to be repeated) or
// nullptr to decline. It may allocate and throw. Where writers keep a reader from finishing, it is called under a lock
// of the structure, once.
struct Sink {
  void* context = nullptr;
  void* (*room)(void* context, ItemKind kind, std::size_t size) = nullptr;
};

}  // namespace commonhold::shm
