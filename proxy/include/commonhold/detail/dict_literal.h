// dict({{"a", 1}}): the types of a dict from braces, for the literals that C++ and Python have in common.
#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace commonhold::detail {

template <typename T>
using LiteralType =
    std::conditional_t<std::is_convertible_v<const T&, std::string_view>, std::string, std::remove_cvref_t<T>>;

// Made of exactly a K and a V, so that one pair of braces is an entry of one kind only.
template <typename K, typename V>
struct LiteralEntry {
  template <typename Key, typename Given>
  requires(std::same_as<LiteralType<Key>, K>&& std::same_as<LiteralType<Given>, V>)
      LiteralEntry(const Key& key, const Given& value)
      : entry(key, value) {}
  std::pair<K, V> entry;
};

}  // namespace commonhold::detail
