// How a C++ type is stored in a shared object. Most types need nothing from you:
//
//   | C++                                         | stored as                                                  |
//   |---------------------------------------------|------------------------------------------------------------|
//   | bool, integers, float, double, enums        | one 64-bit word                                            |
//   | std::string, std::u8string,                 | text, as its bytes are                                     |
//   |   std::filesystem::path                     |                                                            |
//   | std::vector<std::byte>                      | bytes                                                      |
//   | std::vector, array, deque, set, map,        | MessagePack (docs/segment_format.md), which any program    |
//   |   unordered_map, pair, tuple, optional,     |   can read                                                 |
//   |   variant                                   |                                                            |
//   | trivially copyable structs                  | their bytes as they are; a struct must hold no pointers or |
//   |                                             |   views                                                    |
//
// A struct with other members takes two lines: its name in objects' types, and its members.
//
//   struct Person { std::string name; std::vector<int> marks; };
//
//   template <>
//   struct commonhold::Codec<Person> : commonhold::Members<"person", &Person::name, &Person::marks> {};
//
// Everything else, and every struct whose bytes you want to choose, takes two functions:
//
//   class Money { ... };
//
//   template <>
//   struct commonhold::Codec<Money> {
//     static constexpr std::string_view name = "money";      // in the object's type: "dict<text,money>"
//     static std::string encode(const Money& value);
//     static Money decode(std::string_view bytes);           // bytes are what encode made
//   };
//
// Both run in the calling program, never under a lock of the library; what they throw reaches the caller and leaves the
// object as it was. Keys are equal when their stored forms are.
//
// OTHER VERSIONS OF A TYPE. Programs that were compiled with different versions of a type do not open one another's
// objects: the error, a TypeMismatch, names both. What tells them apart is in the object's type: for a list of members,
// their types; for a struct stored as its bytes, its name, size and scalars in order ("struct<shop::Order,24:i4 f8 i2>":
// an integer of four bytes, a double, a short). Where that is not enough (two members of one type swapped their meaning;
// a class with private members, whose parts nobody can list), count up:
//
//   class Order { ... };
//   template <>
//   inline constexpr int commonhold::layout_version<Order> = 2;
#pragma once

#include <commonhold/detail/language.h>

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace commonhold {

template <typename T>
struct Codec;

template <typename T>
inline constexpr int layout_version = 0;

namespace detail {

// Text as a template argument.
template <std::size_t N>
struct Literal {
  constexpr Literal(const char (&text)[N]) {
    for (std::size_t i = 0; i < N; ++i) characters[i] = text[i];
  }
  char characters[N];
};

template <typename Pointer>
struct MemberType;
template <typename M, typename T>
struct MemberType<M T::*> {
  using type = std::remove_cv_t<M>;
  static constexpr bool kFixedPlace = std::is_const_v<M> || std::is_array_v<M>;
};

}  // namespace detail

// The members that a T consists of, in the order in which they are stored. A T is made by its default constructor
// before they are read into it; so a shared object among them, which has none, is a std::optional<List<int>>.
template <detail::Literal kName, auto... kMembers>
struct Members {
  static_assert((std::is_member_object_pointer_v<decltype(kMembers)> && ...), "name data members: &Person::name");
  static_assert(!(detail::MemberType<decltype(kMembers)>::kFixedPlace || ...),
                "constant members and C arrays cannot be stored one by one: make the array a std::array");
  static constexpr std::string_view name{kName.characters, sizeof kName.characters - 1};
  static constexpr std::size_t count = sizeof...(kMembers);
  using member_types = std::tuple<typename detail::MemberType<decltype(kMembers)>::type...>;
  // fn(value.member...) of a T.
  template <typename T, typename Fn>
  static decltype(auto) apply(T& value, Fn&& fn) {
    return std::forward<Fn>(fn)(value.*kMembers...);
  }
};

template <typename T>
concept HasMembers = requires {
  typename Codec<T>::member_types;
};

template <typename T>
concept HasCodec = requires(const T& value, std::string_view bytes) {
  { Codec<T>::encode(value) } -> std::convertible_to<std::string>;
  { Codec<T>::decode(bytes) } -> std::convertible_to<T>;
  { Codec<T>::name } -> std::convertible_to<std::string_view>;
};

}  // namespace commonhold
