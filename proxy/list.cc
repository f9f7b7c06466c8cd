#include <commonhold/detail/list_calls.h>

#include "proxy/errors.h"
#include "proxy/items.h"
#include "proxy/object.h"
#include "shm/list.h"

namespace commonhold::detail {

using shm::Status;

namespace {

shm::List& of(Object& object) {
  return structure_of<shm::List>(object);
}

// True for kOk, false for an index outside or an empty list.
bool inside(Status status, Object& object, const char* operation) {
  if (status == Status::kOk) [[likely]]
    return true;
  if (status == Status::kOutOfRange || status == Status::kNotFound) return false;
  throw_status(status, object, operation);
}

// The same for what takes an element's place or removes it.
bool removed(Status status, Object& object, const char* operation) {
  if (!inside(status, object, operation)) return false;
  tell_of_removal(object);
  return true;
}

Exchange exchanged(Status status, Object& object, const char* operation) {
  if (status == Status::kMismatch) return Exchange::kDifferent;
  return removed(status, object, operation) ? Exchange::kDone : Exchange::kAbsent;
}

void done(Status status, Object& object, const char* operation) {
  if (status != Status::kOk) [[unlikely]]
    throw_status(status, object, operation);
}

}  // namespace

std::uint64_t list_size(Object& list) {
  return of(list).size();
}

bool list_get_fixed(Object& list, std::uint64_t index, void* value, std::size_t size) {
  return inside(of(list).get_fixed(index, value, size), list, "read");
}

bool list_get_bytes(Object& list, std::uint64_t index, std::string& value) {
  return inside(of(list).get(index, into(value)), list, "read");
}

bool list_get_item(Object& list, std::uint64_t index, StoredItem& value) {
  return inside(of(list).get(index, into(value)), list, "read");
}

bool list_set(Object& list, std::uint64_t index, const Item& value, std::string* before) {
  shm::List& structure = of(list);
  return removed(structure.set(here(list), index, to_shm(value), before), list, "store in");
}

bool list_change_word(Object& list, std::uint64_t index, WordChange change, Word operand, Word& before) {
  shm::List& structure = of(list);
  return inside(structure.change_word(here(list), index, change, operand, &before), list, "change");
}

Exchange list_compare_exchange(Object& list, std::uint64_t index, const Item& expected, const Item& desired,
                               std::string* actual) {
  shm::List& structure = of(list);
  return exchanged(structure.compare_exchange(here(list), index, to_shm(expected), to_shm(desired), actual), list,
                   "store in");
}

void list_push_back(Object& list, const Item& value) {
  shm::List& structure = of(list);
  done(structure.push_back(here(list), to_shm(value)), list, "append to");
}

void list_push_front(Object& list, const Item& value) {
  shm::List& structure = of(list);
  done(structure.push_front(here(list), to_shm(value)), list, "insert into");
}

bool list_pop_back(Object& list, std::string& popped) {
  shm::List& structure = of(list);
  return removed(structure.pop_back(here(list), popped), list, "pop from");
}

bool list_pop_front(Object& list, std::string& popped) {
  shm::List& structure = of(list);
  return removed(structure.pop_front(here(list), popped), list, "pop from");
}

bool list_insert(Object& list, std::uint64_t index, const Item& value) {
  shm::List& structure = of(list);
  return inside(structure.insert(here(list), index, to_shm(value)), list, "insert into");
}

bool list_erase(Object& list, std::uint64_t index, std::string* erased) {
  shm::List& structure = of(list);
  return removed(structure.erase(here(list), index, erased), list, "erase from");
}

Exchange list_erase_if_equal(Object& list, std::uint64_t index, const Item& expected) {
  shm::List& structure = of(list);
  return exchanged(structure.erase_if_equal(here(list), index, to_shm(expected)), list, "erase from");
}

Exchange list_pop_back_if_equal(Object& list, const Item& expected) {
  shm::List& structure = of(list);
  return exchanged(structure.pop_back_if_equal(here(list), to_shm(expected)), list, "pop from");
}

void list_extend(Object& list, std::span<const Item> values) {
  shm::List& structure = of(list);
  done(structure.extend(here(list), to_shm(values)), list, "append to");
}

bool list_replace(Object& list, std::uint64_t first, std::uint64_t count, std::span<const Item> values) {
  shm::List& structure = of(list);
  return removed(structure.replace(here(list), first, count, to_shm(values)), list, "store in");
}

void list_assign(Object& list, std::span<const Item> values) {
  shm::List& structure = of(list);
  done(structure.replace(here(list), 0, UINT64_MAX, to_shm(values)), list, "assign to");
  tell_of_removal(list);
}

void list_clear(Object& list) {
  shm::List& structure = of(list);
  done(structure.clear(here(list)), list, "clear");
  tell_of_removal(list);
}

void list_reverse(Object& list) {
  shm::List& structure = of(list);
  done(structure.reverse(here(list)), list, "reverse");
}

std::vector<StoredItem> list_snapshot(Object& list, std::uint64_t first, std::uint64_t count, std::uint64_t* changes) {
  const shm::List& structure = of(list);
  std::vector<std::string> values;
  std::vector<shm::ItemKind> kinds;
  done(structure.snapshot(here(list), first, count, values, changes, &kinds), list, "read");
  std::vector<StoredItem> items;
  items.reserve(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    items.push_back({static_cast<ItemKind>(kinds[i]), std::move(values[i])});
  }
  return items;
}

bool list_assign_if_unchanged(Object& list, std::uint64_t changes, std::span<const Item> values) {
  shm::List& structure = of(list);
  const Status status = structure.assign_if_unchanged(here(list), changes, to_shm(values));
  if (status == Status::kMismatch) return false;
  done(status, list, "assign to");
  tell_of_removal(list);
  return true;
}

}  // namespace commonhold::detail
