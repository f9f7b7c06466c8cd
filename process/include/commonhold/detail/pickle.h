// Values as Python's pickles: how the peers of Protocol::kPython (connection.h) write them. Nothing here runs
// anything: a pickle that makes an object of a class is refused, and the class named.
//
//   | C++                                        | Python, written            | Python, read                |
//   |--------------------------------------------|----------------------------|-----------------------------|
//   | nullptr, std::nullopt                      | None                       |                             |
//   | bool                                       | bool                       | bool                        |
//   | integers, enums                            | int                        | int                         |
//   | float, double, long double                 | float                      | float, int                  |
//   | std::string; views and literals            | str                        | str                         |
//   | std::vector<std::byte>                     | bytes                      | bytes, bytearray            |
//   | a type with a Codec                        | bytes: what encode() makes | bytes, bytearray            |
//   | std::vector, deque, list                   | list (as a key: tuple)     | list, tuple                 |
//   | std::pair, tuple, array                    | tuple                      | tuple, list, of that length |
//   | std::set, unordered_set                    | set (as a key: frozenset)  | set, frozenset              |
//   | std::map, unordered_map                    | dict                       | dict                        |
//   | std::optional                              | None, or the value         | None, or the value          |
//   | Any                                        | what it holds              | any; sets, tuples as lists  |
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include <commonhold/detail/call.h>
#include <commonhold/detail/shape.h>
#include <commonhold/detail/signature.h>
#include <commonhold/detail/tickets.h>

namespace commonhold::detail {

class PickleWriter {
 public:
  enum class Container { kList, kTuple, kDict, kSet, kFrozenset };

  PickleWriter();
  void none();
  void boolean(bool value);
  void integer(std::int64_t value);
  void natural(std::uint64_t value);
  void real(double value);
  void str(std::string_view value);  // ValueError when it is not UTF-8
  void bytes(std::string_view value);
  // What is written between the two are its elements; a dict's are key, value, key, value...
  void open(Container container);
  void close(Container container);
  // UsageError: "`what` cannot be sent to Python: ...".
  [[noreturn]] static void refuse(const std::string& what);

  std::string take();  // the whole pickle

 private:
  void put(unsigned char opcode) { out_ += static_cast<char>(opcode); }
  void put_number(std::uint64_t value, int bytes);  // little-endian
  std::string out_;
};

// The values of a pickle, as a tree that shares what the pickle mentions more than once.
// INVARIANT: no value holds itself; no path from the root is longer than Any::kMaxLevels containers.
class Pickle {
 public:
  enum class Kind : std::uint8_t {
    kNone,
    kBool,
    kInt,
    kNatural,   // an int from 2^63 to 2^64 - 1
    kLargeInt,  // one that has more than 64 bits
    kFloat,
    kStr,
    kBytes,
    kList,
    kTuple,
    kDict,
    kSet,
    kFrozenset,
  };
  struct Value {
    Kind kind = Kind::kNone;
    std::uint64_t word = 0;  // the bool, the integer, the double's bits; where a str or bytes begins; which container
    std::uint64_t size = 0;  // of a str, bytes or large int, in bytes
  };

  // TypeMismatch for what is no pickle, or one of other values than these; LimitReached for one that is nested too
  // deeply, or is far larger than its bytes.
  explicit Pickle(std::string message);

  const Value& root() const { return values_[root_]; }
  std::string_view bytes(const Value& value) const { return std::string_view(message_).substr(value.word, value.size); }
  // REQUIRES: a container. A dict's are key, value, key, value...
  std::size_t size(const Value& value) const { return elements_[value.word].size(); }
  const Value& element(const Value& value, std::size_t at) const { return values_[elements_[value.word][at]]; }

  // TypeMismatch: "recv() of `wanted` met a str".
  [[noreturn]] void mismatch(const Value& found, const std::string& wanted) const;

 private:
  friend class PickleDecoder;
  std::string message_;
  std::vector<Value> values_;
  std::vector<std::vector<std::uint32_t>> elements_;  // of each container
  std::uint32_t root_ = 0;
};

COMMONHOLD_CALL void pickle_any(PickleWriter& out, const Any& value, bool as_key);
// Sets `value`, which is an Any.
COMMONHOLD_CALL void unpickle_any(const Pickle& in, const Pickle::Value& from, Any& value);

template <typename T>
inline constexpr bool kIsArray = false;
template <typename T, std::size_t N>
inline constexpr bool kIsArray<std::array<T, N>> = true;

// As a key or an element of a set: of what Python can hash.
template <bool kAsKey = false, typename T>
void pickle(PickleWriter& out, const T& value) {
  using Container = PickleWriter::Container;
  if constexpr (kShape<T> == Shape::kReference) {
    PickleWriter::refuse("a shared object");
  } else if constexpr (IsTicket<T>::value) {
    PickleWriter::refuse("a connection or descriptor");
  } else if constexpr (std::is_null_pointer_v<T> || std::is_same_v<T, std::nullopt_t>) {
    out.none();
  } else if constexpr (std::is_same_v<T, bool>) {
    out.boolean(value);
  } else if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    out.str(value);
  } else if constexpr (kShape<T> == Shape::kTextLike) {
    out.str(TextForm<T>::view(value));
  } else if constexpr (kShape<T> == Shape::kMembers) {
    out.open(Container::kTuple);
    Codec<T>::apply(value, [&](const auto&... member) { (pickle<kAsKey>(out, member), ...); });
    out.close(Container::kTuple);
  } else if constexpr (HasCodec<T>) {
    out.bytes(Codec<T>::encode(value));
  } else if constexpr (std::is_enum_v<T>) {
    pickle<kAsKey>(out, static_cast<std::underlying_type_t<T>>(value));
  } else if constexpr (std::is_floating_point_v<T>) {
    out.real(static_cast<double>(value));
  } else if constexpr (kShape<T> == Shape::kWord && std::is_signed_v<T>) {
    out.integer(value);
  } else if constexpr (kShape<T> == Shape::kWord) {
    out.natural(value);
  } else if constexpr (kShape<T> == Shape::kBytes) {
    out.bytes({reinterpret_cast<const char*>(value.data()), value.size()});
  } else if constexpr (kShape<T> == Shape::kAny) {
    pickle_any(out, value, kAsKey);
  } else if constexpr (kShape<T> == Shape::kSequence || kShape<T> == Shape::kSet) {
    constexpr bool kIsSet = kShape<T> == Shape::kSet;
    constexpr Container kContainer =
        kIsSet ? (kAsKey ? Container::kFrozenset : Container::kSet) : (kAsKey ? Container::kTuple : Container::kList);
    out.open(kContainer);
    for (const auto& element : value) pickle<kIsSet || kAsKey, typename T::value_type>(out, element);
    out.close(kContainer);
  } else if constexpr (kShape<T> == Shape::kMap) {
    if (kAsKey) PickleWriter::refuse("a map that is a key or an element of a set");
    out.open(Container::kDict);
    for (const auto& [key, mapped] : value) {
      pickle<true>(out, key);
      pickle<false>(out, mapped);
    }
    out.close(Container::kDict);
  } else if constexpr (kShape<T> == Shape::kTuple || kIsArray<T>) {
    out.open(Container::kTuple);
    std::apply([&](const auto&... part) { (pickle<kAsKey>(out, part), ...); }, value);
    out.close(Container::kTuple);
  } else if constexpr (kShape<T> == Shape::kOptional) {
    value ? pickle<kAsKey>(out, *value) : out.none();
  } else {
    PickleWriter::refuse("a value of the type " + demangled(typeid(T)));
  }
}

template <typename T>
T unpickle(const Pickle& in, const Pickle::Value& from);

template <typename T, std::size_t... I>
T unpickle_tuple(const Pickle& in, const Pickle::Value& from, std::index_sequence<I...>) {
  return T{unpickle<std::tuple_element_t<I, T>>(in, in.element(from, I))...};
}

template <typename T>
T unpickle(const Pickle& in, const Pickle::Value& from) {
  using Kind = Pickle::Kind;
  if constexpr (std::is_same_v<T, bool>) {
    if (from.kind == Kind::kBool) return from.word != 0;
    in.mismatch(from, "bool");
  } else if constexpr (kShape<T> == Shape::kTextLike) {
    if (from.kind == Kind::kStr) return TextForm<T>::make(in.bytes(from));
    in.mismatch(from, "str");
  } else if constexpr (kShape<T> == Shape::kMembers) {
    if ((from.kind != Kind::kTuple && from.kind != Kind::kList) || in.size(from) != Codec<T>::count) {
      in.mismatch(from, type_name<T>());
    }
    T result{};
    std::size_t at = 0;
    Codec<T>::apply(result, [&](auto&... member) {
      ((member = unpickle<std::remove_reference_t<decltype(member)>>(in, in.element(from, at++))), ...);
    });
    return result;
  } else if constexpr (IsTicket<T>::value) {
    in.mismatch(from, "a connection or descriptor");
  } else if constexpr (HasCodec<T>) {
    if (from.kind == Kind::kBytes) return Codec<T>::decode(in.bytes(from));
    in.mismatch(from, "bytes");
  } else if constexpr (std::is_enum_v<T>) {
    return static_cast<T>(unpickle<std::underlying_type_t<T>>(in, from));
  } else if constexpr (std::is_floating_point_v<T>) {
    if (from.kind == Kind::kFloat) return static_cast<T>(std::bit_cast<double>(from.word));
    if (from.kind == Kind::kInt) return static_cast<T>(static_cast<std::int64_t>(from.word));
    if (from.kind == Kind::kNatural) return static_cast<T>(from.word);
    in.mismatch(from, "float");
  } else if constexpr (kShape<T> == Shape::kWord) {
    if (from.kind == Kind::kInt) {
      // A character is no number to std::in_range.
      using Number = std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>;
      const auto word = static_cast<std::int64_t>(from.word);
      if (std::in_range<Number>(word) && static_cast<Number>(static_cast<T>(word)) == static_cast<Number>(word)) {
        return static_cast<T>(word);
      }
    } else if (from.kind == Kind::kNatural && std::is_unsigned_v<T> && sizeof(T) == sizeof from.word) {
      return static_cast<T>(from.word);
    }
    in.mismatch(from, type_name<T>());
  } else if constexpr (kShape<T> == Shape::kText) {
    if (from.kind == Kind::kStr) return T(in.bytes(from));
    in.mismatch(from, "str");
  } else if constexpr (kShape<T> == Shape::kBytes) {
    if (from.kind != Kind::kBytes) in.mismatch(from, "bytes");
    const std::string_view bytes = in.bytes(from);
    const auto* first = reinterpret_cast<const std::byte*>(bytes.data());
    return T(first, first + bytes.size());
  } else if constexpr (kShape<T> == Shape::kAny) {
    T value;
    unpickle_any(in, from, value);
    return value;
  } else if constexpr (kShape<T> == Shape::kSequence || kShape<T> == Shape::kSet) {
    constexpr bool kIsSet = kShape<T> == Shape::kSet;
    if (from.kind != (kIsSet ? Kind::kSet : Kind::kList) && from.kind != (kIsSet ? Kind::kFrozenset : Kind::kTuple)) {
      in.mismatch(from, type_name<T>());
    }
    T result;
    for (std::size_t i = 0; i < in.size(from); ++i) {
      result.insert(result.end(), unpickle<typename T::value_type>(in, in.element(from, i)));
    }
    return result;
  } else if constexpr (kShape<T> == Shape::kMap) {
    if (from.kind != Kind::kDict) in.mismatch(from, type_name<T>());
    T result;
    for (std::size_t i = 0; i + 1 < in.size(from); i += 2) {
      result.insert_or_assign(unpickle<typename T::key_type>(in, in.element(from, i)),
                              unpickle<typename T::mapped_type>(in, in.element(from, i + 1)));
    }
    return result;
  } else if constexpr (kShape<T> == Shape::kTuple || kIsArray<T>) {
    if ((from.kind != Kind::kTuple && from.kind != Kind::kList) || in.size(from) != std::tuple_size_v<T>) {
      in.mismatch(from, type_name<T>());
    }
    return unpickle_tuple<T>(in, from, std::make_index_sequence<std::tuple_size_v<T>>());
  } else if constexpr (kShape<T> == Shape::kOptional) {
    if (from.kind == Kind::kNone) return std::nullopt;
    return T(unpickle<typename T::value_type>(in, from));
  } else {
    in.mismatch(from, "a value of the type " + demangled(typeid(T)));
  }
}

}  // namespace commonhold::detail
