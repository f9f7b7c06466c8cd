// How values look in `std::cout << dict` and in error messages: texts quoted as in JSON, numbers plain
// (floating point in the shortest form that reads back), bools true and false.
#pragma once

#include <ostream>
#include <sstream>
#include <string>
#include <string_view>

#include <commonhold/detail/message_pack.h>
#include <commonhold/detail/shape.h>
#include <commonhold/detail/signature.h>

namespace commonhold::detail {

std::ostream& print_text(std::ostream& out, std::string_view text);
std::ostream& print_bytes(std::ostream& out, std::string_view bytes);  // <3 bytes: 61 62 63>
std::ostream& print_real(std::ostream& out, double value);
std::ostream& print_real(std::ostream& out, float value);

template <typename T>
concept Printable = requires(std::ostream& out, const T& value) {
  out << value;
};

template <typename T>
std::ostream& print(std::ostream& out, const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return out << (value ? "true" : "false");
  } else if constexpr (std::is_floating_point_v<T> && kShape<T> == Shape::kWord) {
    return print_real(out, value);
  } else if constexpr (kShape<T> == Shape::kText) {
    return print_text(out, value);
  } else if constexpr (kShape<T> == Shape::kTextLike) {
    return print_text(out, TextForm<T>::view(value));
  } else if constexpr (kShape<T> == Shape::kBytes) {
    return print_bytes(out, {reinterpret_cast<const char*>(value.data()), value.size()});
  } else if constexpr (std::is_integral_v<T> && kShape<T> == Shape::kWord) {
    return std::is_signed_v<T> ? out << static_cast<long long>(value) : out << static_cast<unsigned long long>(value);
  } else if constexpr (kShape<T> == Shape::kSequence || kShape<T> == Shape::kSet || kShape<T> == Shape::kMap) {
    const char* between = "";
    out << (kShape<T> == Shape::kSequence ? '[' : '{');
    for (const auto& element : value) {
      out << between;
      between = ", ";
      if constexpr (kShape<T> == Shape::kMap) {
        print(out, element.first) << ": ";
        print(out, element.second);
      } else {
        print<typename T::value_type>(out, element);
      }
    }
    return out << (kShape<T> == Shape::kSequence ? ']' : '}');
  } else if constexpr (kShape<T> == Shape::kTuple) {
    const char* between = "";
    out << '(';
    std::apply([&](const auto&... part) { ((out << between, between = ", ", print(out, part)), ...); }, value);
    return out << ')';
  } else if constexpr (kShape<T> == Shape::kOptional) {
    return value ? print(out, *value) : out << "null";
  } else if constexpr (kShape<T> == Shape::kVariant) {
    if (value.valueless_by_exception()) return out << "valueless";
    return std::visit([&](const auto& alternative) -> std::ostream& { return print(out, alternative); }, value);
  } else if constexpr (std::is_same_v<T, std::monostate>) {
    return out << "null";
  } else if constexpr (kShape<T> == Shape::kMembers && !Printable<T>) {
    const char* between = "";
    out << Codec<T>::name << '(';
    Codec<T>::apply(value, [&](const auto&... member) { ((out << between, between = ", ", print(out, member)), ...); });
    return out << ')';
  } else if constexpr (Printable<T>) {
    return out << value;
  } else if constexpr (std::is_enum_v<T>) {
    return print(out, static_cast<std::underlying_type_t<T>>(value));
  } else {
    return out << '<' << type_name<T>() << '>';
  }
}

template <typename T>
std::string printed(const T& value) {
  std::ostringstream out;
  print(out, value);
  return out.str();
}
inline std::string printed(std::string_view value) {
  std::ostringstream out;
  print_text(out, value);
  return out.str();
}

}  // namespace commonhold::detail
