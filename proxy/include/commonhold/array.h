// Array<T>: a fixed number of trivially copyable elements that all processes of a manager share, contiguous in
// memory.
//
//   auto grid = manager.array<double>(1000);       // zeros
//   grid[3] = 1.5;
//   grid[3] += 2;                                  // atomically
//   for (double& x : grid.span()) x *= 2;          // in place, at memory's speed: keep others out yourself
//
// An Array is a reference: copies mean the same shared array, and const ones change it as well.
//
// Elements of 1, 2, 4 or 8 bytes without padding and aligned to their size are loaded, stored and changed atomically,
// each by one access; others are copied whole. Fills and slices are atomic too: everybody sees all of one or nothing,
// also when a process dies in the middle, and what others store to an element while one is under way comes before it or
// after it and is not lost. Only a slice that is read while others store single elements may have one store and not an
// earlier one.
//
// Reading waits for nobody, not for a process that is stopped either. Changing waits while another process applies a fill or
// slice to the same elements, also while that process is stopped (SIGSTOP, a debugger); fills and slices wait for each
// other. A fill or slice that finds a process stopped in the middle of a += on one of its elements waits 10 seconds, then
// throws TimeoutError, which names the process, and changes nothing.
//
// What a program does through span() is between it and the memory; it tells nobody who watches the array (watch.h)
// until it calls notify().
//
// Indexes: a[i] counts from the front; at(), set() and slices take negative ones too. An index outside is an
// IndexError.
//
// Thread safety: any thread of any process for all but span(). Every Array carries a lock: std::scoped_lock
// guard(a.lock()).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <ostream>
#include <ranges>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <commonhold/detail/array_calls.h>
#include <commonhold/detail/element_reference.h>
#include <commonhold/detail/plain.h>
#include <commonhold/detail/print.h>
#include <commonhold/detail/signature.h>
#include <commonhold/errors.h>
#include <commonhold/lock.h>
#include <commonhold/watch.h>

namespace commonhold {

template <typename T>
class Array;

template <typename T>
class Array {
  static_assert(sizeof(detail::RequirePlain<T>) != 0);

 public:
  using value_type = T;
  using size_type = std::size_t;
  using Index = std::ptrdiff_t;
  using reference = detail::ElementReference<Array, Index, T, const Array&>;
  using element_of_temporary = detail::ElementReference<Array, Index, T>;
  static constexpr Index kEnd = PTRDIFF_MAX;
  class const_iterator;

  size_type size() const { return count_; }
  bool empty() const { return count_ == 0; }

  // ---- one element

  T at(Index index) const { return load(inside(index)); }
  void set(Index index, const T& value) const;
  // A place to read, assign and count on: a[i], a[i] = v, a[i] += n, ++a[i]. The arithmetic is atomic.
  reference operator[](size_type index) const& { return {*this, static_cast<Index>(index)}; }
  element_of_temporary operator[](size_type index) const&& { return {*this, static_cast<Index>(index)}; }
  T fetch_add(Index index, T operand) const requires detail::kIsNumber<T> {
    return change_element<detail::Change::kAdd>(index, operand);
  }
  bool compare_exchange(Index index, T& expected, T desired) const {
    static_assert(detail::kIsAtomic<T>,
                  "compare_exchange() of an Array is for elements of 1, 2, 4 or 8 bytes without padding and aligned to "
                  "their size; compare and set others while you hold the array's lock()");
    if constexpr (detail::kIsAtomic<T>) {
      return change(index, [&](std::atomic_ref<T> at) { return at.compare_exchange_strong(expected, desired); });
    }
  }

  // ---- many: as a whole or not at all

  // [first, last), clipped.
  std::vector<T> slice(Index first, Index last = kEnd) const;
  // `values` from `first` on; IndexError when they reach beyond the end.
  void write(Index first, std::span<const T> values) const {
    if (!detail::array_write(*handle_, position(first), values.size(), values.data())) {
      outside(first + static_cast<Index>(values.size()) - 1);
    }
  }
  void write(Index first, std::initializer_list<T> values) const {
    write(first, std::span<const T>(values.begin(), values.size()));
  }
  void fill(const T& value) const { fill(0, kEnd, value); }
  // [first, last), clipped.
  void fill(Index first, Index last, const T& value) const {
    const auto [from, count] = clipped(first, last);
    detail::array_fill(*handle_, from, count, detail::PlainBytes<T>(value).data());
  }

  // ---- waiting for changes (watch.h)

  // Of any element, by all of the above.
  Watch watch() const { return detail::watch(handle_); }
  // Tells those who watch: for what was stored through span(), which tells nobody by itself.
  void notify() const { detail::array_changed(*handle_); }

  // ---- in place

  // The elements themselves. They stay where they are as long as any copy of this Array lives.
  std::span<T> span() const { return {reinterpret_cast<T*>(memory_.data), count_}; }

  // Loads one element after the other, each as it is then.
  const_iterator begin() const { return const_iterator(*this, 0); }
  const_iterator end() const { return const_iterator(*this, static_cast<Index>(count_)); }

  const InnerLock& lock() const { return lock_; }

  friend bool operator==(const Array& a, const Array& b) { return a.slice(0) == b.slice(0); }
  template <std::ranges::forward_range Values>
  requires(!std::same_as<Values, Array>) friend bool operator==(const Array& array, const Values& values) {
    return std::ranges::equal(array.slice(0), values);
  }
  // [1, 2, 3]
  friend std::ostream& operator<<(std::ostream& out, const Array& array) { return detail::print(out, array.slice(0)); }

  // ---- the object

  std::string name() const { return detail::name_of(*handle_); }
  std::string token() const { return detail::token_of(*handle_); }
  bool same_as(const Array& other) const { return handle_ == other.handle_; }
  static detail::ObjectRequest request() {
    return {detail::ObjectKind::kArray,
            detail::fitted_signature(detail::joined({"array<", detail::type_name<T>(), ">"})),
            {0, sizeof(T)}};
  }
  // Throws ValueError for a negative count, and for one that no memory holds.
  static detail::ObjectRequest request(std::uint64_t count) {
    detail::check_array_count(count, sizeof(T));
    detail::ObjectRequest sized = request();
    sized.arguments[0] = count;
    sized.compared = 1;
    return sized;
  }

 private:
  friend struct detail::Access;
  template <typename, typename, typename, typename>
  friend class detail::ElementReference;
  explicit Array(detail::ObjectHandle handle) : handle_(std::move(handle)), lock_(&*handle_) {
    memory_ = detail::array_memory(*handle_, sizeof(T));
    count_ = memory_.count;
  }

  [[noreturn]] void outside(Index index) const { detail::throw_index_error(*handle_, index, count_); }
  std::uint64_t position(Index index) const {
    const Index from_front = index < 0 ? index + static_cast<Index>(count_) : index;
    if (from_front < 0 || from_front > static_cast<Index>(count_)) outside(index);
    return static_cast<std::uint64_t>(from_front);
  }
  std::pair<std::uint64_t, std::uint64_t> clipped(Index first, Index last) const;
  std::uint64_t inside(Index index) const {
    // One that is before the front becomes larger than any count.
    const auto at = static_cast<std::uint64_t>(index < 0 ? index + static_cast<Index>(count_) : index);
    if (at >= count_) outside(index);
    detail::check(*handle_);
    return at;
  }
  std::atomic_ref<T> element(std::uint64_t at) const { return detail::atomic_at<T>(memory_.data + at * sizeof(T)); }
  T load(std::uint64_t at) const;
  // By value, and not into the caller: what is done fast stays out of memory.
  [[gnu::noinline, gnu::cold]] T load_slow(std::uint64_t at) const {
    detail::PlainBuffer<T> buffer;
    if (!detail::array_load(*handle_, at, buffer.data())) outside(static_cast<Index>(at));
    return buffer.value();
  }
  [[gnu::noinline, gnu::cold]] void store_slow(std::uint64_t at, T value) const {
    if (!detail::array_store(*handle_, at, detail::PlainBytes<T>(value).data())) outside(static_cast<Index>(at));
  }
  // After a store: the compiler must not move it behind the look; for the processor a watcher makes the barrier.
  void look_after_store(std::uint64_t at) const {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    const detail::ArrayMarks& marks = *memory_.marks;
    if ((marks.redo.load(std::memory_order_relaxed) | marks.watched.load(std::memory_order_relaxed)) != 0) [[unlikely]]
      detail::array_stored(*handle_, at);
  }
  // Calls fn(element), which changes the element atomically and says whether it did.
  template <typename Fn>
  bool change(Index index, Fn&& fn) const {
    const std::uint64_t at = inside(index);
    {
      const detail::ElementChange change(*handle_, memory_, at, at * sizeof(T));
      if (!fn(element(at))) return false;
    }
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (memory_.marks->watched.load(std::memory_order_relaxed) != 0) [[unlikely]]
      detail::array_changed(*handle_);
    return true;
  }
  void put_element(Index index, const T& value) const { set(index, value); }
  template <detail::Change kChange>
  T change_element(Index index, T operand) const;

  detail::ObjectHandle handle_;
  detail::ArrayMemory memory_;
  size_type count_ = 0;
  InnerLock lock_;
};

template <typename T>
class Array<T>::const_iterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using iterator_concept = std::forward_iterator_tag;
  using value_type = T;
  using difference_type = std::ptrdiff_t;
  using pointer = void;
  using reference = T;

  const_iterator() = default;
  const_iterator(const Array& array, Index at) : array_(&array), at_(at) {}
  T operator*() const {
    const auto at = static_cast<std::uint64_t>(at_);
    if (at >= array_->count_) array_->outside(at_);
    detail::check(*array_->handle_);
    return array_->load(at);
  }
  const_iterator& operator++() {
    ++at_;
    return *this;
  }
  const_iterator operator++(int) {
    const_iterator before = *this;
    ++at_;
    return before;
  }
  bool operator==(const const_iterator&) const = default;

 private:
  const Array* array_ = nullptr;
  Index at_ = 0;
};

template <typename T>
[[gnu::always_inline]] inline T Array<T>::load(std::uint64_t at) const {
  if constexpr (detail::kIsAtomic<T>) {
    // SYNC POINT: array redo. Set before or after: the element may not be what it is by then.
    if (memory_.marks->redo.load(std::memory_order_acquire) == 0) [[likely]] {
      const T value = element(at).load();
      if (memory_.marks->redo.load(std::memory_order_acquire) == 0) [[likely]]
        return value;
    }
  }
  return load_slow(at);
}

template <typename T>
[[gnu::always_inline]] inline void Array<T>::set(Index index, const T& value) const {
  if constexpr (detail::kIsAtomic<T>) {
    const std::uint64_t at = inside(index);
    if (memory_.marks->redo.load(std::memory_order_acquire) == 0) [[likely]] {  // SYNC POINT: element stores
      element(at).store(value, std::memory_order_release);
      look_after_store(at);
    } else {
      store_slow(at, value);
    }
  } else {
    store_slow(position(index), value);
  }
}

template <typename T>
template <detail::Change kChange>
T Array<T>::change_element(Index index, T operand) const {
  T before;
  (void)change(index, [&](std::atomic_ref<T> number) {
    if constexpr (std::is_integral_v<T> && kChange == detail::Change::kAdd) {
      before = number.fetch_add(operand);
    } else {
      before = number.load(std::memory_order_relaxed);
      while (!number.compare_exchange_weak(before, detail::changed_number<T, kChange>(before, operand))) {
      }
    }
    return true;
  });
  return before;
}

template <typename T>
std::pair<std::uint64_t, std::uint64_t> Array<T>::clipped(Index first, Index last) const {
  const auto length = static_cast<Index>(count_);
  if (first < 0) first = std::max<Index>(first + length, 0);
  if (last < 0) last = std::max<Index>(last + length, 0);
  first = std::min(first, length);
  last = std::clamp(last, first, length);
  return {static_cast<std::uint64_t>(first), static_cast<std::uint64_t>(last - first)};
}

template <typename T>
std::vector<T> Array<T>::slice(Index first, Index last) const {
  const auto [from, count] = clipped(first, last);
  if constexpr (std::is_default_constructible_v<T> && !std::is_same_v<T, bool>) {
    std::vector<T> values(count);
    detail::array_read(*handle_, from, count, values.data());
    return values;
  } else {
    std::vector<std::byte> bytes(count * sizeof(T));
    detail::array_read(*handle_, from, count, bytes.data());
    std::vector<T> values;
    values.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
      detail::PlainBuffer<T> buffer;
      std::memcpy(buffer.data(), bytes.data() + i * sizeof(T), sizeof(T));
      values.push_back(buffer.value());
    }
    return values;
  }
}

}  // namespace commonhold
