// The dict operations that the library does for the templates in dict.h. They throw what errors.h names; a
// bool result says whether the key was there unless said otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <commonhold/detail/call.h>
#include <commonhold/detail/item.h>
#include <commonhold/detail/object_handle.h>

namespace commonhold::detail {

struct ItemPair {
  Item key, value;
};

struct EntryBytes {
  std::string bytes;
  std::size_t key_size = 0;
  std::uint64_t sequence = 0;  // rises with insertion
  ItemKind key_kind = ItemKind::kNull, value_kind = ItemKind::kNull;
  std::string_view key() const { return std::string_view(bytes).substr(0, key_size); }
  std::string_view value() const { return std::string_view(bytes).substr(key_size); }
};

enum class PutMode : std::uint8_t { kPut, kInsertOnly, kReplaceOnly };
enum class Exchange : std::uint8_t { kDone, kDifferent, kAbsent };

COMMONHOLD_CALL bool dict_get_fixed(Object& dict, const Item& key, void* value, std::size_t size);
COMMONHOLD_CALL bool dict_get_bytes(Object& dict, const Item& key, std::string& value);
COMMONHOLD_CALL bool dict_get_item(Object& dict, const Item& key, StoredItem& value);
COMMONHOLD_CALL bool dict_contains(Object& dict, const Item& key);
COMMONHOLD_CALL std::uint64_t dict_size(Object& dict);

COMMONHOLD_CALL void dict_put(Object& dict, const Item& key, const Item& value);
// True when the value was put. `before` gets what was there, `present` whether there was anything.
COMMONHOLD_CALL bool dict_put_if(Object& dict, const Item& key, const Item& value, PutMode mode, std::string* before,
                                 bool* present);
COMMONHOLD_CALL bool dict_erase(Object& dict, const Item& key, std::string* before);
COMMONHOLD_CALL Exchange dict_erase_if_equal(Object& dict, const Item& key, const Item& expected);
COMMONHOLD_CALL Exchange dict_compare_exchange(Object& dict, const Item& key, const Item& expected, const Item& desired,
                                               std::string* actual);
// False: the key is absent and `start` is null.
COMMONHOLD_CALL bool dict_change_word(Object& dict, const Item& key, ItemKind kind, WordChange change, Word operand,
                                      const Word* start, Word& before);

COMMONHOLD_CALL void dict_put_many(Object& dict, std::span<const ItemPair> pairs);
// Of absent keys the kind is kNull, and `found` false.
COMMONHOLD_CALL std::vector<StoredItem> dict_get_many(Object& dict, std::span<const Item> keys,
                                                      std::vector<bool>& found);
COMMONHOLD_CALL bool dict_pop_last(Object& dict, EntryBytes& popped);
// Pops the last entry if it is `expected`; else kDifferent, and `expected` becomes the last one.
COMMONHOLD_CALL Exchange dict_pop_last_if_equal(Object& dict, EntryBytes& expected);
COMMONHOLD_CALL void dict_clear(Object& dict);
COMMONHOLD_CALL void dict_assign(Object& dict, std::span<const ItemPair> pairs);
COMMONHOLD_CALL std::vector<EntryBytes> dict_snapshot(Object& dict);

// Bytes in shared memory that stay as they are until they are unpinned by the same thread.
struct PinnedBytes {
  const void* data = nullptr;
  std::size_t size = 0;
  std::uint64_t thread = 0;  // who pinned; 0: nobody, there was no free pin
  std::uint32_t slot = 0;
};
COMMONHOLD_CALL bool dict_pin(Object& dict, const Item& key, PinnedBytes& pinned);
COMMONHOLD_CALL void dict_unpin(Object& dict, const PinnedBytes& pinned) noexcept;

}  // namespace commonhold::detail
