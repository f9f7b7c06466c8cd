// List<T>: a sequence that all processes of a manager share.
//
//   auto log = manager.list<std::string>({"start"});
//   log.push_back("hello");
//   auto last = log.at(-1);
//   for (const auto& line : log) ...               // a copy of one moment
//
// A List is a reference: copies mean the same shared list, and const ones change it as well. codec.h says
// what T can be.
//
// Indexes: l[i] and l[i] = x count from the front. at(), set(), insert(), erase(), pop() and slices take
// negative ones too, counted from the end as it is at the moment of the call. An index outside is an
// IndexError; slices are clipped, as in Python.
//
// Thread safety: any thread of any process, without a lock of yours. Each call is atomic for everybody
// else, slices and extend() too; only `l[i] = l[i] + 1` is two. Push, pop, reading and storing at the back
// are the fast ones: anything else at the front or in the middle copies a leaf of about a hundred elements.
//
// When a process dies: each call it made has happened as a whole or not at all, and nobody is held up.
//
// Every call may throw OutOfMemory where it stores, LimitReached, ObjectGone and CorruptSegment (errors.h).
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <ostream>
#include <ranges>
#include <string>
#include <utility>
#include <vector>

#include <commonhold/detail/element_reference.h>
#include <commonhold/detail/encoded.h>
#include <commonhold/detail/encoded_batch.h>
#include <commonhold/detail/list_calls.h>
#include <commonhold/detail/object_handle.h>
#include <commonhold/detail/signature.h>
#include <commonhold/detail/snapshot.h>
#include <commonhold/detail/tickets.h>
#include <commonhold/errors.h>
#include <commonhold/watch.h>

namespace commonhold {

template <typename T>
class List {
  static_assert(sizeof(detail::RequireStorable<T>) != 0);

 public:
  using value_type = T;
  using size_type = std::size_t;
  using Index = std::ptrdiff_t;
  using ValueArg = detail::Argument<T>;
  using const_iterator = detail::SnapshotIterator<T>;
  using reference = detail::ElementReference<List, Index, T>;
  static constexpr Index kEnd = PTRDIFF_MAX;

  // ---- one element

  T at(Index index) const;
  void set(Index index, ValueArg value) const {
    const auto store = [&](const detail::Item& item) {
      return detail::list_set(*handle_, position(index), item, nullptr);
    };
    if (!detail::stored_in<T>(*handle_, value, store)) outside(index);
  }
  // A place to read, assign and count on: l[i], l[i] = v, l[i] += n, ++l[i]. The arithmetic is atomic.
  reference operator[](size_type index) const { return {*this, static_cast<Index>(index)}; }
  T front() const { return at(0); }
  T back() const { return at(-1); }
  T fetch_add(Index index, T operand) const requires detail::kIsNumber<T> {
    return change_element<detail::Change::kAdd>(index, operand);
  }
  T fetch_sub(Index index, T operand) const requires detail::kIsNumber<T> {
    return change_element<detail::Change::kSubtract>(index, operand);
  }
  // As Dict::compare_exchange and Dict::update.
  bool compare_exchange(Index index, T& expected, ValueArg desired) const;
  template <std::invocable<T> Fn>
  T update(Index index, Fn&& fn) const {
    return update_element(index, fn);
  }

  // ---- growing and shrinking

  void push_back(ValueArg value) const { detail::list_push_back(*handle_, detail::Encoded<T>(*handle_, value).item()); }
  void push_front(ValueArg value) const {
    detail::list_push_front(*handle_, detail::Encoded<T>(*handle_, value).item());
  }
  void append(ValueArg value) const { push_back(value); }
  // Removes and gives an element; IndexError when there is none. An element that cannot be decoded (a Codec
  // throws, or memory is short) stays where it is.
  T pop_back() const;
  T pop_front() const;
  T pop(Index index = -1) const;
  std::optional<T> try_pop_back() const {
    if constexpr (detail::kDecodedFirst<T>) {
      return taken(-1);
    } else {
      return popped(&detail::list_pop_back);
    }
  }
  std::optional<T> try_pop_front() const {
    if constexpr (detail::kDecodedFirst<T>) {
      return taken(0);
    } else {
      return popped(&detail::list_pop_front);
    }
  }
  // Before the element at `index`; size() appends.
  void insert(Index index, ValueArg value) const {
    const auto store = [&](const detail::Item& item) { return detail::list_insert(*handle_, position(index), item); };
    if (!detail::stored_in<T>(*handle_, value, store)) outside(index);
  }
  void erase(Index index) const {
    if (!detail::list_erase(*handle_, position(index), nullptr)) outside(index);
  }
  template <std::ranges::input_range Values = std::initializer_list<T>>
  void extend(Values&& values) const {
    detail::list_extend(*handle_, detail::Batch<T>(values, *handle_).items());
  }
  template <std::ranges::input_range Values>
  const List& operator+=(Values&& values) const {
    extend(values);
    return *this;
  }
  template <std::ranges::input_range Values = std::initializer_list<T>>
  void assign(Values&& values) const {
    detail::list_assign(*handle_, detail::Batch<T>(values, *handle_).items());
  }
  void clear() const { detail::list_clear(*handle_); }

  // ---- slices: [first, last), clipped

  std::vector<T> slice(Index first, Index last = kEnd) const;
  // `values` in the place of the slice; there may be more or fewer of them.
  template <std::ranges::input_range Values = std::initializer_list<T>>
  void set_slice(Index first, Index last, Values&& values) const {
    replace(first, last, detail::Batch<T>(values, *handle_).items());
  }
  void erase_slice(Index first, Index last = kEnd) const { replace(first, last, {}); }

  // ---- searching, with T's ==

  // Where the first equal element is.
  std::optional<size_type> find(const T& value, Index first = 0, Index last = kEnd) const;
  bool contains(const T& value) const { return find(value).has_value(); }
  size_type count(const T& value) const;
  // As find and erase; ValueError when there is none.
  size_type index(const T& value, Index first = 0, Index last = kEnd) const;
  void remove(const T& value) const;

  // ---- order

  void reverse() const { detail::list_reverse(*handle_); }
  // Stable. `less` runs in this program on a copy; when somebody changes the list meanwhile, it is sorted again.
  template <typename Less = std::less<>>
  void sort(Less less = {}) const;

  // ---- all of it, at one moment

  size_type size() const { return detail::list_size(*handle_); }
  bool empty() const { return size() == 0; }
  std::vector<T> items() const { return slice(0); }
  const_iterator begin() const { return const_iterator(items()); }
  const_iterator end() const { return {}; }

  friend bool operator==(const List& a, const List& b) { return a.handle_ == b.handle_ || a.items() == b.items(); }
  template <std::ranges::forward_range Values>
  requires(!std::same_as<Values, List>) friend bool operator==(const List& list, const Values& values) {
    return std::ranges::equal(list.items(), values);
  }
  // [1, 2, 3]
  friend std::ostream& operator<<(std::ostream& out, const List& list) { return detail::print(out, list.items()); }

  // ---- waiting for changes (watch.h)

  Watch watch() const { return detail::watch(handle_); }

  // ---- the object

  std::string name() const { return detail::name_of(*handle_); }
  std::string token() const { return detail::token_of(*handle_); }
  bool same_as(const List& other) const { return handle_ == other.handle_; }
  static detail::ObjectRequest request() {
    constexpr bool kBoxed = detail::kShape<T> != detail::Shape::kWord;
    return {detail::ObjectKind::kList,
            detail::fitted_signature(detail::joined({"list<", detail::type_name<T>(), ">"})),
            {kBoxed}};
  }

 private:
  friend struct detail::Access;
  template <typename, typename, typename, typename>
  friend class detail::ElementReference;
  explicit List(detail::ObjectHandle handle) : handle_(std::move(handle)) {}

  [[noreturn]] void outside(Index index) const { detail::throw_index_error(*handle_, index, size()); }
  // Negative ones count from the end in the very step that uses them.
  static std::uint64_t position(Index index) { return static_cast<std::uint64_t>(index); }
  static std::pair<std::uint64_t, std::uint64_t> clipped(Index first, Index last, std::uint64_t size);
  void replace(Index first, Index last, std::span<const detail::Item> values) const;
  std::optional<T> popped(bool (*take)(detail::Object&, std::string&)) const;
  std::optional<T> taken(Index index) const;
  void put_element(Index index, ValueArg value) const { set(index, value); }
  template <detail::Change change>
  T change_element(Index index, T operand) const;
  template <typename Fn>
  T update_element(Index index, Fn&& fn) const;

  detail::ObjectHandle handle_;
};

}  // namespace commonhold

#include <commonhold/detail/list_inline.h>
