// The longer member functions of queues.
#pragma once

#include <algorithm>

#include <commonhold/detail/links.h>
#include <commonhold/queue.h>

namespace commonhold {

namespace detail {

// Takes an item that refers to objects: first hold of these, then of the item if it is still the first one, because in
// between nobody would keep them.
template <typename T>
std::optional<T> take_linking(Object& queue, std::int64_t wait, Word* priority) {
  const auto start = std::chrono::steady_clock::now();
  auto left = [&]() -> std::int64_t {
    if (wait == kForever || wait == 0) return wait;
    const std::chrono::nanoseconds passed = std::chrono::steady_clock::now() - start;
    return std::max<std::int64_t>(wait - passed.count(), 0);
  };
  return reading_links<T>([&]() -> std::optional<T> {
    for (StoredItem seen; queue_peek(queue, seen, left());) {
      T value = decode<T>(queue, seen);
      if (queue_take_if_equal(queue, seen.item(), priority)) return value;
    }
    return std::nullopt;
  });
}

// take() for the first of many, or for more of them: what stops it then is for the next call to say, and what was taken
// is given.
template <typename Take>
auto take_more(bool first, Take&& take) -> decltype(take()) {
  try {
    return take();
  } catch (const Error&) {
    if (first) throw;
    return {};
  }
}

template <typename T>
std::optional<T> take_value(Object& queue, std::int64_t wait, Word* priority) {
  if constexpr (kMayLink<T>) {
    return take_linking<T>(queue, wait, priority);
  } else if constexpr (kIsFixed<T>) {
    FixedBuffer<T> buffer;
    if (!queue_get_fixed(queue, buffer.data(), buffer.size(), wait, priority)) return std::nullopt;
    return buffer.value();
  } else {
    std::string bytes;
    if (!queue_get(queue, bytes, wait, priority)) return std::nullopt;
    if constexpr (std::is_same_v<T, std::string>) {
      return bytes;
    } else {
      return decode<T>(bytes);
    }
  }
}

}  // namespace detail

template <detail::Storable T, detail::QueueOrder kOrder, bool kSimple>
template <typename Values>
auto BasicQueue<T, kOrder, kSimple>::put_all(const Values& values, std::int64_t wait) const -> size_type {
  if constexpr (kStoredAsIs && std::ranges::contiguous_range<const Values> &&
                std::is_same_v<std::ranges::range_value_t<const Values>, T>) {
    return detail::queue_put_many_fixed(*handle_, std::ranges::data(values), std::ranges::size(values), sizeof(T), wait,
                                        detail::kKind<T>);
  } else if constexpr (detail::kShape<T> == detail::Shape::kWord) {
    std::vector<detail::Word> words;
    if constexpr (std::ranges::sized_range<const Values>) words.reserve(std::ranges::size(values));
    for (const auto& value : values) words.push_back(detail::to_word(static_cast<T>(value)));
    return detail::queue_put_many_fixed(*handle_, words.data(), words.size(), sizeof(detail::Word), wait,
                                        detail::kKind<T>);
  } else {
    return detail::queue_put_many(*handle_, detail::Batch<T>(values, *handle_).items(), wait);
  }
}

template <detail::Storable T, detail::QueueOrder kOrder, bool kSimple>
auto BasicQueue<T, kOrder, kSimple>::get_all(size_type most, std::int64_t wait) const -> std::vector<T> {
  std::vector<T> values;
  if constexpr (detail::kMayLink<T>) {
    while (values.size() < most) {
      auto value = detail::take_more(
          values.empty(), [&] { return detail::take_linking<T>(*handle_, values.empty() ? wait : 0, nullptr); });
      if (!value) break;
      values.push_back(*std::move(value));
    }
  } else if constexpr (kFixedBytes != 0) {
    // In steps that grow, since nobody knows how many there are.
    using Stored = std::conditional_t<kStoredAsIs, T, detail::FixedBuffer<T>>;
    for (size_type room = 1024; values.size() < most; room *= 4) {
      std::vector<Stored> stored(std::min(most - values.size(), room));
      const std::uint64_t got = detail::take_more(values.empty(), [&] {
        return detail::queue_get_many_fixed(*handle_, stored.data(), kFixedBytes, stored.size(), sizeof(Stored),
                                            values.empty() ? wait : 0);
      });
      const bool rest = got == stored.size() && size() != 0;
      if constexpr (kStoredAsIs) {
        stored.resize(got);
        if (values.empty()) {
          values = std::move(stored);
        } else {
          values.insert(values.end(), stored.begin(), stored.end());
        }
      } else {
        for (std::uint64_t i = 0; i < got; ++i) values.push_back(stored[i].value());
      }
      if (!rest) break;
    }
  } else {
    for (const std::string& bytes : detail::queue_get_many(*handle_, most, wait)) {
      values.push_back(detail::decode<T>(bytes));
    }
  }
  return values;
}

}  // namespace commonhold
