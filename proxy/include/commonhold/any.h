// Any: a value of whatever type, for dicts and lists that hold different things side by side.
//
//   auto settings = manager.dict<std::string, commonhold::Any>();
//   settings["port"] = 8080;
//   settings["hosts"] = commonhold::Any::list("a", "b", 3);
//   settings["log"] = manager.list<std::string>();           // a reference: the list itself, not a copy
//   int port = settings.at("port").as<int>();
//   auto log = settings.at("log").as<List<std::string>>();
//
// It holds null, a bool, a 64-bit integer, a double, text, bytes, a list or a map of such, or a reference to a shared
// object, which lives as long as something refers to it. Each is stored as what it is, so that programs that know no
// C++ types read the same values.
//
// A copy is cheap: lists and maps are shared and never change. Thread safety: as a value's.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <commonhold/detail/encoded.h>
#include <commonhold/detail/object_handle.h>
#include <commonhold/errors.h>

namespace commonhold {

class Any {
 public:
  enum class Type { kNull, kBool, kInt, kReal, kText, kBytes, kList, kMap, kReference };
  using Bytes = std::vector<std::byte>;
  using List = std::vector<Any>;
  using Map = std::map<Any, Any>;
  static constexpr unsigned kMaxLevels = 128;  // of lists and maps in one another

  // ---- from values

  Any() = default;  // null
  Any(const Any&) = default;
  Any(Any&& other) noexcept : value_(std::exchange(other.value_, nullptr)) {}  // the other one is null afterwards
  Any& operator=(const Any&) = default;
  Any& operator=(Any&& other) noexcept {
    value_ = std::exchange(other.value_, nullptr);
    return *this;
  }
  Any(std::nullptr_t) {}
  Any(bool value) : value_(value) {}
  // ValueError above 2^63 - 1.
  template <typename T>
  requires(std::is_integral_v<T> && !std::is_same_v<T, bool>) Any(T value) : value_(fitted(value)) {}
  template <typename T>
  requires std::is_enum_v<T> Any(T value) : Any(static_cast<std::underlying_type_t<T>>(value)) {}
  // A long double is rounded to a double; ValueError when it is too large for one.
  template <typename T>
  requires std::is_floating_point_v<T> Any(T value) : value_(rounded(value)) {}
  Any(const char* text) : value_(std::string(text)) {}
  Any(std::string_view text) : value_(std::string(text)) {}
  Any(std::string text) : value_(std::move(text)) {}
  Any(Bytes bytes) : value_(std::move(bytes)) {}
  // LimitReached when it would be nested in more than kMaxLevels levels: a list of numbers is one level.
  Any(List list) : value_(nested(std::move(list))) {}
  Any(Map map) : value_(nested(std::move(map))) {}
  // Containers, tuples and optionals of such values.
  template <typename T>
  requires(detail::kShape<T> >= detail::Shape::kSequence && detail::kShape<T> < detail::Shape::kNone &&
           !std::is_same_v<T, List> && !std::is_same_v<T, Map>) Any(const T& value)
      : Any(from(value)) {}
  // std::u8string and std::filesystem::path: a text. std::variant: what its alternative is.
  template <typename T>
  requires(detail::kShape<T> == detail::Shape::kTextLike) Any(const T& text)
      : value_(std::string(detail::TextForm<T>::view(text))) {}
  template <typename... T>
  Any(const std::variant<T...>& value)
      : Any(std::visit([](const auto& alternative) { return from(alternative); }, value)) {}
  // A reference to a shared object.
  template <detail::Proxy T>
  Any(const T& object) : value_(detail::Access::handle(object)) {}

  template <typename... Values>
  static Any list(const Values&... values) {
    return List{Any(values)...};
  }
  static Any map(std::initializer_list<std::pair<const Any, Any>> entries) { return Map(entries); }

  // ---- what it is

  Type type() const { return static_cast<Type>(value_.index()); }
  bool is_null() const { return type() == Type::kNull; }
  bool is_bool() const { return type() == Type::kBool; }
  bool is_int() const { return type() == Type::kInt; }
  bool is_real() const { return type() == Type::kReal; }
  bool is_number() const { return is_int() || is_real(); }
  bool is_text() const { return type() == Type::kText; }
  bool is_bytes() const { return type() == Type::kBytes; }
  bool is_list() const { return type() == Type::kList; }
  bool is_map() const { return type() == Type::kMap; }
  bool is_reference() const { return type() == Type::kReference; }
  // "int", "text", "dict<text,int64>" for a reference to one.
  std::string type_name() const;

  // True when as<T>() gives a value.
  template <typename T>
  bool is() const;
  // The value as a T: an integer as any integer type that it fits in, and as a floating point number; lists and maps
  // as containers whose elements convert; references as the proxy of their object. TypeMismatch that names both.
  template <typename T>
  T as() const;
  // The same for what a list or map holds. IndexError, KeyError.
  const Any& at(std::size_t index) const;
  const Any& at(std::string_view key) const;
  // Elements of a list or map, bytes of a text; TypeMismatch for what has no size.
  std::size_t size() const;

  // Integers wrap around, texts and lists are joined; with a floating point number the sum is one. TypeMismatch.
  Any& operator+=(const Any& other);

  // Equal when type and value are; references when they mean the same object. Values of different types are ordered by
  // type, references by their object.
  friend bool operator==(const Any& a, const Any& b);
  friend std::weak_ordering operator<=>(const Any& a, const Any& b);

  // null, true, 5, 2.5, "text", <2 bytes: 00 ff>, [1, "a"], {"k": 1}, <list<int64> 7.1> for a reference
  friend std::ostream& operator<<(std::ostream& out, const Any& value);

  // ---- for the library
  static Any decode(detail::Object& from, detail::ItemKind kind, std::string_view bytes);
  // What another process sent (Encoded::to_send).
  static Any received(detail::ItemKind kind, std::string_view bytes);
  void pack(detail::Packer& out) const;
  static Any unpack(detail::Unpacker& in);

 private:
  friend class detail::Encoded<Any>;
  using Value = std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, Bytes,
                             std::shared_ptr<const List>, std::shared_ptr<const Map>, detail::ObjectHandle>;

  // What every list and map is made as: each walk over a value goes as deep as it is nested.
  template <typename Container>
  struct Nested : Container {
    Nested(Container values, unsigned deep) : Container(std::move(values)), levels(deep) {}
    unsigned levels;
  };
  static std::shared_ptr<const List> nested(List list);
  static std::shared_ptr<const Map> nested(Map map);
  unsigned levels() const;  // 0 for what is no list or map
  static Any unpack(detail::Unpacker& in, unsigned levels);

  template <typename T>
  static std::int64_t fitted(T value) {
    if constexpr (std::is_unsigned_v<T> && sizeof(T) == sizeof(std::int64_t)) {
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) refuse_number(value);
    }
    return static_cast<std::int64_t>(value);
  }
  template <typename T>
  static double rounded(T value) {
    const auto number = static_cast<double>(value);
    if constexpr (sizeof(T) > sizeof(double)) {
      using Double = std::numeric_limits<double>;
      const bool is_finite = value >= std::numeric_limits<T>::lowest() && value <= std::numeric_limits<T>::max();
      if (is_finite && (number < Double::lowest() || number > Double::max())) refuse_real(value);
    }
    return number;
  }
  template <typename T>
  static Any from(const T& value);
  template <std::size_t kIndex, typename Variant>
  bool convert_to_alternative(Variant& value) const;
  template <typename T>
  bool convert(T& value) const;
  [[noreturn]] static void refuse_number(std::uint64_t value);
  [[noreturn]] static void refuse_real(long double value);
  [[noreturn]] void mismatch(const std::string& wanted) const;
  static Any decode_item(detail::Object* from, detail::ItemKind kind, std::string_view bytes);
  detail::ObjectHandle opened(const detail::ObjectRequest& request) const;
  bool refers_to(const detail::ObjectRequest& request) const;

  Value value_;
};

namespace detail {

// Each value is an item of its own kind.
template <>
class Encoded<Any> {
 public:
  Encoded(Object& into, const Any& value) { encode(&into, value); }
  explicit Encoded(const Any& value) { encode(nullptr, value); }  // UsageError where it refers to an object
  // As it is sent to another process: references go as tokens.
  static Encoded to_send(const Any& value);
  Item item() const { return {kind_, kind_ == ItemKind::kText ? text_->data() : data(), size()}; }

 private:
  Encoded() = default;
  void encode(Object* into, const Any& value);
  const void* data() const { return is_word_ ? static_cast<const void*>(&word_) : bytes_.data(); }
  std::size_t size() const {
    return kind_ == ItemKind::kText ? text_->size() : is_word_ ? sizeof word_ : bytes_.size();
  }

  ItemKind kind_ = ItemKind::kNull;
  bool is_word_ = false;
  Word word_ = 0;
  const std::string* text_ = nullptr;  // lent by the value
  std::string bytes_;
};

inline void pack_any(Packer& out, const Any& value) {
  value.pack(out);
}
template <typename T>
T unpack_any(Unpacker& in) {
  return T::unpack(in);
}

}  // namespace detail

}  // namespace commonhold

#include <commonhold/detail/any_inline.h>
