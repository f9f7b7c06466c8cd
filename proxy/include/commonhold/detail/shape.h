// Which of the stored forms a C++ type takes; codec.h lists them for users.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include <commonhold/codec.h>
#include <commonhold/detail/layout.h>
#include <commonhold/detail/object_handle.h>

namespace commonhold {
class Any;
}

namespace commonhold::detail {

// A proxy of a shared object: Dict, List, Lock and the others.
template <typename T>
concept Proxy = requires {
  { T::request() } -> std::same_as<ObjectRequest>;
};

enum class Shape {
  kWord,  // one 64-bit word
  kText,
  kTextLike,  // stored as text
  kBytes,
  kStruct,     // the object's bytes
  kReference,  // another shared object, by its id
  kAny,        // what an Any holds
  kCoded,      // the user's Codec
  kMembers,    // a list of members; MessagePack from here on
  kVariant,
  kSequence,
  kSet,
  kMap,
  kTuple,
  kOptional,
  kNone,
};

template <typename T>
inline constexpr Shape kContainerShape = Shape::kNone;
template <typename T, typename A>
inline constexpr Shape kContainerShape<std::vector<T, A>> = Shape::kSequence;
template <typename T, typename A>
inline constexpr Shape kContainerShape<std::deque<T, A>> = Shape::kSequence;
template <typename T, typename A>
inline constexpr Shape kContainerShape<std::list<T, A>> = Shape::kSequence;
template <typename T, typename C, typename A>
inline constexpr Shape kContainerShape<std::set<T, C, A>> = Shape::kSet;
template <typename T, typename H, typename E, typename A>
inline constexpr Shape kContainerShape<std::unordered_set<T, H, E, A>> = Shape::kSet;
template <typename K, typename V, typename C, typename A>
inline constexpr Shape kContainerShape<std::map<K, V, C, A>> = Shape::kMap;
template <typename K, typename V, typename H, typename E, typename A>
inline constexpr Shape kContainerShape<std::unordered_map<K, V, H, E, A>> = Shape::kMap;
template <typename A, typename B>
inline constexpr Shape kContainerShape<std::pair<A, B>> = Shape::kTuple;
template <typename... T>
inline constexpr Shape kContainerShape<std::tuple<T...>> = Shape::kTuple;
template <typename T>
inline constexpr Shape kContainerShape<std::optional<T>> = Shape::kOptional;
template <typename... T>
inline constexpr Shape kContainerShape<std::variant<T...>> = Shape::kVariant;
// An array of plain elements is stored as its bytes, like a struct.
template <typename T, std::size_t N>
inline constexpr Shape kContainerShape<std::array<T, N>> =
    std::is_trivially_copyable_v<T> && !HasCodec<T> ? Shape::kNone : Shape::kTuple;

// Their order is no part of their value, so that one value has many encodings: not for keys.
template <typename T>
inline constexpr bool kIsUnordered = false;
template <typename T, typename H, typename E, typename A>
inline constexpr bool kIsUnordered<std::unordered_set<T, H, E, A>> = true;
template <typename K, typename V, typename H, typename E, typename A>
inline constexpr bool kIsUnordered<std::unordered_map<K, V, H, E, A>> = true;

// Types whose values are texts: view() and make().
template <typename T>
struct TextForm;
template <>
struct TextForm<std::u8string> {
  static std::string_view view(const std::u8string& value) {
    return {reinterpret_cast<const char*>(value.data()), value.size()};
  }
  static std::u8string make(std::string_view text) {
    return {reinterpret_cast<const char8_t*>(text.data()), text.size()};
  }
};
// std::filesystem::path, without its header.
template <typename T>
requires requires(const T& path) {
  { path.native() } -> std::same_as<const std::string&>;
  { path.root_directory() } -> std::same_as<T>;
}
struct TextForm<T> {
  static std::string_view view(const T& path) { return path.native(); }
  static T make(std::string_view text) { return T(std::string(text)); }
};

// A struct, or an array of such, whose bytes say the same in every process.
template <typename T>
constexpr bool is_plain_struct() {
  if constexpr (!std::is_trivially_copyable_v<T> || std::is_reference_v<T> || std::is_function_v<T> || kIsView<T>) {
    return false;
  } else if constexpr (!std::is_copy_assignable_v<T>) {
    return false;  // it has reference members, or constant ones
  } else {
    return scalar_kind<T>().letter != 'p' && !kLayout<T>.holds('p');
  }
}

template <typename T>
constexpr Shape shape_of() {
  if constexpr (std::is_same_v<T, Any>) {
    return Shape::kAny;
  } else if constexpr (HasMembers<T>) {
    return Shape::kMembers;
  } else if constexpr (HasCodec<T>) {
    return Shape::kCoded;
  } else if constexpr (Proxy<T>) {
    return Shape::kReference;
  } else if constexpr (std::is_enum_v<T> || std::is_same_v<T, float> || std::is_same_v<T, double> ||
                       (std::is_integral_v<T> && sizeof(T) <= 8)) {
    return Shape::kWord;
  } else if constexpr (std::is_same_v<T, std::string>) {
    return Shape::kText;
  } else if constexpr (requires { TextForm<T>::make({}); }) {
    return Shape::kTextLike;
  } else if constexpr (std::is_same_v<T, std::vector<std::byte>>) {
    return Shape::kBytes;
  } else if constexpr (kContainerShape<T> != Shape::kNone) {
    return kContainerShape<T>;
  } else if constexpr (is_plain_struct<T>()) {
    return Shape::kStruct;
  } else {
    return Shape::kNone;
  }
}

template <typename T>
inline constexpr Shape kShape = shape_of<T>();

// Whether Test<T> is true of a type, or of any that its values are made of. `Seen`: structs that T stands in, which may
// hold one another.
template <typename T, template <typename> typename Test, typename... Seen>
constexpr bool any_part() {
  if constexpr (Test<T>::value) {
    return true;
  } else if constexpr (kShape<T> == Shape::kSequence || kShape<T> == Shape::kSet || kShape<T> == Shape::kOptional) {
    return any_part<typename T::value_type, Test, Seen...>();
  } else if constexpr (kShape<T> == Shape::kMap) {
    return any_part<typename T::key_type, Test, Seen...>() || any_part<typename T::mapped_type, Test, Seen...>();
  } else if constexpr (kShape<T> == Shape::kTuple) {
    return []<std::size_t... I>(std::index_sequence<I...>) {
      return (any_part<std::tuple_element_t<I, T>, Test, Seen...>() || ...);
    }
    (std::make_index_sequence<std::tuple_size_v<T>>());
  } else if constexpr (kShape<T> == Shape::kVariant) {
    return []<std::size_t... I>(std::index_sequence<I...>) {
      return (any_part<std::variant_alternative_t<I, T>, Test, Seen...>() || ...);
    }
    (std::make_index_sequence<std::variant_size_v<T>>());
  } else if constexpr (kShape<T> == Shape::kMembers && !(std::is_same_v<T, Seen> || ...)) {
    return []<typename... M>(const std::tuple<M...>*) {
      return (any_part<M, Test, Seen..., T>() || ...);
    }(static_cast<typename Codec<T>::member_types*>(nullptr));
  } else {
    return false;
  }
}

// A type that shared objects can hold, and all that its values are made of.
template <typename T>
struct IsUnstored : std::bool_constant<kShape<T> == Shape::kNone || std::is_const_v<T> || std::is_volatile_v<T>> {};
template <typename T>
concept Storable = !any_part<T, IsUnstored>();

// Values that may hold references to other objects: proxies, Any, and containers of such.
template <typename T>
struct IsLink : std::bool_constant<kShape<T> == Shape::kReference || kShape<T> == Shape::kAny> {};
template <typename T>
inline constexpr bool kMayLink = any_part<T, IsLink>();

// Stored as a fixed number of bytes.
template <typename T>
inline constexpr bool kIsFixed = kShape<T> == Shape::kWord || kShape<T> == Shape::kStruct;

// Values whose decoding can throw, in the user's code or for want of memory, or that refer to objects, which nobody would
// keep in between: whoever takes them out of an object decodes them first, and takes them if they are still there.
// Fixed ones are read without allocating; a text's bytes become the value itself.
template <typename T>
inline constexpr bool kDecodedFirst = kMayLink<T> || !(kIsFixed<T> || kShape<T> == Shape::kText);

template <typename T>
struct IsUnordered : std::bool_constant<kIsUnordered<T>> {};

// A struct with bytes between its members that the compiler cannot clear: equal values would have different bytes.
template <typename T>
constexpr bool has_uncleared_padding() {
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
  return false;
#endif
#endif
  if constexpr (std::is_class_v<T> && kShape<T> == Shape::kStruct && !std::has_unique_object_representations_v<T>) {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < kLayout<T>.count; ++i) {
      const auto& [kind, times] = kLayout<T>.runs[i];
      // A long double of 80 bits stands in 16 bytes.
      bytes += times * (kind.letter == 'f' && kind.bytes == 16 ? 10 : kind.bytes);
    }
    return kLayout<T>.whole && bytes < sizeof(T);
  }
  return false;
}
template <typename T>
struct HasUnclearedPadding : std::bool_constant<has_uncleared_padding<T>()> {};

// A type that can be a dict's key. Keys are equal when their stored bytes are.
template <typename T>
concept StorableKey = Storable<T> && !any_part<T, IsUnordered>() && (!kMayLink<T> || std::is_same_v<T, Any>);

// What a container of such values says of types that it cannot hold, in one sentence.
template <typename T>
struct RequireStorable {
  static_assert(
      kShape<T> != Shape::kMembers || std::is_default_constructible_v<T>,
      "a struct with a list of members is made by its default constructor before they are read: give it one, and "
      "make shared objects among the members std::optional");
  static_assert(Storable<T>,
                "values of this type cannot be stored in shared memory: specialise commonhold::Codec<T> for it, in two "
                "lines for a struct (commonhold/codec.h); what holds pointers or views cannot be stored at all");
};
template <typename T>
struct RequireKey : RequireStorable<T> {
  static_assert(!Storable<T> || StorableKey<T>,
                "values of this type cannot be keys: unordered containers have no order of their own, and a reference "
                "to another object is no key (commonhold/codec.h)");
  static_assert(
      !any_part<T, HasUnclearedPadding>(),
      "a struct with padding cannot be a key with this compiler, which cannot clear it (g++ 11 and clang++ 20 "
      "can): give the struct a list of members (commonhold/codec.h)");
};

// Numbers that += and the like change in one step.
template <typename T>
inline constexpr bool kIsNumber = std::is_arithmetic_v<T> && !std::is_same_v<T, bool> && kShape<T> == Shape::kWord;

// How functions take a T: a text as a view, a word as itself.
template <typename T>
using Argument = std::conditional_t<std::is_same_v<T, std::string>, std::string_view,
                                    std::conditional_t<kShape<T> == Shape::kWord, T, const T&>>;

}  // namespace commonhold::detail
