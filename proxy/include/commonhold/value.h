// Value<T>: one trivially copyable value that all processes of a manager share.
//
//   auto hits = manager.value<std::int64_t>(0);
//   ++hits;                                        // atomically, by one instruction
//   hits.wait(0);                                  // sleeps until it is another value
//
// A Value is a reference: copies mean the same shared value, and const ones change it as well. `v = 5`
// stores; `v = w` of two Values makes v refer to what w refers to.
//
// A T of 1, 2, 4 or 8 bytes without padding and aligned to its size is changed by the processor itself; others are
// swapped in whole, never torn. Integers wrap around. Orders are sequentially consistent.
//
// Thread safety: any thread of any process, without a lock of yours. When a process dies: each store has
// happened as a whole or not at all; nobody is held up.
//
// Every Value carries a lock for changes that are not atomic by themselves: with_lock(fn), or std::scoped_lock
// guard(v.lock()).
#pragma once

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstring>
#include <mutex>
#include <ostream>
#include <string>
#include <utility>

#include <commonhold/detail/plain.h>
#include <commonhold/detail/print.h>
#include <commonhold/detail/signature.h>
#include <commonhold/detail/value_calls.h>
#include <commonhold/detail/word_change.h>
#include <commonhold/errors.h>
#include <commonhold/lock.h>
#include <commonhold/watch.h>

namespace commonhold {

template <typename T>
class Value {
  static_assert(sizeof(detail::RequirePlain<T>) != 0);

 public:
  using value_type = T;

  T load() const;
  void store(T desired) const;
  T exchange(T desired) const;
  // Stores `desired` where the value is `expected`; otherwise false, and `expected` gets the value.
  bool compare_exchange(T& expected, T desired) const;
  // Stores fn(value) and gives it; fn is called again when somebody changed the value meanwhile.
  template <std::invocable<T> Fn>
  T update(Fn&& fn) const;

  operator T() const { return load(); }
  T operator=(T desired) const {
    store(desired);
    return desired;
  }

  // ---- numbers: atomic; fetch_ gives the value before, the operators the value after

  T fetch_add(T operand) const requires detail::kIsNumber<T> { return fetch<detail::Change::kAdd>(operand); }
  T fetch_sub(T operand) const requires detail::kIsNumber<T> { return fetch<detail::Change::kSubtract>(operand); }
  T fetch_or(T operand) const requires detail::Integer<T> { return fetch<detail::Change::kOr>(operand); }
  T fetch_and(T operand) const requires detail::Integer<T> { return fetch<detail::Change::kAnd>(operand); }
  T fetch_xor(T operand) const requires detail::Integer<T> { return fetch<detail::Change::kXor>(operand); }
  T operator+=(T n) const requires detail::kIsNumber<T> { return after<detail::Change::kAdd>(n); }
  T operator-=(T n) const requires detail::kIsNumber<T> { return after<detail::Change::kSubtract>(n); }
  T operator*=(T n) const requires detail::kIsNumber<T> { return after<detail::Change::kMultiply>(n); }
  // ValueError: an integer by zero.
  T operator/=(T n) const requires detail::kIsNumber<T> { return after<detail::Change::kDivide>(n); }
  T operator%=(T n) const requires detail::Integer<T> { return after<detail::Change::kModulo>(n); }
  // ValueError: by less than 0, or by all of its bits or more.
  T operator<<=(T n) const requires detail::Integer<T> { return after<detail::Change::kShiftLeft>(n); }
  T operator>>=(T n) const requires detail::Integer<T> { return after<detail::Change::kShiftRight>(n); }
  T operator|=(T n) const requires detail::Integer<T> { return after<detail::Change::kOr>(n); }
  T operator&=(T n) const requires detail::Integer<T> { return after<detail::Change::kAnd>(n); }
  T operator^=(T n) const requires detail::Integer<T> { return after<detail::Change::kXor>(n); }
  T operator++() const requires detail::kIsNumber<T> { return after<detail::Change::kAdd>(T(1)); }
  T operator--() const requires detail::kIsNumber<T> { return after<detail::Change::kSubtract>(T(1)); }
  T operator++(int) const requires detail::kIsNumber<T> { return fetch_add(T(1)); }
  T operator--(int) const requires detail::kIsNumber<T> { return fetch_sub(T(1)); }

  // ---- waiting

  // Sleeps until the value is another one than `old`, and gives it. A value that changes and changes back in
  // between may be missed. Values differ when their bytes do.
  T wait(T old) const {
    wait_until_changed(old, detail::kForever);
    return load();
  }
  // False: it was still `old` when the time had passed.
  template <typename Rep, typename Period>
  bool wait_for(T old, const std::chrono::duration<Rep, Period>& timeout) const {
    return wait_until_changed(old, detail::to_wait(timeout));
  }
  template <typename Clock, typename Duration>
  bool wait_until(T old, const std::chrono::time_point<Clock, Duration>& when) const {
    return wait_until_changed(old, detail::to_wait(when));
  }

  // ---- waiting for changes (watch.h)

  // Tells also a value that changed and changed back, which wait(old) may miss.
  Watch watch() const { return detail::watch(handle_); }

  // ---- the value's lock

  // Calls fn(T&) on a copy under the value's lock and stores the copy; what fn throws leaves the value as it
  // was. Keeps out those who use the lock too, not those who store without it.
  template <std::invocable<T&> Fn>
  decltype(auto) with_lock(Fn&& fn) const;
  const InnerLock& lock() const { return lock_; }

  friend std::ostream& operator<<(std::ostream& out, const Value& value) { return detail::print(out, value.load()); }

  // ---- the object

  std::string name() const { return detail::name_of(*handle_); }
  std::string token() const { return detail::token_of(*handle_); }
  bool same_as(const Value& other) const { return handle_ == other.handle_; }
  static detail::ObjectRequest request(const T& initial = T()) {
    detail::Word word = 0;
    if constexpr (sizeof(T) <= sizeof word) std::memcpy(&word, detail::PlainBytes<T>(initial).data(), sizeof(T));
    return {detail::ObjectKind::kValue,
            detail::fitted_signature(detail::joined({"value<", detail::type_name<T>(), ">"})),
            {sizeof(T), word}};
  }
  // Whether the request does not carry `initial`; then a new Value is filled before it gets its name.
  static bool needs_filling(const T& initial = T()) {
    if constexpr (sizeof(T) <= sizeof(detail::Word)) return false;
    return !detail::PlainBytes<T>(initial).all_zero();
  }
  static void fill(const Value& value, const T& initial = T()) { value.store(initial); }

 private:
  friend struct detail::Access;
  explicit Value(detail::ObjectHandle handle)
      : handle_(std::move(handle)), cell_(detail::value_cell(*handle_, sizeof(T))), lock_(&*handle_) {}

  std::atomic_ref<T> word() const {
    detail::check(*handle_);
    return detail::atomic_at<T>(&cell_->word);
  }
  void changed() const {
    // SYNC POINT: value watched. The waiter sets the flag, then looks at the value; we change the value, then
    // look here.
    if (cell_->watched.load(std::memory_order_seq_cst) != 0) [[unlikely]]
      detail::value_changed(*handle_);
  }
  template <detail::Change change>
  T fetch(T operand) const;
  template <detail::Change change>
  T after(T operand) const {
    return detail::changed_number<T, change>(fetch<change>(operand), operand);
  }
  bool wait_until_changed(const T& old, std::int64_t wait) const {
    return detail::value_wait(*handle_, detail::PlainBytes<T>(old).data(), wait);
  }

  detail::ObjectHandle handle_;
  detail::ValueCell* cell_;
  InnerLock lock_;
};

template <typename T>
T Value<T>::load() const {
  if constexpr (detail::kIsAtomic<T>) {
    return word().load();
  } else {
    detail::PlainBuffer<T> buffer;
    detail::value_load(*handle_, buffer.data());
    return buffer.value();
  }
}

template <typename T>
void Value<T>::store(T desired) const {
  if constexpr (detail::kIsAtomic<T>) {
    word().exchange(desired);
    changed();
  } else {
    detail::value_store(*handle_, detail::PlainBytes<T>(desired).data());
  }
}

template <typename T>
T Value<T>::exchange(T desired) const {
  if constexpr (detail::kIsAtomic<T>) {
    const T before = word().exchange(desired);
    changed();
    return before;
  } else {
    detail::PlainBuffer<T> before;
    detail::value_exchange(*handle_, detail::PlainBytes<T>(desired).data(), before.data());
    return before.value();
  }
}

template <typename T>
bool Value<T>::compare_exchange(T& expected, T desired) const {
  if constexpr (detail::kIsAtomic<T>) {
    if (!word().compare_exchange_strong(expected, desired)) return false;
    changed();
    return true;
  } else {
    detail::PlainBuffer<T> actual{detail::PlainBytes<T>(expected)};
    if (detail::value_compare_exchange(*handle_, actual.data(), detail::PlainBytes<T>(desired).data())) return true;
    expected = actual.value();
    return false;
  }
}

template <typename T>
template <std::invocable<T> Fn>
T Value<T>::update(Fn&& fn) const {
  T seen = load();
  for (;;) {
    T next = fn(seen);
    if (compare_exchange(seen, next)) return next;
  }
}

template <typename T>
template <detail::Change change>
T Value<T>::fetch(T operand) const {
  detail::check_operand<change>(operand);
  const std::atomic_ref<T> number = word();
  T before;
  if constexpr (std::is_integral_v<T> && change == detail::Change::kAdd) {
    before = number.fetch_add(operand);
  } else if constexpr (std::is_integral_v<T> && change == detail::Change::kSubtract) {
    before = number.fetch_sub(operand);
  } else if constexpr (change == detail::Change::kOr) {
    before = number.fetch_or(operand);
  } else if constexpr (change == detail::Change::kAnd) {
    before = number.fetch_and(operand);
  } else if constexpr (change == detail::Change::kXor) {
    before = number.fetch_xor(operand);
  } else {
    before = number.load(std::memory_order_relaxed);
    while (!number.compare_exchange_weak(before, detail::changed_number<T, change>(before, operand))) {
    }
  }
  changed();
  return before;
}

template <typename T>
template <std::invocable<T&> Fn>
decltype(auto) Value<T>::with_lock(Fn&& fn) const {
  std::scoped_lock guard(lock_);
  T value = load();
  if constexpr (std::is_void_v<std::invoke_result_t<Fn, T&>>) {
    std::forward<Fn>(fn)(value);
    store(value);
  } else {
    auto result = std::forward<Fn>(fn)(value);
    store(value);
    return result;
  }
}

}  // namespace commonhold
