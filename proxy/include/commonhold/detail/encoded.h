// From C++ values to items and back. Words, texts, bytes and structs without padding are lent as they are;
// nothing is allocated for them.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <commonhold/detail/item.h>
#include <commonhold/detail/message_pack.h>
#include <commonhold/detail/plain.h>
#include <commonhold/detail/shape.h>
#include <commonhold/detail/tickets.h>

namespace commonhold::detail {

template <typename T>
constexpr ItemKind kind_of() {
  if constexpr (std::is_same_v<T, bool>) return ItemKind::kBool;
  if constexpr (std::is_floating_point_v<T> && kShape<T> == Shape::kWord) return ItemKind::kDouble;
  switch (kShape<T>) {
    case Shape::kWord:
      return ItemKind::kInt64;
    case Shape::kText:
    case Shape::kTextLike:
      return ItemKind::kText;
    case Shape::kBytes:
      return ItemKind::kBytes;
    case Shape::kStruct:
      return ItemKind::kStruct;
    case Shape::kReference:
      return ItemKind::kReference;
    default:
      return kMayLink<T> ? ItemKind::kLinked : ItemKind::kCompound;
  }
}
template <typename T>
inline constexpr ItemKind kKind = kind_of<T>();

template <typename T>
constexpr Word to_word(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::bit_cast<Word>(static_cast<double>(value));
  } else if constexpr (std::is_enum_v<T>) {
    return to_word(static_cast<std::underlying_type_t<T>>(value));
  } else {
    return static_cast<Word>(value);  // signed ones are extended by their sign
  }
}
template <typename T>
constexpr T from_word(Word word) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(std::bit_cast<double>(word));
  } else {
    return static_cast<T>(word);
  }
}

[[noreturn]] void refuse_size(std::size_t found, std::size_t expected);

// A T's stored form for the time of a call. The argument must outlive it. Values that may hold references say what they
// are stored in.
template <typename T>
class Encoded {
 public:
  explicit Encoded(Argument<T> value) requires(kShape<T> >= Shape::kCoded && !kMayLink<T>)
      : bytes_(tickets_.collect([&] { return encode(value); })) {}
  Encoded(Object& into, Argument<T> value) requires(kShape<T> >= Shape::kCoded)
      : bytes_(tickets_.collect([&] { return encode(into, value); })) {}
  Item item() const { return {kKind<T>, bytes_.data(), bytes_.size()}; }
  // Whether the call that was given the item has stored it, which it is told on.
  bool stored(bool is_stored) noexcept { return tickets_.stored(is_stored); }

 private:
  static std::string encode(Object& into, const T& value) {
    if constexpr (kMayLink<T>) {
      Packer out(into);
      pack(out, value);
      return out.take_linked();
    } else {
      return encode(value);
    }
  }
  static std::string encode(const T& value) {
    if constexpr (kShape<T> == Shape::kCoded) {
      return Codec<T>::encode(value);
    } else {
      Packer out;
      pack(out, value);
      return out.take();
    }
  }
  [[no_unique_address]] EncodedTickets<T> tickets_;
  std::string bytes_;
};

// Calls store(the value's item), and gives what it gives: whether the value was stored.
template <typename T, typename Store>
bool stored_in(Object& into, Argument<T> value, Store&& store) {
  Encoded<T> encoded(into, value);
  if constexpr (kHasTickets<T>) {
    return encoded.stored(store(encoded.item()));
  } else {
    return store(encoded.item());
  }
}

template <typename T>
requires(kShape<T> == Shape::kWord) class Encoded<T> {
 public:
  explicit Encoded(T value) : word_(to_word(value)) {}
  Encoded(Object&, T value) : Encoded(value) {}
  Item item() const { return {kKind<T>, &word_, sizeof word_}; }

 private:
  Word word_;
};

template <typename T>
requires(kShape<T> == Shape::kText) class Encoded<T> {
 public:
  explicit Encoded(std::string_view value) : text_(value) {}
  Encoded(Object&, std::string_view value) : Encoded(value) {}
  Item item() const { return {ItemKind::kText, text_.data(), text_.size()}; }

 private:
  std::string_view text_;
};

template <typename T>
requires(kShape<T> == Shape::kTextLike) class Encoded<T> {
 public:
  explicit Encoded(const T& value) : text_(TextForm<T>::view(value)) {}
  Encoded(Object&, const T& value) : Encoded(value) {}
  Item item() const { return {ItemKind::kText, text_.data(), text_.size()}; }

 private:
  std::string_view text_;
};

template <typename T>
requires(kShape<T> == Shape::kBytes) class Encoded<T> {
 public:
  explicit Encoded(std::span<const std::byte> value) : bytes_(value) {}
  Encoded(Object&, std::span<const std::byte> value) : Encoded(value) {}
  Item item() const { return {ItemKind::kBytes, bytes_.data(), bytes_.size()}; }

 private:
  std::span<const std::byte> bytes_;
};

template <typename T>
requires(kShape<T> == Shape::kStruct && std::has_unique_object_representations_v<T>) class Encoded<T> {
 public:
  explicit Encoded(const T& value) : value_(&value) {}
  Encoded(Object&, const T& value) : Encoded(value) {}
  Item item() const { return {ItemKind::kStruct, value_, sizeof(T)}; }

 private:
  const T* value_;
};

// A struct with padding: its padding bytes are cleared, so that equal values have equal bytes.
template <typename T>
requires(kShape<T> == Shape::kStruct && !std::has_unique_object_representations_v<T>) class Encoded<T> {
 public:
  Encoded(Object&, const T& value) : Encoded(value) {}
  explicit Encoded(const T& value) : bytes_(value) {}
  Item item() const { return {ItemKind::kStruct, bytes_.data(), sizeof(T)}; }

 private:
  PlainBytes<T> bytes_;
};

template <typename T>
requires(kShape<T> == Shape::kReference) class Encoded<T> {
 public:
  Encoded(Object& into, const T& value) : word_(link_word(into, Access::handle(value))) {}
  Item item() const { return {ItemKind::kReference, &word_, sizeof word_}; }

 private:
  Word word_;
};

// Equal keys have equal bytes: -0.0 is stored as 0.0.
template <typename T>
class EncodedKey : public Encoded<T> {
 public:
  explicit EncodedKey(Argument<T> key) : Encoded<T>(normal(key)) {}

 private:
  static Argument<T> normal(Argument<T> key) {
    if constexpr (std::is_floating_point_v<T> && kShape<T> == Shape::kWord) {
      return key == T(0) ? T(0) : key;
    } else {
      return key;
    }
  }
};

// Where a fixed-size T is read to.
template <typename T>
requires kIsFixed<T>
class FixedBuffer {
 public:
  void* data() { return bytes_.data(); }
  static constexpr std::size_t size() { return kShape<T> == Shape::kWord ? sizeof(Word) : sizeof(T); }
  T value() const {
    if constexpr (kShape<T> == Shape::kWord) {
      return from_word<T>(std::bit_cast<Word>(bytes_));
    } else {
      return std::bit_cast<T>(bytes_);
    }
  }

 private:
  alignas(8) alignas(T) std::array<std::byte, kShape<T> == Shape::kWord ? sizeof(Word) : sizeof(T)> bytes_;
};

// A value from its stored bytes.
template <typename T>
T decode(std::string_view bytes) {
  static_assert(!kMayLink<T>, "values that may hold references are decoded with the object they were read from");
  if constexpr (kIsFixed<T>) {
    FixedBuffer<T> buffer;
    if (bytes.size() != buffer.size()) refuse_size(bytes.size(), buffer.size());
    std::memcpy(buffer.data(), bytes.data(), buffer.size());
    return buffer.value();
  } else if constexpr (kShape<T> == Shape::kText) {
    return std::string(bytes);
  } else if constexpr (kShape<T> == Shape::kTextLike) {
    return TextForm<T>::make(bytes);
  } else if constexpr (kShape<T> == Shape::kBytes) {
    auto* first = reinterpret_cast<const std::byte*>(bytes.data());
    return T(first, first + bytes.size());
  } else if constexpr (kShape<T> == Shape::kCoded) {
    return Codec<T>::decode(bytes);
  } else {
    Unpacker in(bytes);
    T value = unpack<T>(in);
    in.end();
    return value;
  }
}

// The same for a value that was read in `from`. Throws LinkGone (links.h).
template <typename T>
T decode(Object& from, ItemKind kind, std::string_view bytes) {
  if constexpr (kShape<T> == Shape::kAny) {
    return T::decode(from, kind, bytes);
  } else if constexpr (kShape<T> == Shape::kReference) {
    Word id = 0;
    if (bytes.size() != sizeof id) refuse_size(bytes.size(), sizeof id);
    std::memcpy(&id, bytes.data(), sizeof id);
    return Access::make<T>(open_link(from, id, request_of<T>()));
  } else if constexpr (kMayLink<T>) {
    Unpacker in(bytes, from, true);
    T value = unpack<T>(in);
    in.end();
    return value;
  } else {
    return decode<T>(bytes);
  }
}
template <typename T>
T decode(Object& from, const StoredItem& item) {
  return decode<T>(from, item.kind, item.bytes);
}

// A value from the bytes that were taken out of an object, without an allocation that could fail: a text's bytes become
// the value.
template <typename T>
requires(!kDecodedFirst<T>) T taken_value(std::string&& bytes) {
  if constexpr (kShape<T> == Shape::kText) {
    return std::move(bytes);
  } else {
    return decode<T>(bytes);
  }
}

}  // namespace commonhold::detail
