// The list operations that the library does for the templates in list.h. They throw what errors.h names; a
// bool result says whether the index was inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <commonhold/detail/call.h>
#include <commonhold/detail/dict_calls.h>
#include <commonhold/detail/item.h>
#include <commonhold/detail/object_handle.h>

namespace commonhold::detail {

COMMONHOLD_CALL std::uint64_t list_size(Object& list);
COMMONHOLD_CALL bool list_get_fixed(Object& list, std::uint64_t index, void* value, std::size_t size);
COMMONHOLD_CALL bool list_get_bytes(Object& list, std::uint64_t index, std::string& value);
COMMONHOLD_CALL bool list_get_item(Object& list, std::uint64_t index, StoredItem& value);
COMMONHOLD_CALL bool list_set(Object& list, std::uint64_t index, const Item& value, std::string* before);
COMMONHOLD_CALL bool list_change_word(Object& list, std::uint64_t index, WordChange change, Word operand, Word& before);
COMMONHOLD_CALL Exchange list_compare_exchange(Object& list, std::uint64_t index, const Item& expected,
                                               const Item& desired, std::string* actual);

COMMONHOLD_CALL void list_push_back(Object& list, const Item& value);
COMMONHOLD_CALL void list_push_front(Object& list, const Item& value);
COMMONHOLD_CALL bool list_pop_back(Object& list, std::string& popped);  // false: empty
COMMONHOLD_CALL bool list_pop_front(Object& list, std::string& popped);
COMMONHOLD_CALL bool list_insert(Object& list, std::uint64_t index, const Item& value);
COMMONHOLD_CALL bool list_erase(Object& list, std::uint64_t index, std::string* erased);
COMMONHOLD_CALL Exchange list_erase_if_equal(Object& list, std::uint64_t index, const Item& expected);
COMMONHOLD_CALL Exchange list_pop_back_if_equal(Object& list, const Item& expected);  // kAbsent: empty

COMMONHOLD_CALL void list_extend(Object& list, std::span<const Item> values);
COMMONHOLD_CALL bool list_replace(Object& list, std::uint64_t first, std::uint64_t count, std::span<const Item> values);
COMMONHOLD_CALL void list_assign(Object& list, std::span<const Item> values);
COMMONHOLD_CALL void list_clear(Object& list);
COMMONHOLD_CALL void list_reverse(Object& list);

// [first, first + count) as far as it exists, at one moment; `changes` counts what happened to the list before.
COMMONHOLD_CALL std::vector<StoredItem> list_snapshot(Object& list, std::uint64_t first, std::uint64_t count,
                                                      std::uint64_t* changes = nullptr);
// False: something changed since.
COMMONHOLD_CALL bool list_assign_if_unchanged(Object& list, std::uint64_t changes, std::span<const Item> values);

}  // namespace commonhold::detail
