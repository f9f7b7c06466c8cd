// Trivially copyable values as their bytes, for Value and Array.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstring>
#include <limits>
#include <type_traits>

#include <commonhold/detail/shape.h>

namespace commonhold::detail {

// What a Value or an Array can hold.
template <typename T>
concept Plain = Storable<T> && kIsFixed<T> && std::is_trivially_copyable_v<T>;

template <typename T>
struct RequirePlain : RequireStorable<T> {
  static_assert(!Storable<T> || Plain<T>,
                "a Value or Array holds numbers, bools, enums and trivially copyable structs: put what has texts or "
                "containers in it into a Dict or List");
};

// Bytes of a long double that say nothing stand at its end.
template <typename T>
inline constexpr std::size_t kValueBytes = std::is_same_v<T, long double>&& std::numeric_limits<long double>::digits ==
                                                   64
                                               ? 10
                                               : sizeof(T);

// Whether every bit of a T's memory belongs to its value.
template <typename T>
inline constexpr bool kHasNoPadding = std::has_unique_object_representations_v<T> ||
                                      (std::is_arithmetic_v<T> && kValueBytes<T> == sizeof(T));

// Changed atomically by the processor. For a T whose alignment is less than its size a compiler may call a library
// function instead, so such a T is stored as bytes.
template <typename T>
inline constexpr bool kIsAtomic = (sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8) &&
                                  alignof(T) == sizeof(T) && kHasNoPadding<T>;

// REQUIRES: the place is aligned to T's size, which is all that the hardware asks.
template <typename T>
std::atomic_ref<T> atomic_at(void* place) {
  return std::atomic_ref<T>(*static_cast<T*>(place));
}

// A T's bytes with the padding cleared, so that equal values have equal bytes.
template <typename T>
class PlainBytes {
 public:
  explicit PlainBytes(const T& value) {
    std::memcpy(bytes_, &value, sizeof(T));
    if constexpr (kValueBytes<T> != sizeof(T)) std::memset(bytes_ + kValueBytes<T>, 0, sizeof(T) - kValueBytes<T>);
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
    if constexpr (!kHasNoPadding<T>) __builtin_clear_padding(reinterpret_cast<T*>(bytes_));
#endif
#endif
  }
  const void* data() const {
    return bytes_;
  }
  bool all_zero() const {
    for (const std::byte byte : bytes_) {
      if (byte != std::byte{}) return false;
    }
    return true;
  }

 private:
  alignas(8) alignas(T) std::byte bytes_[sizeof(T)];
};

// Where a T's bytes are read to.
template <typename T>
class PlainBuffer {
 public:
  PlainBuffer() = default;
  explicit PlainBuffer(const PlainBytes<T>& value) { std::memcpy(bytes_.data(), value.data(), sizeof(T)); }
  void* data() { return bytes_.data(); }
  T value() const { return std::bit_cast<T>(bytes_); }

 private:
  alignas(8) alignas(T) std::array<std::byte, sizeof(T)> bytes_;
};

}  // namespace commonhold::detail
