// fmt::format("{}", dict) for every shared object, for its elements, Any and Custom: what operator<< prints. Needs the fmt
// library (9 or later), and std::format works where the standard library has it. Width, fill and alignment as for a text:
// "{:>30}".
#pragma once

#include <concepts>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>

#include <commonhold/any.h>
#include <commonhold/detail/element_reference.h>
#include <commonhold/detail/shape.h>

#if __has_include(<fmt/format.h>)
#include <fmt/format.h>
#endif
#if __has_include(<format>)
#include <format>
#endif

namespace commonhold::detail {

template <typename T>
inline constexpr bool kIsElement = false;
template <typename Container, typename Key, typename V, typename Holder>
inline constexpr bool kIsElement<ElementReference<Container, Key, V, Holder>> = true;

template <typename T>
concept Formatted = Proxy<T> || std::same_as<T, Any> || kIsElement<T>;

template <typename T>
std::string formatted(const T& value) {
  std::ostringstream out;
  out << value;
  return std::move(out).str();
}

}  // namespace commonhold::detail

#ifdef FMT_VERSION
// Dict, List and the others are ranges, too: fmt/ranges.h leaves them to the formatter below.
FMT_BEGIN_NAMESPACE
template <typename T, typename Char>
struct is_range;
template <commonhold::detail::Formatted T, typename Char>
struct is_range<T, Char> : std::false_type {};
FMT_END_NAMESPACE

template <commonhold::detail::Formatted T>
struct fmt::formatter<T, char> : fmt::formatter<std::string_view> {
  template <typename Context>
  auto format(const T& value, Context& context) const {
    return fmt::formatter<std::string_view>::format(commonhold::detail::formatted(value), context);
  }
};
#endif

#ifdef __cpp_lib_format
template <commonhold::detail::Formatted T>
struct std::formatter<T, char> : std::formatter<std::string_view> {
  template <typename Context>
  auto format(const T& value, Context& context) const {
    return std::formatter<std::string_view>::format(commonhold::detail::formatted(value), context);
  }
};
#endif
