// Set<T>: a set that all processes of a manager share, in insertion order.
//
//   auto seen = manager.set<std::string>({"a"});
//   if (seen.add("b")) ...                         // atomically: of several that add it exactly one gets true
//   seen.update(others);                           // all of them atomically
//   for (const auto& name : seen - others) ...     // what is in seen alone, as a std::vector
//
// A Set is a reference: copies mean the same shared set, and const ones change it as well. Elements are equal when
// their stored forms are (codec.h), as a dict's keys.
//
// `other` is a Set or any range of T. What combines two sets (union_with, -, and so on) gives a std::vector in
// insertion order and leaves both as they are; each is read at one moment, not both at the same. The _update forms but
// update() go element by element.
//
// Thread safety: any thread of any process, without a lock of yours. Reading takes no lock, unless writers change the
// same shards all the time; a writer that is stopped never holds up a reader. When a process dies: each atomic
// call has happened as a whole or not at all, and nobody is held up.
//
// Every call may throw OutOfMemory where it stores, LimitReached, ObjectGone and CorruptSegment (errors.h).
#pragma once

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <ostream>
#include <ranges>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <commonhold/detail/dict_calls.h>
#include <commonhold/detail/encoded.h>
#include <commonhold/detail/encoded_batch.h>
#include <commonhold/detail/object_handle.h>
#include <commonhold/detail/print.h>
#include <commonhold/detail/signature.h>
#include <commonhold/detail/snapshot.h>
#include <commonhold/errors.h>
#include <commonhold/watch.h>

namespace commonhold {

template <typename T>
class Set {
  static_assert(sizeof(detail::RequireKey<T>) != 0);

 public:
  using key_type = T;
  using value_type = T;
  using size_type = std::size_t;
  using const_iterator = detail::SnapshotIterator<T>;
  using Argument = detail::Argument<T>;

  // ---- one element, atomically

  bool contains(Argument element) const {
    return detail::dict_contains(*handle_, detail::EncodedKey<T>(element).item());
  }
  size_type count(Argument element) const { return contains(element) ? 1 : 0; }
  // True when it was not there.
  bool add(Argument element) const {
    return detail::dict_put_if(*handle_, detail::EncodedKey<T>(element).item(), {}, detail::PutMode::kInsertOnly,
                               nullptr, nullptr);
  }
  bool insert(Argument element) const { return add(element); }
  // True when it was there.
  bool discard(Argument element) const {
    return detail::dict_erase(*handle_, detail::EncodedKey<T>(element).item(), nullptr);
  }
  size_type erase(Argument element) const { return discard(element) ? 1 : 0; }
  // KeyError when it is not there.
  void remove(Argument element) const {
    if (!discard(element)) detail::throw_key_error(*handle_, detail::printed(element));
  }
  // Removes an element and gives it: the one that was added last. KeyError when there is none. An element that cannot
  // be decoded (a Codec throws, or memory is short) stays where it is.
  T pop() const {
    if (auto element = try_pop()) return *std::move(element);
    detail::throw_empty(*handle_, "pop");
  }
  std::optional<T> try_pop() const {
    detail::EntryBytes entry;
    if constexpr (detail::kDecodedFirst<T>) {
      std::optional<T> element;
      entry.sequence = UINT64_MAX;  // no entry's: the first try only looks
      for (detail::Exchange done;
           (done = detail::dict_pop_last_if_equal(*handle_, entry)) != detail::Exchange::kDone;) {
        if (done == detail::Exchange::kAbsent) return std::nullopt;
        element.emplace(detail::decode<T>(*handle_, entry.key_kind, entry.key()));
      }
      return element;
    } else {
      if (!detail::dict_pop_last(*handle_, entry)) return std::nullopt;
      entry.bytes.resize(entry.key_size);
      return detail::taken_value<T>(std::move(entry.bytes));
    }
  }

  // ---- several elements, atomically

  template <std::ranges::input_range Other = std::initializer_list<T>>
  void update(Other&& other) const {
    const Keys keys(std::forward<Other>(other));
    detail::dict_put_many(*handle_, keys.pairs);
  }
  template <std::ranges::input_range Other>
  const Set& operator|=(Other&& other) const {
    update(other);
    return *this;
  }
  // These in the place of all that are there.
  template <std::ranges::input_range Other = std::initializer_list<T>>
  void assign(Other&& other) const {
    const Keys keys(std::forward<Other>(other));
    detail::dict_assign(*handle_, keys.pairs);
  }
  void clear() const { detail::dict_clear(*handle_); }

  // ---- several elements, one after the other

  template <std::ranges::input_range Other = std::initializer_list<T>>
  void difference_update(Other&& other) const {
    for (const T& element : listed(other)) discard(element);
  }
  template <std::ranges::input_range Other = std::initializer_list<T>>
  void intersection_update(Other&& other) const {
    for (const T& element : difference(other)) discard(element);
  }
  // Removes what is in both and adds what is in `other` alone.
  template <std::ranges::input_range Other = std::initializer_list<T>>
  void symmetric_difference_update(Other&& other) const {
    for (const T& element : Elements(listed(other)).all) {
      if (!discard(element)) add(element);
    }
  }

  // ---- combined

  template <std::ranges::input_range Other = std::initializer_list<T>>
  std::vector<T> union_with(Other&& other) const {
    std::vector<T> all = items();
    for (const T& element : listed(other)) all.push_back(element);
    return Elements(std::move(all)).all;
  }
  template <std::ranges::input_range Other = std::initializer_list<T>>
  std::vector<T> intersection(Other&& other) const {
    return chosen(Elements(listed(other)), true);
  }
  template <std::ranges::input_range Other = std::initializer_list<T>>
  std::vector<T> difference(Other&& other) const {
    return chosen(Elements(listed(other)), false);
  }
  template <std::ranges::input_range Other = std::initializer_list<T>>
  std::vector<T> symmetric_difference(Other&& other) const {
    const Elements mine(items()), others(listed(other));
    std::vector<T> found = mine.chosen(others, false);
    for (T& element : others.chosen(mine, false)) found.push_back(std::move(element));
    return found;
  }
  friend std::vector<T> operator|(const Set& a, const Set& b) { return a.union_with(b); }
  friend std::vector<T> operator&(const Set& a, const Set& b) { return a.intersection(b); }
  friend std::vector<T> operator-(const Set& a, const Set& b) { return a.difference(b); }
  friend std::vector<T> operator^(const Set& a, const Set& b) { return a.symmetric_difference(b); }

  template <std::ranges::input_range Other = std::initializer_list<T>>
  bool is_subset(Other&& other) const {
    return difference(other).empty();
  }
  template <std::ranges::input_range Other = std::initializer_list<T>>
  bool is_superset(Other&& other) const {
    const Elements mine(items());
    return Elements(listed(other)).chosen(mine, false).empty();
  }
  template <std::ranges::input_range Other = std::initializer_list<T>>
  bool is_disjoint(Other&& other) const {
    return intersection(other).empty();
  }

  // The same elements, in whatever order; subset and superset.
  friend bool operator==(const Set& a, const Set& b) { return a.handle_ == b.handle_ || a.equals(b.items()); }
  template <std::ranges::input_range Other>
  requires(!std::same_as<Other, Set>) friend bool operator==(const Set& set, const Other& other) {
    return set.equals(listed(other));
  }
  friend bool operator<=(const Set& a, const Set& b) { return a.is_subset(b); }
  friend bool operator>=(const Set& a, const Set& b) { return b <= a; }
  friend bool operator<(const Set& a, const Set& b) {
    const Elements mine(a.items()), others(b.items());
    return mine.all.size() < others.all.size() && mine.chosen(others, false).empty();
  }
  friend bool operator>(const Set& a, const Set& b) { return b < a; }

  // ---- all of it, at one moment, in insertion order

  size_type size() const { return detail::dict_size(*handle_); }
  bool empty() const { return size() == 0; }
  std::vector<T> items() const {
    std::vector<T> all;
    for (const auto& entry : detail::dict_snapshot(*handle_)) {
      all.push_back(detail::decode<T>(*handle_, entry.key_kind, entry.key()));
    }
    return all;
  }
  const_iterator begin() const { return const_iterator(items()); }
  const_iterator end() const { return {}; }

  // {1, 2, 3}
  friend std::ostream& operator<<(std::ostream& out, const Set& set) {
    const char* between = "{";
    for (const auto& element : set) {
      detail::print(out << between, element);
      between = ", ";
    }
    return out << (*between == '{' ? "{}" : "}");
  }

  // ---- waiting for changes (watch.h)

  // Of one element, there or not: added or removed. update() tells of those that were there, too.
  Watch watch(Argument element) const {
    const detail::EncodedKey<T> encoded(element);
    const detail::Item item = encoded.item();
    return detail::watch(handle_, &item);
  }
  // Of any element.
  Watch watch() const { return detail::watch(handle_); }

  // ---- the object

  std::string name() const { return detail::name_of(*handle_); }
  std::string token() const { return detail::token_of(*handle_); }
  bool same_as(const Set& other) const { return handle_ == other.handle_; }
  static detail::ObjectRequest request(std::uint64_t shards = 0) {
    return {detail::ObjectKind::kSet,
            detail::fitted_signature(detail::joined({"set<", detail::type_name<T>(), ">"})),
            {shards}};
  }

 private:
  friend struct detail::Access;
  explicit Set(detail::ObjectHandle handle) : handle_(std::move(handle)) {}

  // Elements as a dict's keys, with nothing behind them.
  struct Keys {
    template <typename Other>
    requires(!std::same_as<std::remove_cvref_t<Other>, Keys>)
        // NOLINTNEXTLINE(bugprone-forwarding-reference-overload): the constraint sees to it
        explicit Keys(Other&& other)
        : encoded(std::forward<Other>(other)) {
      for (const detail::Item& key : encoded.items()) pairs.push_back({key, {}});
    }
    detail::Batch<T, detail::EncodedKey<T>> encoded;
    std::vector<detail::ItemPair> pairs;
  };

  // Private elements, each once, and a look-up by their stored form.
  struct Elements {
    explicit Elements(std::vector<T> elements) {
      for (T& element : elements) {
        if (forms.insert(form(element)).second) all.push_back(std::move(element));
      }
    }
    static std::string form(const T& element) {
      const detail::EncodedKey<T> encoded(element);
      const detail::Item item = encoded.item();
      return static_cast<char>(item.kind) + std::string(static_cast<const char*>(item.data), item.size);
    }
    std::vector<T> chosen(const Elements& other, bool inside) const {
      std::vector<T> found;
      for (const T& element : all) {
        if (other.forms.contains(form(element)) == inside) found.push_back(element);
      }
      return found;
    }
    std::vector<T> all;
    std::unordered_set<std::string> forms;
  };

  template <typename Other>
  static std::vector<T> listed(Other&& other) {
    if constexpr (std::same_as<std::remove_cvref_t<Other>, Set>) {
      return other.items();
    } else {
      return std::vector<T>(std::ranges::begin(other), std::ranges::end(other));
    }
  }
  std::vector<T> chosen(const Elements& other, bool inside) const { return Elements(items()).chosen(other, inside); }
  bool equals(std::vector<T> other) const {
    const Elements mine(items()), others(std::move(other));
    return mine.all.size() == others.all.size() && mine.chosen(others, false).empty();
  }

  detail::ObjectHandle handle_;
};

}  // namespace commonhold
