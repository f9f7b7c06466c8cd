// Compound values as MessagePack: containers become arrays and maps, structs and user types extensions.
// Self-describing, so that tools and programs in other languages can read what a C++ program stored.
//
// Extensions: 1 = a struct's bytes, 2 = what a user's Codec wrote, 3 = a reference to a shared object: its ObjectId as
// a little-endian word. An item with references is a linked one: a word with their number and the ids come before the
// MessagePack, so that the server finds them without reading it. What is sent from process to process instead of being
// stored has 4 = an object's token in their place.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <commonhold/detail/links.h>
#include <commonhold/detail/plain.h>
#include <commonhold/detail/shape.h>

namespace commonhold::detail {

// How an object that is sent becomes a token.
using TokenFunction = std::function<std::string(const ObjectHandle&)>;

// How deep structs with lists of members stand in one another: LimitReached beyond kMostLevels.
class Nested {
 public:
  static constexpr unsigned kMostLevels = 500;
  explicit Nested(unsigned& levels) : levels_(levels) {
    if (levels_ == kMostLevels) refuse_depth();
    ++levels_;
  }
  ~Nested() { --levels_; }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

 private:
  [[noreturn]] static void refuse_depth();
  unsigned& levels_;
};

class Packer {
 public:
  Packer() = default;
  // For values with references, which are stored in `into`.
  explicit Packer(Object& into) : into_(&into) {}
  // For values that are sent to another process: references go as tokens, by default of what nobody else keeps until it
  // is received once.
  static Packer to_send(TokenFunction token = [](const ObjectHandle& object) { return token_in_flight(*object); }) {
    Packer out;
    out.token_ = std::move(token);
    return out;
  }

  void null();
  void boolean(bool value);
  void integer(std::int64_t value);
  void natural(std::uint64_t value);
  void real(double value);
  void text(std::string_view value);
  void bytes(std::string_view value);
  void sequence(std::size_t count);  // the elements follow
  void mapping(std::size_t count);   // key, value, key, value... follow
  void extension(std::int8_t type, std::string_view value);

  void link(const ObjectHandle& object);
  unsigned& levels() { return levels_; }

  std::string take() { return std::move(out_); }
  const std::vector<Word>& links() const { return links_; }
  // The links before what was packed.
  std::string take_linked();

 private:
  void head(unsigned char tag, std::uint64_t value, int bytes);
  Object* into_ = nullptr;
  TokenFunction token_;  // none: values are stored
  std::vector<Word> links_;
  std::string out_;
  unsigned levels_ = 0;
};

// Reads what Packer wrote; anything else throws CorruptSegment.
class Unpacker {
 public:
  explicit Unpacker(std::string_view bytes) : left_(bytes) {}
  // For what is stored in `from`; `linked`: with links before it.
  Unpacker(std::string_view bytes, Object& from, bool linked);
  // For what another process sent.
  static Unpacker received(std::string_view bytes) {
    Unpacker in(bytes);
    in.received_ = true;
    return in;
  }

  enum class Next { kNull, kBool, kInteger, kReal, kText, kBytes, kSequence, kMapping, kLink, kOther };
  Next next();
  bool null();  // consumes a null if there is one
  bool boolean();
  std::int64_t integer();
  std::uint64_t natural();
  double real();
  std::string_view text();
  std::string_view bytes();
  std::size_t sequence();
  std::size_t mapping();
  std::string_view extension(std::int8_t type);
  // The object of that type, which a reference of this process keeps alive. Throws LinkGone.
  ObjectHandle link(const ObjectRequest& request);
  void expect_count(std::size_t found, std::size_t expected) const;
  std::size_t index(std::size_t count);  // a number below count
  void end() const;                      // nothing may be left
  unsigned& levels() { return levels_; }

 private:
  std::uint64_t number(int bytes);
  std::string_view take(std::uint64_t size);
  unsigned char tag();
  std::size_t count(unsigned char found, unsigned char fix, unsigned char tag16);
  [[noreturn]] void refuse(const char* expected) const;
  bool has_token() const;
  std::string_view left_;
  Object* from_ = nullptr;
  bool received_ = false;
  unsigned levels_ = 0;
};

inline constexpr std::int8_t kStructExtension = 1;
inline constexpr std::int8_t kCodedExtension = 2;
inline constexpr std::int8_t kLinkExtension = 3;
inline constexpr std::int8_t kTokenExtension = 4;

[[noreturn]] void refuse_valueless();

// any.h
void pack_any(Packer& out, const Any& value);
template <typename T>
T unpack_any(Unpacker& in);

template <typename T>
void pack(Packer& out, const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    out.boolean(value);
  } else if constexpr (std::is_same_v<T, std::monostate>) {
    out.null();
  } else if constexpr (std::is_enum_v<T>) {
    pack(out, static_cast<std::underlying_type_t<T>>(value));
  } else if constexpr (std::is_floating_point_v<T> && kShape<T> == Shape::kWord) {
    out.real(value);
  } else if constexpr (kShape<T> == Shape::kWord && std::is_signed_v<T>) {
    out.integer(value);
  } else if constexpr (kShape<T> == Shape::kWord) {
    out.natural(value);
  } else if constexpr (kShape<T> == Shape::kText) {
    out.text(value);
  } else if constexpr (kShape<T> == Shape::kTextLike) {
    out.text(TextForm<T>::view(value));
  } else if constexpr (kShape<T> == Shape::kBytes) {
    out.bytes({reinterpret_cast<const char*>(value.data()), value.size()});
  } else if constexpr (kShape<T> == Shape::kStruct) {
    const PlainBytes<T> bytes(value);
    out.extension(kStructExtension, {static_cast<const char*>(bytes.data()), sizeof(T)});
  } else if constexpr (kShape<T> == Shape::kReference) {
    out.link(Access::handle(value));
  } else if constexpr (kShape<T> == Shape::kAny) {
    pack_any(out, value);
  } else if constexpr (kShape<T> == Shape::kCoded) {
    out.extension(kCodedExtension, Codec<T>::encode(value));
  } else if constexpr (kShape<T> == Shape::kMembers) {
    const Nested level(out.levels());
    out.sequence(Codec<T>::count);
    Codec<T>::apply(value, [&](const auto&... member) { (pack(out, member), ...); });
  } else if constexpr (kShape<T> == Shape::kVariant) {
    if (value.valueless_by_exception()) refuse_valueless();
    out.sequence(2);
    out.natural(value.index());
    std::visit([&](const auto& alternative) { pack(out, alternative); }, value);
  } else if constexpr (kShape<T> == Shape::kSequence || kShape<T> == Shape::kSet) {
    out.sequence(value.size());
    for (const auto& element : value) pack<typename T::value_type>(out, element);
  } else if constexpr (kShape<T> == Shape::kMap) {
    out.mapping(value.size());
    for (const auto& [key, mapped] : value) {
      pack(out, key);
      pack(out, mapped);
    }
  } else if constexpr (kShape<T> == Shape::kTuple) {
    out.sequence(std::tuple_size_v<T>);
    std::apply([&](const auto&... part) { (pack(out, part), ...); }, value);
  } else if constexpr (kShape<T> == Shape::kOptional) {
    // An engaged optional is an array of one, so that optional<optional<T>> keeps its meaning.
    if (!value) return out.null();
    out.sequence(1);
    pack(out, *value);
  }
  // Else its container refuses it (RequireStorable).
}

template <typename T>
T unpack(Unpacker& in);

template <typename Tuple, std::size_t... I>
Tuple unpack_tuple(Unpacker& in, std::index_sequence<I...>) {
  return Tuple{unpack<std::tuple_element_t<I, Tuple>>(in)...};  // braces: from left to right
}

template <typename T, std::size_t kIndex = 0>
T unpack_variant(Unpacker& in, std::size_t index) {
  if constexpr (kIndex + 1 < std::variant_size_v<T>) {
    if (index != kIndex) return unpack_variant<T, kIndex + 1>(in, index);
  }
  return T(std::in_place_index<kIndex>, unpack<std::variant_alternative_t<kIndex, T>>(in));
}

template <typename T>
T unpack(Unpacker& in) {
  if constexpr (std::is_same_v<T, bool>) {
    return in.boolean();
  } else if constexpr (std::is_same_v<T, std::monostate>) {
    in.expect_count(in.null() ? 0 : 1, 0);
    return {};
  } else if constexpr (std::is_enum_v<T>) {
    return static_cast<T>(unpack<std::underlying_type_t<T>>(in));
  } else if constexpr (std::is_floating_point_v<T> && kShape<T> == Shape::kWord) {
    return static_cast<T>(in.real());
  } else if constexpr (kShape<T> == Shape::kWord && std::is_signed_v<T>) {
    return static_cast<T>(in.integer());
  } else if constexpr (kShape<T> == Shape::kWord) {
    return static_cast<T>(in.natural());
  } else if constexpr (kShape<T> == Shape::kText) {
    return std::string(in.text());
  } else if constexpr (kShape<T> == Shape::kTextLike) {
    return TextForm<T>::make(in.text());
  } else if constexpr (kShape<T> == Shape::kBytes) {
    std::string_view bytes = in.bytes();
    auto* first = reinterpret_cast<const std::byte*>(bytes.data());
    return T(first, first + bytes.size());
  } else if constexpr (kShape<T> == Shape::kStruct) {
    std::string_view bytes = in.extension(kStructExtension);
    in.expect_count(bytes.size(), sizeof(T));
    std::array<std::byte, sizeof(T)> copy;
    std::memcpy(copy.data(), bytes.data(), sizeof(T));
    return std::bit_cast<T>(copy);
  } else if constexpr (kShape<T> == Shape::kReference) {
    return Access::make<T>(in.link(request_of<T>()));
  } else if constexpr (kShape<T> == Shape::kAny) {
    return unpack_any<T>(in);
  } else if constexpr (kShape<T> == Shape::kCoded) {
    return Codec<T>::decode(in.extension(kCodedExtension));
  } else if constexpr (kShape<T> == Shape::kMembers) {
    const Nested level(in.levels());
    in.expect_count(in.sequence(), Codec<T>::count);
    T result{};
    Codec<T>::apply(result,
                    [&](auto&... member) { ((member = unpack<std::remove_reference_t<decltype(member)>>(in)), ...); });
    return result;
  } else if constexpr (kShape<T> == Shape::kVariant) {
    in.expect_count(in.sequence(), 2);
    return unpack_variant<T>(in, in.index(std::variant_size_v<T>));
  } else if constexpr (kShape<T> == Shape::kSequence || kShape<T> == Shape::kSet) {
    T result;
    for (std::size_t left = in.sequence(); left != 0; --left) {
      result.insert(result.end(), unpack<typename T::value_type>(in));
    }
    return result;
  } else if constexpr (kShape<T> == Shape::kMap) {
    T result;
    for (std::size_t left = in.mapping(); left != 0; --left) {
      auto key = unpack<typename T::key_type>(in);
      result.insert_or_assign(std::move(key), unpack<typename T::mapped_type>(in));
    }
    return result;
  } else if constexpr (kShape<T> == Shape::kTuple) {
    in.expect_count(in.sequence(), std::tuple_size_v<T>);
    return unpack_tuple<T>(in, std::make_index_sequence<std::tuple_size_v<T>>());
  } else if constexpr (kShape<T> == Shape::kOptional) {
    if (in.null()) return T();
    in.expect_count(in.sequence(), 1);
    return T(unpack<typename T::value_type>(in));
  } else {
    throw;  // its container refuses it (RequireStorable)
  }
}

// A compound value, with references where it has some, as it is sent to another process.
template <typename T, typename... Token>
std::string pack_to_send(const T& value, Token&&... token) {
  Packer out = Packer::to_send(std::forward<Token>(token)...);
  pack(out, value);
  return out.take();
}
template <typename T>
T unpack_received(std::string_view bytes) {
  Unpacker in = Unpacker::received(bytes);
  T value = unpack<T>(in);
  in.end();
  return value;
}

}  // namespace commonhold::detail
