// How a C++ type is stored in a shared object. Most types need nothing from you:
//
//   | C++                                         | stored as                                                  |
//   |---------------------------------------------|------------------------------------------------------------|
//   | bool, integers, float, double, enums        | one 64-bit word                                            |
//   | std::string                                 | text                                                       |
//   | std::vector<std::byte>                      | bytes                                                      |
//   | std::vector, array, deque, set, map,        | MessagePack (docs/segment_format.md), which any program    |
//   |   unordered_map, pair, tuple, optional      |   can read                                                 |
//   | trivially copyable structs                  | their bytes as they are; a struct must hold no pointers or |
//   |                                             |   views                                                    |
//
// Everything else, and every struct that should not be stored as its bytes, takes one specialisation:
//
//   struct Person { std::string first, last; };
//
//   template <>
//   struct commonhold::Codec<Person> {
//     static constexpr std::string_view name = "person";     // in the object's signature: "dict<text,person>"
//     static std::string encode(const Person& person);
//     static Person decode(std::string_view bytes);          // bytes are what encode made
//   };
//
// Both functions run in the calling program, never under a lock of the library; what they throw reaches the
// caller and leaves the object as it was. Keys are equal when their encodings are.
#pragma once

#include <commonhold/detail/language.h>

#include <concepts>
#include <string>
#include <string_view>

namespace commonhold {

template <typename T>
struct Codec;

template <typename T>
concept HasCodec = requires(const T& value, std::string_view bytes) {
  { Codec<T>::encode(value) } -> std::convertible_to<std::string>;
  { Codec<T>::decode(bytes) } -> std::convertible_to<T>;
  { Codec<T>::name } -> std::convertible_to<std::string_view>;
};

}  // namespace commonhold
