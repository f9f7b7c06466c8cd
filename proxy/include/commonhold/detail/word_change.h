// One-step arithmetic on stored numbers. Integers wrap around as unsigned ones do.
#pragma once

#include <type_traits>

#include <commonhold/detail/encoded.h>

namespace commonhold::detail {

enum class Change { kAdd, kSubtract, kMultiply, kOr, kAnd, kXor };

template <typename T, Change change>
constexpr T changed_number(T before, T operand) {
  if constexpr (std::is_floating_point_v<T>) {
    if constexpr (change == Change::kAdd) return before + operand;
    if constexpr (change == Change::kSubtract) return before - operand;
    if constexpr (change == Change::kMultiply) return before * operand;
  } else {
    auto a = static_cast<std::uint64_t>(before), b = static_cast<std::uint64_t>(operand);
    if constexpr (change == Change::kAdd) return static_cast<T>(a + b);
    if constexpr (change == Change::kSubtract) return static_cast<T>(a - b);
    if constexpr (change == Change::kMultiply) return static_cast<T>(a * b);
    if constexpr (change == Change::kOr) return static_cast<T>(a | b);
    if constexpr (change == Change::kAnd) return static_cast<T>(a & b);
    if constexpr (change == Change::kXor) return static_cast<T>(a ^ b);
  }
}

// As the library calls it: words in, word out.
template <typename T, Change change>
constexpr Word changed_word(Word before, Word operand) {
  return to_word(changed_number<T, change>(from_word<T>(before), from_word<T>(operand)));
}

template <typename T>
concept Integer = std::is_integral_v<T> && kIsNumber<T>;

}  // namespace commonhold::detail
