// What shared objects hold, as the templates hand it to the library: a kind and bytes. Mirrors shm/item.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace commonhold::detail {

using Word = std::uint64_t;

enum class ItemKind : std::uint8_t {
  kNull = 0,
  kBool = 1,
  kInt64 = 2,
  kDouble = 3,
  kText = 4,
  kBytes = 5,
  kStruct = 6,
  kReference = 7,
  kCompound = 8,
  kLinked = 9,
};

// Private bytes that the caller lends for a call.
struct Item {
  ItemKind kind = ItemKind::kNull;
  const void* data = nullptr;
  std::size_t size = 0;
};

// A copy of what is stored.
struct StoredItem {
  ItemKind kind = ItemKind::kNull;
  std::string bytes;
  Item item() const { return {kind, bytes.data(), bytes.size()}; }
};

// A change of one word in one step; never user code, because it runs under a lock.
using WordChange = Word (*)(Word before, Word operand);

}  // namespace commonhold::detail
