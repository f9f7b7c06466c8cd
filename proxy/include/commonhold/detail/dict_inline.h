// The longer member functions of Dict.
#pragma once

#include <commonhold/dict.h>

namespace commonhold {

template <typename K, typename V>
std::optional<V> Dict<K, V>::find(KeyArg key) const {
  const detail::EncodedKey<K> encoded(key);
  if constexpr (detail::kIsFixed<V>) {
    detail::FixedBuffer<V> buffer;
    if (!detail::dict_get_fixed(*handle_, encoded.item(), buffer.data(), buffer.size())) return std::nullopt;
    return buffer.value();
  } else if constexpr (detail::kReadAnew<V>) {
    return detail::reading_links<V>([&]() -> std::optional<V> {
      detail::StoredItem stored;
      if (!detail::dict_get_item(*handle_, encoded.item(), stored)) return std::nullopt;
      return detail::decode<V>(*handle_, stored);
    });
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

template <typename K, typename V>
template <std::ranges::input_range Keys>
std::vector<std::optional<V>> Dict<K, V>::get_many(Keys&& keys) const {
  const detail::Batch<K, detail::EncodedKey<K>> encoded(std::forward<Keys>(keys));
  return detail::reading_links<V>([&] {
    std::vector<bool> found;
    const auto stored = detail::dict_get_many(*handle_, encoded.items(), found);
    std::vector<std::optional<V>> values(found.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i]) values[i] = detail::decode<V>(*handle_, stored[i]);
    }
    return values;
  });
}

template <typename K, typename V>
Pinned<V> Dict<K, V>::pin(KeyArg key) const requires(!detail::kMayLink<V>) {
  const detail::EncodedKey<K> encoded(key);
  detail::PinnedBytes pinned;
  if constexpr (detail::kShape<V> != detail::Shape::kWord) {  // a number changes in its place: it is copied
    if (!detail::dict_pin(*handle_, encoded.item(), pinned)) detail::throw_key_error(*handle_, detail::printed(key));
  }
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

template <typename K, typename V>
V Dict<K, V>::setdefault(KeyArg key, ValueArg value) const {
  for (;;) {
    if (auto present = find(key)) return *std::move(present);
    if (!insert(key, value)) continue;
    if constexpr (std::is_copy_constructible_v<V>) {
      return V(value);
    } else if (auto own = find(key)) {
      return *std::move(own);
    }
  }
}

template <typename K, typename V>
std::optional<V> Dict<K, V>::exchange(KeyArg key, ValueArg value) const {
  if constexpr (detail::kDecodedFirst<V>) {
    // What is given back is taken hold of first, and replaced if it is still that.
    const detail::EncodedKey<K> encoded(key);
    const detail::Encoded<V> desired(*handle_, value);
    detail::Taking<V> taking;
    return detail::reading_links<V>([&]() -> std::optional<V> {
      for (detail::StoredItem seen;;) {
        if (!detail::dict_get_item(*handle_, encoded.item(), seen)) {
          if (detail::dict_put_if(*handle_, encoded.item(), desired.item(), detail::PutMode::kInsertOnly, nullptr,
                                  nullptr)) {
            return std::nullopt;
          }
          continue;
        }
        auto before = taking.decoded([&] { return detail::decode<V>(*handle_, seen); });
        if (detail::dict_compare_exchange(*handle_, encoded.item(), seen.item(), desired.item(), nullptr) ==
            detail::Exchange::kDone) {
          return taking.taken(std::move(before));
        }
      }
    });
  } else {
    std::string before;
    bool present = false;
    detail::dict_put_if(*handle_, detail::EncodedKey<K>(key).item(), detail::Encoded<V>(*handle_, value).item(),
                        detail::PutMode::kPut, &before, &present);
    if (!present) return std::nullopt;
    return detail::taken_value<V>(std::move(before));
  }
}

template <typename K, typename V>
bool Dict<K, V>::compare_exchange(KeyArg key, V& expected, ValueArg desired) const {
  const detail::Encoded<V> seen(*handle_, expected);
  if constexpr (detail::kMayLink<V>) {
    const detail::EncodedKey<K> encoded(key);
    const detail::Encoded<V> next(*handle_, desired);
    for (;;) {
      switch (detail::dict_compare_exchange(*handle_, encoded.item(), seen.item(), next.item(), nullptr)) {
        case detail::Exchange::kDone:
          return true;
        case detail::Exchange::kDifferent: {
          V actual = at(key);
          if (actual == expected) continue;  // it is as expected by now
          expected = std::move(actual);
          return false;
        }
        case detail::Exchange::kAbsent:
          detail::throw_key_error(*handle_, detail::printed(key));
      }
    }
  } else {
    std::string actual;
    switch (detail::dict_compare_exchange(*handle_, detail::EncodedKey<K>(key).item(), seen.item(),
                                          detail::Encoded<V>(*handle_, desired).item(), &actual)) {
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
}

template <typename K, typename V>
std::optional<V> Dict<K, V>::try_pop(KeyArg key) const {
  if constexpr (detail::kDecodedFirst<V>) {
    // Decoded first, removed if it is still that (kDecodedFirst).
    const detail::EncodedKey<K> encoded(key);
    detail::Taking<V> taking;
    return detail::reading_links<V>([&]() -> std::optional<V> {
      for (detail::StoredItem seen;;) {
        if (!detail::dict_get_item(*handle_, encoded.item(), seen)) return std::nullopt;
        auto value = taking.decoded([&] { return detail::decode<V>(*handle_, seen); });
        if (detail::dict_erase_if_equal(*handle_, encoded.item(), seen.item()) == detail::Exchange::kDone) {
          return taking.taken(std::move(value));
        }
      }
    });
  } else {
    std::string before;
    if (!detail::dict_erase(*handle_, detail::EncodedKey<K>(key).item(), &before)) return std::nullopt;
    return detail::taken_value<V>(std::move(before));
  }
}

template <typename K, typename V>
auto Dict<K, V>::popitem() const -> value_type {
  constexpr bool kTwoTexts = detail::kShape<K> == detail::Shape::kText && detail::kShape<V> == detail::Shape::kText;
  if constexpr (detail::kDecodedFirst<V> || detail::kDecodedFirst<K> || kTwoTexts) {
    detail::Taking<V> taking;
    return detail::reading_links<V>([&]() -> value_type {
      detail::EntryBytes last;
      last.sequence = UINT64_MAX;  // no entry's: the first try only looks
      const auto decode = [&] { return taking.decoded([&] { return decoded(last); }); };
      for (;;) {
        const bool looked = last.sequence != UINT64_MAX;
        std::optional<decltype(decode())> entry;
        if (looked) entry.emplace(decode());
        switch (detail::dict_pop_last_if_equal(*handle_, last)) {
          case detail::Exchange::kDone:
            return taking.taken(*std::move(entry));
          case detail::Exchange::kDifferent:
            break;
          case detail::Exchange::kAbsent:
            detail::throw_empty(*handle_, "popitem");
        }
      }
    });
  } else {
    detail::EntryBytes entry;
    if (!detail::dict_pop_last(*handle_, entry)) detail::throw_empty(*handle_, "popitem");
    // Nothing that could fail now: the entry's bytes become its text.
    if constexpr (detail::kIsFixed<K>) {
      K key = detail::decode<K>(entry.key());
      return {std::move(key), detail::taken_value<V>(std::move(entry.bytes.erase(0, entry.key_size)))};
    } else {
      V value = detail::decode<V>(entry.value());
      entry.bytes.resize(entry.key_size);
      return {detail::taken_value<K>(std::move(entry.bytes)), std::move(value)};
    }
  }
}

template <typename K, typename V>
auto Dict<K, V>::decoded(const detail::EntryBytes& entry) const -> value_type {
  return {detail::decode<K>(*handle_, entry.key_kind, entry.key()),
          detail::decode<V>(*handle_, entry.value_kind, entry.value())};
}

template <typename K, typename V>
std::vector<K> Dict<K, V>::keys() const {
  std::vector<K> all;
  for (const auto& entry : detail::dict_snapshot(*handle_)) {
    all.push_back(detail::decode<K>(*handle_, entry.key_kind, entry.key()));
  }
  return all;
}

template <typename K, typename V>
std::vector<V> Dict<K, V>::values() const {
  return detail::reading_links<V>([&] {
    std::vector<V> all;
    for (const auto& entry : detail::dict_snapshot(*handle_)) {
      all.push_back(detail::decode<V>(*handle_, entry.value_kind, entry.value()));
    }
    return all;
  });
}

template <typename K, typename V>
auto Dict<K, V>::items() const -> std::vector<value_type> {
  return detail::reading_links<V>([&] {
    const auto entries = detail::dict_snapshot(*handle_);
    std::vector<value_type> all;
    all.reserve(entries.size());
    for (const auto& entry : entries) all.push_back(decoded(entry));
    return all;
  });
}

template <typename K, typename V>
template <detail::Change change>
V Dict<K, V>::change_element(KeyArg key, V operand) const {
  const detail::Word start = 0;  // 0, 0.0
  detail::Word before = 0;
  detail::dict_change_word(*handle_, detail::EncodedKey<K>(key).item(), detail::kKind<V>,
                           &detail::changed_word<V, change>, detail::to_word(operand), &start, before);
  return detail::from_word<V>(before);
}

template <typename K, typename V>
template <typename Fn>
V Dict<K, V>::update_from(KeyArg key, const V* start, Fn& fn) const {
  const detail::EncodedKey<K> encoded(key);
  return detail::reading_links<V>([&]() -> V {
    for (detail::StoredItem seen;;) {
      const bool present = detail::dict_get_item(*handle_, encoded.item(), seen);
      if (!present && start == nullptr) detail::throw_key_error(*handle_, detail::printed(key));
      V next = fn(present ? detail::decode<V>(*handle_, seen) : V(*start));
      const detail::Encoded<V> desired(*handle_, next);
      if (present) {
        if (detail::dict_compare_exchange(*handle_, encoded.item(), seen.item(), desired.item(), nullptr) ==
            detail::Exchange::kDone) {
          return next;
        }
      } else if (detail::dict_put_if(*handle_, encoded.item(), desired.item(), detail::PutMode::kInsertOnly, nullptr,
                                     nullptr)) {
        return next;
      }
    }
  });
}

template <typename K, typename V>
template <typename Entries>
bool Dict<K, V>::equals(const Entries& entries) const {
  return detail::reading_links<V>([&] {
    const auto mine = detail::dict_snapshot(*handle_);
    if (mine.size() != entries.size()) return false;
    std::map<std::pair<detail::ItemKind, std::string_view>, const detail::EntryBytes*> by_key;
    for (const auto& entry : mine) by_key.emplace(std::pair(entry.key_kind, entry.key()), &entry);
    for (const auto& [key, value] : entries) {
      const K wanted(key);
      const detail::EncodedKey<K> encoded(wanted);
      const detail::Item item = encoded.item();
      const auto found = by_key.find({item.kind, {static_cast<const char*>(item.data), item.size}});
      if (found == by_key.end() ||
          !(detail::decode<V>(*handle_, found->second->value_kind, found->second->value()) == value)) {
        return false;
      }
    }
    return true;
  });
}

}  // namespace commonhold
