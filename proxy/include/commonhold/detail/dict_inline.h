// The longer member functions of Dict.
#pragma once

#include <commonhold/dict.h>

namespace commonhold {

template <detail::StorableKey K, detail::Storable V>
std::optional<V> Dict<K, V>::find(KeyArg key) const {
  const detail::EncodedKey<K> encoded(key);
  if constexpr (detail::kIsFixed<V>) {
    detail::FixedBuffer<V> buffer;
    if (!detail::dict_get_fixed(*handle_, encoded.item(), buffer.data(), buffer.size())) return std::nullopt;
    return buffer.value();
  } else {
    std::optional<std::string> bytes(std::in_place);
    if (!detail::dict_get_bytes(*handle_, encoded.item(), *bytes)) return std::nullopt;
    if constexpr (detail::kShape<V> == detail::Shape::kText) {
      return bytes;
    } else {
      return detail::decode<V>(*bytes);
    }
  }
}

template <detail::StorableKey K, detail::Storable V>
template <std::ranges::input_range Keys>
std::vector<std::optional<V>> Dict<K, V>::get_many(Keys&& keys) const {
  const detail::Batch<K, detail::EncodedKey<K>> encoded(std::forward<Keys>(keys));
  std::vector<std::string> bytes;
  std::vector<bool> found;
  detail::dict_get_many(*handle_, encoded.items(), bytes, found);
  std::vector<std::optional<V>> values(found.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i]) values[i] = detail::decode<V>(bytes[i]);
  }
  return values;
}

template <detail::StorableKey K, detail::Storable V>
Pinned<V> Dict<K, V>::pin(KeyArg key) const {
  const detail::EncodedKey<K> encoded(key);
  detail::PinnedBytes pinned;
  if (!detail::dict_pin(*handle_, encoded.item(), pinned)) detail::throw_key_error(*handle_, detail::printed(key));
  if (pinned.thread != 0) {
    Pinned<V> result(handle_, pinned);
    if constexpr (detail::kIsFixed<V>) {
      if (pinned.size != detail::FixedBuffer<V>::size()) detail::refuse_size(pinned.size, sizeof(V));
      if (reinterpret_cast<std::uintptr_t>(pinned.data) % alignof(V) != 0) return Pinned<V>(result.bytes());
    }
    return result;
  }
  std::string bytes;
  if (!detail::dict_get_bytes(*handle_, encoded.item(), bytes)) {
    detail::throw_key_error(*handle_, detail::printed(key));
  }
  return Pinned<V>(bytes);
}

template <detail::StorableKey K, detail::Storable V>
V Dict<K, V>::setdefault(KeyArg key, ValueArg value) const {
  const detail::EncodedKey<K> encoded(key);
  const detail::Encoded<V> initial(value);
  for (;;) {
    if (auto present = find(key)) return *std::move(present);
    if (detail::dict_put_if(*handle_, encoded.item(), initial.item(), detail::PutMode::kInsertOnly, nullptr, nullptr)) {
      return V(value);
    }
  }
}

template <detail::StorableKey K, detail::Storable V>
std::optional<V> Dict<K, V>::exchange(KeyArg key, ValueArg value) const {
  std::string before;
  bool present = false;
  detail::dict_put_if(*handle_, detail::EncodedKey<K>(key).item(), detail::Encoded<V>(value).item(),
                      detail::PutMode::kPut, &before, &present);
  if (!present) return std::nullopt;
  return detail::decode<V>(before);
}

template <detail::StorableKey K, detail::Storable V>
bool Dict<K, V>::compare_exchange(KeyArg key, V& expected, ValueArg desired) const {
  std::string actual;
  const detail::Encoded<V> seen(expected);
  switch (detail::dict_compare_exchange(*handle_, detail::EncodedKey<K>(key).item(), seen.item(),
                                        detail::Encoded<V>(desired).item(), &actual)) {
    case detail::Exchange::kDone:
      return true;
    case detail::Exchange::kDifferent:
      expected = detail::decode<V>(actual);
      return false;
    case detail::Exchange::kAbsent:
      break;
  }
  detail::throw_key_error(*handle_, detail::printed(key));
}

template <detail::StorableKey K, detail::Storable V>
std::optional<V> Dict<K, V>::try_pop(KeyArg key) const {
  std::string before;
  if (!detail::dict_erase(*handle_, detail::EncodedKey<K>(key).item(), &before)) return std::nullopt;
  return detail::decode<V>(before);
}

template <detail::StorableKey K, detail::Storable V>
auto Dict<K, V>::popitem() const -> value_type {
  detail::EntryBytes entry;
  if (!detail::dict_pop_last(*handle_, entry)) detail::throw_empty(*handle_, "popitem");
  return {detail::decode<K>(entry.key()), detail::decode<V>(entry.value())};
}

template <detail::StorableKey K, detail::Storable V>
std::vector<K> Dict<K, V>::keys() const {
  std::vector<K> all;
  for (const auto& entry : detail::dict_snapshot(*handle_)) all.push_back(detail::decode<K>(entry.key()));
  return all;
}

template <detail::StorableKey K, detail::Storable V>
std::vector<V> Dict<K, V>::values() const {
  std::vector<V> all;
  for (const auto& entry : detail::dict_snapshot(*handle_)) all.push_back(detail::decode<V>(entry.value()));
  return all;
}

template <detail::StorableKey K, detail::Storable V>
auto Dict<K, V>::items() const -> std::vector<value_type> {
  const auto entries = detail::dict_snapshot(*handle_);
  std::vector<value_type> all;
  all.reserve(entries.size());
  for (const auto& entry : entries) all.emplace_back(detail::decode<K>(entry.key()), detail::decode<V>(entry.value()));
  return all;
}

template <detail::StorableKey K, detail::Storable V>
template <detail::Change change>
V Dict<K, V>::change_element(KeyArg key, V operand) const {
  const detail::Word start = 0;  // 0, 0.0
  detail::Word before = 0;
  detail::dict_change_word(*handle_, detail::EncodedKey<K>(key).item(), detail::kKind<V>,
                           &detail::changed_word<V, change>, detail::to_word(operand), &start, before);
  return detail::from_word<V>(before);
}

template <detail::StorableKey K, detail::Storable V>
template <typename Fn>
V Dict<K, V>::update_from(KeyArg key, const V* start, Fn& fn) const {
  const detail::EncodedKey<K> encoded(key);
  std::string seen;
  bool present = detail::dict_get_bytes(*handle_, encoded.item(), seen);
  for (;;) {
    if (!present && start == nullptr) detail::throw_key_error(*handle_, detail::printed(key));
    V next = fn(present ? detail::decode<V>(seen) : V(*start));
    const detail::Encoded<V> desired(next);
    if (!present) {
      if (detail::dict_put_if(*handle_, encoded.item(), desired.item(), detail::PutMode::kInsertOnly, nullptr,
                              nullptr)) {
        return next;
      }
      present = detail::dict_get_bytes(*handle_, encoded.item(), seen);
      continue;
    }
    const detail::Item expected{detail::kKind<V>, seen.data(), seen.size()};
    std::string actual;
    switch (detail::dict_compare_exchange(*handle_, encoded.item(), expected, desired.item(), &actual)) {
      case detail::Exchange::kDone:
        return next;
      case detail::Exchange::kDifferent:
        seen = std::move(actual);
        break;
      case detail::Exchange::kAbsent:
        present = false;
        break;
    }
  }
}

template <detail::StorableKey K, detail::Storable V>
template <typename Entries>
bool Dict<K, V>::equals(const Entries& entries) const {
  const auto mine = detail::dict_snapshot(*handle_);
  if (mine.size() != entries.size()) return false;
  std::unordered_map<std::string_view, std::string_view> by_key;
  for (const auto& entry : mine) by_key.emplace(entry.key(), entry.value());
  for (const auto& [key, value] : entries) {
    const K wanted(key);
    const detail::EncodedKey<K> encoded(wanted);
    const auto found = by_key.find({static_cast<const char*>(encoded.item().data), encoded.item().size});
    if (found == by_key.end() || !(detail::decode<V>(found->second) == value)) return false;
  }
  return true;
}

}  // namespace commonhold
