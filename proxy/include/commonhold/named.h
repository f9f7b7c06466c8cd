// named("scores"): asks for the object of that name, made when there is none. A text by itself means the same,
// but for objects of chars, whose contents it is.
#pragma once

#include <commonhold/detail/language.h>

#include <concepts>
#include <ranges>
#include <string>
#include <string_view>

namespace commonhold {

class Named {
 public:
  const std::string& name() const { return name_; }

 private:
  friend Named named(std::string_view name);
  struct Secret {};  // so that no braced list becomes a Named
  Named(Secret, std::string_view name) : name_(name) {}
  std::string name_;
};

inline Named named(std::string_view name) {
  return Named(Named::Secret{}, name);
}

namespace detail {

// What names an object that holds T: a text does, unless it may as well be the contents.
template <typename Name, typename T = void>
concept ObjectName = std::same_as<Name, Named> ||
    (std::convertible_to<const Name&, std::string_view> && !std::same_as<T, char>);
// What an object that holds T is filled with.
template <typename Values, typename T = void>
concept Contents = std::ranges::input_range<Values> && !ObjectName<Values, T>;

inline std::string_view name_text(const Named& name) {
  return name.name();
}
inline std::string_view name_text(std::string_view name) {
  return name;
}

}  // namespace detail

}  // namespace commonhold
