// Which scalars a struct is made of, in order: what tells two structs of one name and size apart.
//
// C++20 has no reflection. An aggregate can be asked, though, which initialisers it takes: `T{a, b, c}` where a converts
// to a 32-bit integer and to nothing else is well formed only when T's first scalar is one. Arrays and aggregates inside
// are flattened, for their braces may be left out. What is no aggregate (a class with constructors) counts as one opaque
// part; a union counts as its first member. Nothing is run: the answers come from requires-expressions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace commonhold::detail {

// Classes whose values point to memory elsewhere, which another process does not have.
template <typename T>
inline constexpr bool kIsView = false;
template <typename C, typename R>
inline constexpr bool kIsView<std::basic_string_view<C, R>> = true;
template <typename T, std::size_t N>
inline constexpr bool kIsView<std::span<T, N>> = true;
template <typename T>
inline constexpr bool kIsView<std::reference_wrapper<T>> = true;
template <typename T>
inline constexpr bool kIsView<std::initializer_list<T>> = true;
template <typename T>
requires std::is_class_v<T> && std::input_or_output_iterator<T>
inline constexpr bool kIsView<T> = true;
template <typename T>
requires requires(T handle) {
  handle.resume();
  handle.address();
}  // of a coroutine
inline constexpr bool kIsView<T> = true;

// What a scalar is, as a letter, and its bytes.
struct ScalarKind {
  char letter = '?';
  std::uint16_t bytes = 0;
  constexpr bool operator==(const ScalarKind&) const = default;
};

template <typename U>
constexpr ScalarKind scalar_kind() {
  constexpr auto kBytes = static_cast<std::uint16_t>(sizeof(U));
  if constexpr (std::is_same_v<U, bool>) {
    return {'b', kBytes};
  } else if constexpr (std::is_enum_v<U>) {
    return scalar_kind<std::underlying_type_t<U>>();
  } else if constexpr (std::is_floating_point_v<U>) {
    return {'f', kBytes};
  } else if constexpr (std::is_same_v<U, char> || std::is_same_v<U, unsigned char>) {
    return {'c', kBytes};
  } else if constexpr (std::is_integral_v<U>) {
    return {std::is_signed_v<U> ? 'i' : 'u', kBytes};
  } else if constexpr (std::is_pointer_v<U> || std::is_member_pointer_v<U> || std::is_null_pointer_v<U> || kIsView<U>) {
    return {'p', 0};
  } else {
    return {'o', kBytes};  // opaque
  }
}

// Aggregates are taken apart, but for empty ones.
template <typename U>
concept Part = !std::is_aggregate_v<U> || std::is_empty_v<U>;

struct AnyPart {
  template <Part U>
  operator U() const noexcept;
};
template <char kLetter, std::uint16_t kBytes>
struct PartOf {
  template <Part U>
  requires(scalar_kind<U>() == ScalarKind{kLetter, kBytes}) operator U() const noexcept;
};
template <char kLetter>
struct PartLike {
  template <Part U>
  requires(scalar_kind<U>().letter == kLetter) operator U() const noexcept;
};

// Whether T{AnyPart x before, Probe x count} is well formed.
template <typename T, std::size_t kBefore, typename Probe, std::size_t kCount>
constexpr bool takes() {
  return []<std::size_t... I, std::size_t... J>(std::index_sequence<I...>, std::index_sequence<J...>) {
    return requires {
      T{(static_cast<void>(I), AnyPart{})..., (static_cast<void>(J), Probe{})...};
    };
  }
  (std::make_index_sequence<kBefore>(), std::make_index_sequence<kCount>());
}

// The largest count from kLow on, below kHigh, for which it is well formed. REQUIRES: it is for kLow, not for kHigh.
template <typename T, std::size_t kBefore, typename Probe, std::size_t kLow, std::size_t kHigh>
constexpr std::size_t most_taken() {
  if constexpr (kHigh - kLow == 1) {
    return kLow;
  } else {
    constexpr std::size_t kMiddle = (kLow + kHigh) / 2;
    if constexpr (takes<T, kBefore, Probe, kMiddle>()) {
      return most_taken<T, kBefore, Probe, kMiddle, kHigh>();
    } else {
      return most_taken<T, kBefore, Probe, kLow, kMiddle>();
    }
  }
}
// Up to kMost: small counts are tried first.
template <typename T, std::size_t kBefore, typename Probe, std::size_t kMost, std::size_t kLow = 0>
constexpr std::size_t run_of() {
  constexpr std::size_t kNext = kLow == 0 ? 1 : 2 * kLow;
  if constexpr (kNext > kMost) {
    return most_taken<T, kBefore, Probe, kLow, kMost + 1>();
  } else if constexpr (takes<T, kBefore, Probe, kNext>()) {
    return run_of<T, kBefore, Probe, kMost, kNext>();
  } else {
    return most_taken<T, kBefore, Probe, kLow, kNext>();
  }
}

struct LayoutRun {
  ScalarKind kind;
  std::uint32_t count = 0;
};

inline constexpr std::size_t kMostParts = 256;  // of a struct that are looked at
inline constexpr std::size_t kMostRuns = 64;    // of parts of one kind

// `runs[0 .. count)`; `whole`: there are no more parts.
struct Layout {
  std::array<LayoutRun, kMostRuns> runs{};
  std::size_t count = 0;
  bool whole = true;

  constexpr bool holds(char letter) const {
    for (std::size_t i = 0; i < count; ++i) {
      if (runs[i].kind.letter == letter) return true;
    }
    return false;
  }
};

// The kind of the part behind the first kBefore ones.
template <typename T, std::size_t kBefore>
constexpr ScalarKind part_at() {
  ScalarKind found;
  const auto is = [&]<char kLetter, std::uint16_t kBytes>() {
    if constexpr (takes<T, kBefore, PartOf<kLetter, kBytes>, 1>()) found = {kLetter, kBytes};
  };
  const auto among = [&]<char kLetter, std::uint16_t... kBytes>() {
    if constexpr (takes<T, kBefore, PartLike<kLetter>, 1>()) {
      found.letter = kLetter;
      (is.template operator()<kLetter, kBytes>(), ...);
    }
  };
  among.template operator()<'i', 1, 2, 4, 8, 16>();
  if (found.letter == '?') among.template operator()<'f', 4, 8, 16>();
  if (found.letter == '?') among.template operator()<'u', 1, 2, 4, 8, 16>();
  if (found.letter == '?') among.template operator()<'c', 1>();
  if (found.letter == '?') among.template operator()<'b', 1>();
  if (found.letter == '?') among.template operator()<'p', 0>();
  if (found.letter == '?') among.template operator()<'o', 1, 2, 4, 8, 12, 16, 24, 32, 40, 48, 64>();
  return found;
}

// How many parts of that kind stand there, kMost at most.
template <typename T, std::size_t kBefore, char kLetter, std::uint16_t kBytes, std::size_t kMost>
constexpr std::size_t parts_like() {
  if constexpr (kLetter == '?') {
    return 1;
  } else if constexpr (kBytes == 0) {
    return run_of<T, kBefore, PartLike<kLetter>, kMost, 1>();
  } else {
    return run_of<T, kBefore, PartOf<kLetter, kBytes>, kMost, 1>();
  }
}

template <typename T, std::size_t kParts, std::size_t kAt>
constexpr void add_runs(Layout& layout) {
  if constexpr (kAt < kParts) {
    if (layout.count == kMostRuns) {
      layout.whole = false;
      return;
    }
    constexpr ScalarKind kKind = part_at<T, kAt>();
    constexpr std::size_t kRun = parts_like<T, kAt, kKind.letter, kKind.bytes, kParts - kAt>();
    layout.runs[layout.count++] = {kKind, static_cast<std::uint32_t>(kRun)};
    add_runs<T, kParts, kAt + kRun>(layout);
  }
}

template <typename T>
constexpr Layout layout_of() {
  Layout layout;
  if constexpr (std::is_aggregate_v<T>) {
    constexpr std::size_t kParts = run_of<T, 0, AnyPart, kMostParts>();
    add_runs<T, kParts, 0>(layout);
    if (kParts == kMostParts && takes<T, 0, AnyPart, kMostParts + 1>()) layout.whole = false;
  } else {
    layout.whole = false;
  }
  return layout;
}
template <typename T>
inline constexpr Layout kLayout = layout_of<T>();

}  // namespace commonhold::detail
