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

#include <commonhold/detail/item.h>
#include <commonhold/detail/message_pack.h>
#include <commonhold/detail/shape.h>

namespace commonhold::detail {

template <typename T>
constexpr ItemKind kind_of() {
  if constexpr (std::is_same_v<T, bool>) return ItemKind::kBool;
  if constexpr (std::is_floating_point_v<T> && kShape<T> == Shape::kWord) return ItemKind::kDouble;
  switch (kShape<T>) {
    case Shape::kWord:
      return ItemKind::kInt64;
    case Shape::kText:
      return ItemKind::kText;
    case Shape::kBytes:
      return ItemKind::kBytes;
    case Shape::kStruct:
      return ItemKind::kStruct;
    default:
      return ItemKind::kCompound;
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

// A T's stored form for the time of a call. The argument must outlive it.
template <typename T>
class Encoded {
 public:
  explicit Encoded(Argument<T> value) requires(kShape<T> >= Shape::kCoded) : bytes_(encode(value)) {}
  Item item() const { return {kKind<T>, bytes_.data(), bytes_.size()}; }

 private:
  static std::string encode(const T& value) {
    if constexpr (kShape<T> == Shape::kCoded) {
      return Codec<T>::encode(value);
    } else {
      Packer out;
      pack(out, value);
      return out.take();
    }
  }
  std::string bytes_;
};

template <typename T>
requires(kShape<T> == Shape::kWord) class Encoded<T> {
 public:
  explicit Encoded(T value) : word_(to_word(value)) {}
  Item item() const { return {kKind<T>, &word_, sizeof word_}; }

 private:
  Word word_;
};

template <typename T>
requires(kShape<T> == Shape::kText) class Encoded<T> {
 public:
  explicit Encoded(std::string_view value) : text_(value) {}
  Item item() const { return {ItemKind::kText, text_.data(), text_.size()}; }

 private:
  std::string_view text_;
};

template <typename T>
requires(kShape<T> == Shape::kBytes) class Encoded<T> {
 public:
  explicit Encoded(std::span<const std::byte> value) : bytes_(value) {}
  Item item() const { return {ItemKind::kBytes, bytes_.data(), bytes_.size()}; }

 private:
  std::span<const std::byte> bytes_;
};

template <typename T>
requires(kShape<T> == Shape::kStruct && std::has_unique_object_representations_v<T>) class Encoded<T> {
 public:
  explicit Encoded(const T& value) : value_(&value) {}
  Item item() const { return {ItemKind::kStruct, value_, sizeof(T)}; }

 private:
  const T* value_;
};

// A struct with padding: its padding bytes are cleared, so that equal values have equal bytes.
template <typename T>
requires(kShape<T> == Shape::kStruct && !std::has_unique_object_representations_v<T>) class Encoded<T> {
 public:
  explicit Encoded(const T& value) {
    std::memcpy(copy_, &value, sizeof(T));
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
    __builtin_clear_padding(reinterpret_cast<T*>(copy_));
#endif
#endif
  }
  Item item() const {
    return {ItemKind::kStruct, copy_, sizeof(T)};
  }

 private:
  alignas(T) std::byte copy_[sizeof(T)];
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
  if constexpr (kIsFixed<T>) {
    FixedBuffer<T> buffer;
    if (bytes.size() != buffer.size()) refuse_size(bytes.size(), buffer.size());
    std::memcpy(buffer.data(), bytes.data(), buffer.size());
    return buffer.value();
  } else if constexpr (kShape<T> == Shape::kText) {
    return std::string(bytes);
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

}  // namespace commonhold::detail
