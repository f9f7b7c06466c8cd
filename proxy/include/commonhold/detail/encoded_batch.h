// Many values encoded at once, with items that stay where they are.
#pragma once

#include <deque>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <commonhold/detail/dict_calls.h>
#include <commonhold/detail/encoded.h>

namespace commonhold::detail {

// Whether a range's elements outlive its iterators, so that encodings may lend their bytes: those of arrays and of
// containers that own them. A shared list's iterators own the copy that they walk, a stream's hand out one element
// again and again, and a view may have such ones below it: their elements are copied first.
template <typename Range>
inline constexpr bool kOwnsElements = std::is_lvalue_reference_v<std::ranges::range_reference_t<Range>> &&
                                      (std::ranges::contiguous_range<Range> ||
                                       requires { typename std::remove_cvref_t<Range>::allocator_type; });

template <typename Range, typename T>
inline constexpr bool kLendsElements =
    kOwnsElements<Range>&& std::is_same_v<std::remove_cvref_t<std::ranges::range_reference_t<Range>>, T>;

template <typename T, typename Encoding = Encoded<T>>
class Batch {
 public:
  // `into` is what they are stored in: nothing for keys.
  template <std::ranges::input_range Range, typename... Into>
  explicit Batch(Range&& values, Into&... into) {
    for (auto&& value : values) {
      if constexpr (kLendsElements<Range, T>) {
        encoded_.emplace_back(into..., value);
      } else {
        encoded_.emplace_back(into..., kept_.emplace_back(T(value)));
      }
    }
    items_.reserve(encoded_.size());
    for (const auto& encoded : encoded_) items_.push_back(encoded.item());
  }
  std::span<const Item> items() const { return items_; }

 private:
  std::deque<T> kept_;
  std::deque<Encoding> encoded_;
  std::vector<Item> items_;
};

template <typename K, typename V>
class PairBatch {
 public:
  template <std::ranges::input_range Range>
  PairBatch(Range&& entries, Object& into) : into_(into) {
    using Entry = std::remove_cvref_t<std::ranges::range_reference_t<Range>>;
    constexpr bool kLent = kOwnsElements<Range>;
    for (auto&& entry : entries) {
      if constexpr (kLent) {
        add<Entry>(entry);
      } else {
        add<Entry>(static_cast<const std::pair<K, V>&>(kept_.emplace_back(std::get<0>(entry), std::get<1>(entry))));
      }
    }
    items_.reserve(keys_.size());
    for (std::size_t i = 0; i < keys_.size(); ++i) items_.push_back({keys_[i].item(), values_[i].item()});
  }
  std::span<const ItemPair> items() const { return items_; }

 private:
  template <typename Entry, typename Given>
  void add(const Given& entry) {
    using Key = std::remove_cvref_t<decltype(std::get<0>(entry))>;
    using Value = std::remove_cvref_t<decltype(std::get<1>(entry))>;
    if constexpr (std::is_same_v<Key, K> && std::is_same_v<Value, V>) {
      keys_.emplace_back(std::get<0>(entry));
      values_.emplace_back(into_, std::get<1>(entry));
    } else {
      const auto& kept = kept_.emplace_back(K(std::get<0>(entry)), V(std::get<1>(entry)));
      keys_.emplace_back(kept.first);
      values_.emplace_back(into_, kept.second);
    }
  }
  Object& into_;
  std::deque<std::pair<K, V>> kept_;
  std::deque<EncodedKey<K>> keys_;
  std::deque<Encoded<V>> values_;
  std::vector<ItemPair> items_;
};

}  // namespace commonhold::detail
