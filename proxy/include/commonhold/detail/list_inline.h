// The longer member functions of List.
#pragma once

#include <commonhold/list.h>

namespace commonhold {

template <typename T>
T List<T>::at(Index index) const {
  if constexpr (detail::kIsFixed<T>) {
    detail::FixedBuffer<T> buffer;
    if (!detail::list_get_fixed(*handle_, position(index), buffer.data(), buffer.size())) outside(index);
    return buffer.value();
  } else if constexpr (detail::kReadAnew<T>) {
    return detail::reading_links<T>([&] {
      detail::StoredItem stored;
      if (!detail::list_get_item(*handle_, position(index), stored)) outside(index);
      return detail::decode<T>(*handle_, stored);
    });
  } else {
    std::string bytes;
    if (!detail::list_get_bytes(*handle_, position(index), bytes)) outside(index);
    return detail::decode<T>(bytes);
  }
}

template <typename T>
bool List<T>::compare_exchange(Index index, T& expected, ValueArg desired) const {
  const detail::Encoded<T> seen(*handle_, expected);
  if constexpr (detail::kMayLink<T>) {
    const detail::Encoded<T> next(*handle_, desired);
    for (;;) {
      switch (detail::list_compare_exchange(*handle_, position(index), seen.item(), next.item(), nullptr)) {
        case detail::Exchange::kDone:
          return true;
        case detail::Exchange::kDifferent: {
          T actual = at(index);
          if (actual == expected) continue;  // it is as expected by now
          expected = std::move(actual);
          return false;
        }
        case detail::Exchange::kAbsent:
          outside(index);
      }
    }
  } else {
    std::string actual;
    switch (detail::list_compare_exchange(*handle_, position(index), seen.item(),
                                          detail::Encoded<T>(*handle_, desired).item(), &actual)) {
      case detail::Exchange::kDone:
        return true;
      case detail::Exchange::kDifferent:
        expected = detail::decode<T>(actual);
        return false;
      case detail::Exchange::kAbsent:
        break;
    }
    outside(index);
  }
}

template <typename T>
template <detail::Change change>
T List<T>::change_element(Index index, T operand) const {
  detail::Word before = 0;
  if (!detail::list_change_word(*handle_, position(index), &detail::changed_word<T, change>, detail::to_word(operand),
                                before)) {
    outside(index);
  }
  return detail::from_word<T>(before);
}

template <typename T>
template <typename Fn>
T List<T>::update_element(Index index, Fn&& fn) const {
  const std::uint64_t at = position(index);
  return detail::reading_links<T>([&]() -> T {
    for (detail::StoredItem seen;;) {
      if (!detail::list_get_item(*handle_, at, seen)) outside(index);
      T next = fn(detail::decode<T>(*handle_, seen));
      const detail::Encoded<T> desired(*handle_, next);
      if (detail::list_compare_exchange(*handle_, at, seen.item(), desired.item(), nullptr) ==
          detail::Exchange::kDone) {
        return next;
      }
    }
  });
}

// Decodes an element, then removes it if it is still that (kDecodedFirst). -1 is the last one, whichever that is when it
// goes.
template <typename T>
std::optional<T> List<T>::taken(Index index) const {
  detail::Taking<T> taking;
  return detail::reading_links<T>([&]() -> std::optional<T> {
    for (detail::StoredItem seen;;) {
      const std::uint64_t at = position(index);
      if (!detail::list_get_item(*handle_, at, seen)) return std::nullopt;
      auto value = taking.decoded([&] { return detail::decode<T>(*handle_, seen); });
      const auto done = index == -1 ? detail::list_pop_back_if_equal(*handle_, seen.item())
                                    : detail::list_erase_if_equal(*handle_, at, seen.item());
      if (done == detail::Exchange::kDone) return taking.taken(std::move(value));
    }
  });
}

template <typename T>
std::optional<T> List<T>::popped(bool (*take)(detail::Object&, std::string&)) const {
  std::string bytes;
  if (!take(*handle_, bytes)) return std::nullopt;
  return detail::taken_value<T>(std::move(bytes));
}

template <typename T>
T List<T>::pop_back() const {
  if (auto value = try_pop_back()) return *std::move(value);
  detail::throw_empty(*handle_, "pop_back");
}

template <typename T>
T List<T>::pop_front() const {
  if (auto value = try_pop_front()) return *std::move(value);
  detail::throw_empty(*handle_, "pop_front");
}

template <typename T>
T List<T>::pop(Index index) const {
  if (index == -1) {
    if (auto value = try_pop_back()) return *std::move(value);
    detail::throw_empty(*handle_, "pop");
  }
  if constexpr (detail::kDecodedFirst<T>) {
    if (auto value = taken(index)) return *std::move(value);
    outside(index);
  } else {
    std::string bytes;
    if (!detail::list_erase(*handle_, position(index), &bytes)) outside(index);
    return detail::taken_value<T>(std::move(bytes));
  }
}

template <typename T>
std::pair<std::uint64_t, std::uint64_t> List<T>::clipped(Index first, Index last, std::uint64_t size) {
  const auto length = static_cast<Index>(size);
  if (first < 0) first = std::max<Index>(first + length, 0);
  if (last < 0) last = std::max<Index>(last + length, 0);
  first = std::min(first, length);
  last = std::clamp(last, first, length);
  return {static_cast<std::uint64_t>(first), static_cast<std::uint64_t>(last - first)};
}

template <typename T>
std::vector<T> List<T>::slice(Index first, Index last) const {
  return detail::reading_links<T>([&] {
    std::vector<detail::StoredItem> stored;
    if (first >= 0 && last >= 0) {
      const auto count = static_cast<std::uint64_t>(std::max<Index>(last - first, 0));
      stored = detail::list_snapshot(*handle_, static_cast<std::uint64_t>(first), count);
    } else {
      // Counted from the end: the end and the elements must be of one moment.
      stored = detail::list_snapshot(*handle_, 0, UINT64_MAX);
      const auto [from, count] = clipped(first, last, stored.size());
      const auto begin = stored.begin() + static_cast<std::ptrdiff_t>(from);
      stored = {std::make_move_iterator(begin), std::make_move_iterator(begin + static_cast<std::ptrdiff_t>(count))};
    }
    std::vector<T> values;
    values.reserve(stored.size());
    for (const auto& element : stored) values.push_back(detail::decode<T>(*handle_, element));
    return values;
  });
}

template <typename T>
void List<T>::replace(Index first, Index last, std::span<const detail::Item> values) const {
  // The list may become shorter between the look at its size and the change: look again.
  for (;;) {
    const auto [from, count] = clipped(first, last, size());
    if (detail::list_replace(*handle_, from, count, values)) return;
  }
}

template <typename T>
auto List<T>::find(const T& value, Index first, Index last) const -> std::optional<size_type> {
  const std::vector<T> all = items();
  const auto [from, count] = clipped(first, last, all.size());
  const auto end = all.begin() + from + count;
  const auto found = std::find(all.begin() + from, end, value);
  if (found == end) return std::nullopt;
  return static_cast<size_type>(found - all.begin());
}

template <typename T>
auto List<T>::count(const T& value) const -> size_type {
  const std::vector<T> all = items();
  return static_cast<size_type>(std::count(all.begin(), all.end(), value));
}

template <typename T>
auto List<T>::index(const T& value, Index first, Index last) const -> size_type {
  if (auto found = find(value, first, last)) return *found;
  detail::throw_no_such_value(*handle_, detail::printed(value));
}

template <typename T>
void List<T>::remove(const T& value) const {
  detail::reading_links<T>([&] {
    for (;;) {
      const auto stored = detail::list_snapshot(*handle_, 0, UINT64_MAX);
      const auto found = std::find_if(stored.begin(), stored.end(), [&](const detail::StoredItem& element) {
        return detail::decode<T>(*handle_, element) == value;
      });
      if (found == stored.end()) detail::throw_no_such_value(*handle_, detail::printed(value));
      const auto at = static_cast<std::uint64_t>(found - stored.begin());
      if (detail::list_erase_if_equal(*handle_, at, found->item()) == detail::Exchange::kDone) return;
    }
  });
}

template <typename T>
template <typename Less>
void List<T>::sort(Less less) const {
  detail::reading_links<T>([&] {
    for (;;) {
      std::uint64_t changes = 0;
      std::vector<T> values;
      for (const auto& element : detail::list_snapshot(*handle_, 0, UINT64_MAX, &changes)) {
        values.push_back(detail::decode<T>(*handle_, element));
      }
      std::stable_sort(values.begin(), values.end(), std::ref(less));
      if (detail::list_assign_if_unchanged(*handle_, changes, detail::Batch<T>(values, *handle_).items())) return;
    }
  });
}

}  // namespace commonhold
