// One-step arithmetic on stored numbers. Integers wrap around as unsigned ones do, also the least one divided by -1.
#pragma once

#include <cstdint>
#include <type_traits>

#include <commonhold/detail/encoded.h>

namespace commonhold::detail {

enum class Change { kAdd, kSubtract, kMultiply, kDivide, kModulo, kOr, kAnd, kXor, kShiftLeft, kShiftRight };

// ValueError: an integer is not divided by zero, nor shifted by less than 0 or all of its bits or more.
[[noreturn]] void refuse_operand(const char* what, std::int64_t operand);

template <Change change, typename T>
void check_operand(T operand) {
  if constexpr (std::is_integral_v<T>) {
    if constexpr (change == Change::kDivide || change == Change::kModulo) {
      if (operand == T(0)) refuse_operand("a division by", 0);
    } else if constexpr (change == Change::kShiftLeft || change == Change::kShiftRight) {
      if (operand < T(0) || static_cast<std::uint64_t>(operand) >= sizeof(T) * 8) {
        refuse_operand("a shift by", static_cast<std::int64_t>(operand));
      }
    }
  }
}

template <typename T, Change change>
constexpr T changed_number(T before, T operand) {
  if constexpr (std::is_floating_point_v<T>) {
    if constexpr (change == Change::kAdd) return before + operand;
    if constexpr (change == Change::kSubtract) return before - operand;
    if constexpr (change == Change::kMultiply) return before * operand;
    if constexpr (change == Change::kDivide) return before / operand;
  } else {
    auto a = static_cast<std::uint64_t>(before), b = static_cast<std::uint64_t>(operand);
    if constexpr (change == Change::kAdd) return static_cast<T>(a + b);
    if constexpr (change == Change::kSubtract) return static_cast<T>(a - b);
    if constexpr (change == Change::kMultiply) return static_cast<T>(a * b);
    if constexpr (change == Change::kOr) return static_cast<T>(a | b);
    if constexpr (change == Change::kAnd) return static_cast<T>(a & b);
    if constexpr (change == Change::kXor) return static_cast<T>(a ^ b);
    if constexpr (change == Change::kShiftLeft) return static_cast<T>(a << b);
    if constexpr (change == Change::kShiftRight) return static_cast<T>(before >> b);
    if constexpr (change == Change::kDivide || change == Change::kModulo) {
      constexpr bool kDivides = change == Change::kDivide;
      if constexpr (std::is_signed_v<T>) {
        if (operand == T(-1)) return static_cast<T>(kDivides ? 0 - a : 0);  // the processor traps on the least number
      }
      return static_cast<T>(kDivides ? before / operand : before % operand);
    }
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
