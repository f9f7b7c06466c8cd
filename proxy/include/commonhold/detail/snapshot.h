// Iteration over a copy that was taken at one moment: what others change meanwhile does not show.
#pragma once

#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace commonhold::detail {

template <typename T>
class SnapshotIterator {
 public:
  using iterator_category = std::forward_iterator_tag;
  using value_type = T;
  using difference_type = std::ptrdiff_t;
  using pointer = const T*;
  // std::vector<bool> has no bools to refer to.
  using reference = std::conditional_t<std::is_same_v<T, bool>, bool, const T&>;

  SnapshotIterator() = default;
  explicit SnapshotIterator(std::vector<T> values)
      : values_(std::make_shared<const std::vector<T>>(std::move(values))) {}

  reference operator*() const { return (*values_)[at_]; }
  pointer operator->() const requires(!std::is_same_v<T, bool>) { return &(*values_)[at_]; }
  SnapshotIterator& operator++() {
    ++at_;
    return *this;
  }
  SnapshotIterator operator++(int) {
    SnapshotIterator before = *this;
    ++at_;
    return before;
  }
  // A default-made iterator is the end of every snapshot.
  bool operator==(const SnapshotIterator& other) const {
    if (at_end() || other.at_end()) return at_end() == other.at_end();
    return values_ == other.values_ && at_ == other.at_;
  }
  template <typename V>
  friend bool operator==(const std::optional<V>&, const SnapshotIterator&) {
    static_assert(sizeof(V) == 0,
                  "find() gives an optional, no iterator: `if (auto value = dict.find(key)) use(*value);`");
    return false;
  }

 private:
  bool at_end() const { return values_ == nullptr || at_ == values_->size(); }
  std::shared_ptr<const std::vector<T>> values_;
  std::size_t at_ = 0;
};

}  // namespace commonhold::detail
