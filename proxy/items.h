// Between the public items (commonhold/detail/item.h) and those of shm/: the same kinds under two names, so that public
// headers include nothing of ours.
#pragma once

#include <string>
#include <vector>

#include <commonhold/detail/dict_calls.h>
#include <commonhold/detail/item.h>

#include "shm/dict.h"
#include "shm/item.h"

namespace commonhold::detail {

static_assert(static_cast<int>(ItemKind::kNull) == static_cast<int>(shm::ItemKind::kNull));
static_assert(static_cast<int>(ItemKind::kBool) == static_cast<int>(shm::ItemKind::kBool));
static_assert(static_cast<int>(ItemKind::kInt64) == static_cast<int>(shm::ItemKind::kInt64));
static_assert(static_cast<int>(ItemKind::kDouble) == static_cast<int>(shm::ItemKind::kDouble));
static_assert(static_cast<int>(ItemKind::kText) == static_cast<int>(shm::ItemKind::kText));
static_assert(static_cast<int>(ItemKind::kBytes) == static_cast<int>(shm::ItemKind::kBytes));
static_assert(static_cast<int>(ItemKind::kStruct) == static_cast<int>(shm::ItemKind::kStruct));
static_assert(static_cast<int>(ItemKind::kReference) == static_cast<int>(shm::ItemKind::kReference));
static_assert(static_cast<int>(ItemKind::kCompound) == static_cast<int>(shm::ItemKind::kCompound));
static_assert(static_cast<int>(ItemKind::kLinked) == static_cast<int>(shm::ItemKind::kLinked));

inline shm::ItemKind to_shm(ItemKind kind) {
  return static_cast<shm::ItemKind>(kind);
}
inline shm::Item to_shm(const Item& item) {
  return {to_shm(item.kind), item.data, item.size};
}

inline std::vector<shm::Item> to_shm(std::span<const Item> items) {
  std::vector<shm::Item> all;
  all.reserve(items.size());
  for (const Item& item : items) all.push_back(to_shm(item));
  return all;
}

inline std::vector<shm::DictPair> to_shm(std::span<const ItemPair> pairs) {
  std::vector<shm::DictPair> all;
  all.reserve(pairs.size());
  for (const ItemPair& pair : pairs) all.push_back({to_shm(pair.key), to_shm(pair.value)});
  return all;
}

inline shm::Sink into(StoredItem& item) {
  return {&item, [](void* context, shm::ItemKind kind, std::size_t size) -> void* {
            auto& target = *static_cast<StoredItem*>(context);
            target.kind = static_cast<ItemKind>(kind);
            target.bytes.resize(size);
            return target.bytes.data();
          }};
}

// Copies into a string, whose memory is used again.
inline shm::Sink into(std::string& text) {
  return {&text, [](void* context, shm::ItemKind, std::size_t size) -> void* {
            auto& target = *static_cast<std::string*>(context);
            target.resize(size);
            return target.data();
          }};
}

}  // namespace commonhold::detail
