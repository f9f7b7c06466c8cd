#include <commonhold/detail/dict_calls.h>

#include "proxy/errors.h"
#include "proxy/fork_guard.h"
#include "proxy/items.h"
#include "proxy/object.h"
#include "shm/dict_lookup.h"
#include "shm/dict_overwrite.h"

namespace commonhold::detail {

using shm::Status;

namespace {

shm::Dict& of(Object& object) {
  return structure_of<shm::Dict>(object);
}

// True for kOk, false for kNotFound.
bool found(Status status, Object& object, const char* operation) {
  if (status == Status::kOk) [[likely]]
    return true;
  if (status == Status::kNotFound) return false;
  throw_status(status, object, operation);
}

void done(Status status, Object& object, const char* operation) {
  if (status != Status::kOk) [[unlikely]]
    throw_status(status, object, operation);
}

shm::PutMode to_shm(PutMode mode) {
  switch (mode) {
    case PutMode::kInsertOnly:
      return shm::PutMode::kInsertOnly;
    case PutMode::kReplaceOnly:
      return shm::PutMode::kReplaceOnly;
    case PutMode::kPut:
      break;
  }
  return shm::PutMode::kPut;
}

std::shared_ptr<PopOrder> pop_order(Object& object) {
  ForkGuard& guard = ForkGuard::instance();
  std::lock_guard hold(guard.mutex);
  auto& aside = static_cast<ObjectOf<shm::Dict>&>(object).aside;
  if (aside.made_by != guard.generation()) {
    if (aside.order != nullptr) new std::shared_ptr<PopOrder>(aside.order);  // the parent's: never ended here
    aside.order = std::make_shared<PopOrder>();
    aside.made_by = guard.generation();
  }
  return aside.order;
}

EntryBytes to_entry(shm::DictEntryCopy&& copy) {
  return {std::move(copy.bytes), copy.key_size, copy.sequence, static_cast<ItemKind>(copy.key_kind),
          static_cast<ItemKind>(copy.value_kind)};
}

[[gnu::noinline]] bool dict_get_fixed_at_length(Object& dict, const Item& key, void* value, std::size_t size) {
  return found(of(dict).get_fixed_at_length(to_shm(key), value, size), dict, "read");
}

[[gnu::noinline]] bool dict_change_word_at_length(Object& dict, const Item& key, ItemKind kind, WordChange change,
                                                  Word operand, const Word* start, Word& before) {
  shm::Dict& structure = of(dict);
  return found(structure.change_word(here(dict), to_shm(key), to_shm(kind), change, operand, start, &before), dict,
               "change");
}

[[gnu::noinline]] void dict_put_at_length(Object& dict, const Item& key, const Item& value, std::uint64_t absent) {
  shm::Dict& structure = of(dict);
  bool replaced = false;
  const Status status =
      structure.put_at_length(here(dict), to_shm(key), to_shm(value), shm::PutMode::kPut, nullptr, &replaced, absent);
  done(status, dict, "store in");
  if (replaced) tell_of_removal(dict);
}

}  // namespace

bool dict_get_fixed(Object& dict, const Item& key, void* value, std::size_t size) {
  const shm::Dict& structure = of(dict);
  if (structure.get_fixed_straight(to_shm(key), value, size)) [[likely]]
    return true;
  return dict_get_fixed_at_length(dict, key, value, size);
}

bool dict_get_bytes(Object& dict, const Item& key, std::string& value) {
  return found(of(dict).get(to_shm(key), into(value)), dict, "read");
}

bool dict_get_item(Object& dict, const Item& key, StoredItem& value) {
  return found(of(dict).get(to_shm(key), into(value)), dict, "read");
}

bool dict_contains(Object& dict, const Item& key) {
  return of(dict).contains(to_shm(key));
}

std::uint64_t dict_size(Object& dict) {
  const std::uint64_t size = of(dict).size();
  if (size == 0 && !of(dict).has_shards()) [[unlikely]]
    throw_status(shm::Status::kCorrupt, dict, "count");
  return size;
}

void dict_put(Object& dict, const Item& key, const Item& value) {
  shm::ThreadContext* me = quick_here(dict);
  std::uint64_t absent = 0;
  if (me == nullptr || !quick_structure<shm::Dict>(dict).put_straight(*me, to_shm(key), to_shm(value), absent))
      [[unlikely]] {
    dict_put_at_length(dict, key, value, absent);
  }
}

bool dict_put_if(Object& dict, const Item& key, const Item& value, PutMode mode, std::string* before, bool* present) {
  shm::Dict& structure = of(dict);
  bool replaced = false;
  const Status status = structure.put(here(dict), to_shm(key), to_shm(value), to_shm(mode), before, &replaced);
  if (present != nullptr) *present = replaced;
  if (status == Status::kExists || status == Status::kNotFound) return false;
  done(status, dict, "store in");
  if (replaced) tell_of_removal(dict);
  return true;
}

bool dict_erase(Object& dict, const Item& key, std::string* before) {
  shm::Dict& structure = of(dict);
  if (!found(structure.erase(here(dict), to_shm(key), before), dict, "erase from")) return false;
  tell_of_removal(dict);
  return true;
}

Exchange dict_erase_if_equal(Object& dict, const Item& key, const Item& expected) {
  shm::Dict& structure = of(dict);
  const shm::Item wanted = to_shm(expected);
  const Status status = structure.erase(here(dict), to_shm(key), nullptr, &wanted);
  if (status == Status::kMismatch) return Exchange::kDifferent;
  if (!found(status, dict, "erase from")) return Exchange::kAbsent;
  tell_of_removal(dict);
  return Exchange::kDone;
}

Exchange dict_compare_exchange(Object& dict, const Item& key, const Item& expected, const Item& desired,
                               std::string* actual) {
  shm::Dict& structure = of(dict);
  const Status status = structure.compare_exchange(here(dict), to_shm(key), to_shm(expected), to_shm(desired), actual);
  if (status == Status::kMismatch) return Exchange::kDifferent;
  if (!found(status, dict, "store in")) return Exchange::kAbsent;
  tell_of_removal(dict);
  return Exchange::kDone;
}

bool dict_change_word(Object& dict, const Item& key, ItemKind kind, WordChange change, Word operand, const Word* start,
                      Word& before) {
  shm::ThreadContext* me = quick_here(dict);
  if (me != nullptr && quick_structure<shm::Dict>(dict).change_word_straight(*me, to_shm(key), detail::to_shm(kind),
                                                                             change, operand, before)) [[likely]]
    return true;
  return dict_change_word_at_length(dict, key, kind, change, operand, start, before);
}

void dict_put_many(Object& dict, std::span<const ItemPair> pairs) {
  shm::Dict& structure = of(dict);
  done(structure.put_many(here(dict), detail::to_shm(pairs)), dict, "store in");
  tell_of_removal(dict);
}

std::vector<StoredItem> dict_get_many(Object& dict, std::span<const Item> keys, std::vector<bool>& found) {
  shm::Dict& structure = of(dict);
  std::vector<std::string> values;
  std::vector<shm::ItemKind> kinds;
  done(structure.get_many(here(dict), detail::to_shm(keys), values, found, &kinds), dict, "read");
  std::vector<StoredItem> items(values.size());
  for (std::size_t i = 0; i < items.size(); ++i) items[i] = {static_cast<ItemKind>(kinds[i]), std::move(values[i])};
  return items;
}

bool dict_pop_last(Object& dict, EntryBytes& popped) {
  shm::Dict& structure = of(dict);
  const auto order = pop_order(dict);
  std::lock_guard hold(order->mutex);
  shm::DictEntryCopy copy;
  if (!found(structure.pop_last(here(dict), order->cache, copy), dict, "pop from")) return false;
  popped = to_entry(std::move(copy));
  tell_of_removal(dict);
  return true;
}

Exchange dict_pop_last_if_equal(Object& dict, EntryBytes& expected) {
  shm::Dict& structure = of(dict);
  const auto order = pop_order(dict);
  std::lock_guard hold(order->mutex);
  shm::DictEntryCopy copy, wanted;
  wanted.sequence = expected.sequence;
  wanted.value_kind = to_shm(expected.value_kind);
  wanted.bytes = expected.bytes;
  const Status status = structure.pop_last(here(dict), order->cache, copy, &wanted);
  if (status == Status::kMismatch) return expected = to_entry(std::move(copy)), Exchange::kDifferent;
  if (!found(status, dict, "pop from")) return Exchange::kAbsent;
  tell_of_removal(dict);
  return Exchange::kDone;
}

void dict_clear(Object& dict) {
  shm::Dict& structure = of(dict);
  done(structure.clear(here(dict)), dict, "clear");
  tell_of_removal(dict);
}

void dict_assign(Object& dict, std::span<const ItemPair> pairs) {
  shm::Dict& structure = of(dict);
  done(structure.assign(here(dict), detail::to_shm(pairs)), dict, "assign to");
  tell_of_removal(dict);
}

std::vector<EntryBytes> dict_snapshot(Object& dict) {
  const shm::Dict& structure = of(dict);
  std::vector<shm::DictEntryCopy> copies;
  done(structure.snapshot(here(dict), copies), dict, "read");
  std::vector<EntryBytes> entries;
  entries.reserve(copies.size());
  for (auto& copy : copies) entries.push_back(to_entry(std::move(copy)));
  return entries;
}

bool dict_pin(Object& dict, const Item& key, PinnedBytes& pinned) {
  const shm::Dict& structure = of(dict);
  shm::ThreadContext& me = here(dict);
  shm::ItemKind kind = shm::ItemKind::kNull;
  const Status status = structure.pin(me, to_shm(key), pinned.data, pinned.size, kind, pinned.slot);
  if (status == Status::kTooMany) return true;  // no pin is free; whether the key is there shows when it is copied
  if (!found(status, dict, "pin a value of")) return false;
  pinned.thread = me.owner();
  return true;
}

void dict_unpin(Object& dict, const PinnedBytes& pinned) noexcept {
  shm::ThreadContext* me = dict.segment->here();
  // Another thread, or a forked child, did not pin it: the pin ends with the thread that did.
  if (me != nullptr && me->owner() == pinned.thread) shm::Dict::unpin(*me, pinned.slot);
}

}  // namespace commonhold::detail
