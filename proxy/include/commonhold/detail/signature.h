// The names of types in objects' signatures: "dict<text,int64>". Two programs agree on a type when the names agree.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <typeinfo>

#include <commonhold/detail/shape.h>

namespace commonhold::detail {

// The type's name as written in C++: "shop::Order".
std::string demangled(const std::type_info& type);

// "struct<shop::Order,24:i4 f8 i2>".
std::string struct_name(const std::type_info& type, std::size_t bytes, int version, const Layout& layout);

std::string version_text(int version);  // " v2", nothing for 0

// The parts, one behind the other.
std::string joined(std::initializer_list<std::string_view> parts);

// `text` as it is, or its beginning and a hash where it is longer than a signature may be.
std::string fitted_signature(std::string text);

// While a type is being named that may stand within itself: there its name is enough.
class NamedType {
 public:
  explicit NamedType(std::string_view name);
  ~NamedType();
  NamedType(const NamedType&) = delete;
  NamedType& operator=(const NamedType&) = delete;
  bool again() const { return again_; }

 private:
  bool again_;
};

template <typename T>
std::string type_name();

template <typename... T>
std::string type_names() {
  std::string all;
  ((all = all.empty() ? type_name<T>() : joined({all, ",", type_name<T>()})), ...);
  return all;
}

template <typename T>
std::string integer_name() {
  if constexpr (std::is_same_v<T, char>) {
    return "char";
  } else {
    return joined({std::is_signed_v<T> ? "int" : "uint", std::to_string(sizeof(T) * 8)});
  }
}

template <typename T>
struct ContainerName;
template <typename T>
requires(kContainerShape<T> == Shape::kSequence) struct ContainerName<T> {
  static std::string get() { return joined({"vector<", type_name<typename T::value_type>(), ">"}); }
};
template <typename T>
requires(kContainerShape<T> == Shape::kSet) struct ContainerName<T> {
  static std::string get() { return joined({"set<", type_name<typename T::value_type>(), ">"}); }
};
template <typename T>
requires(kContainerShape<T> == Shape::kMap) struct ContainerName<T> {
  static std::string get() {
    return joined({"map<", type_names<typename T::key_type, typename T::mapped_type>(), ">"});
  }
};
template <typename... T>
struct ContainerName<std::tuple<T...>> {
  static std::string get() { return joined({"tuple<", type_names<T...>(), ">"}); }
};
template <typename... T>
struct ContainerName<std::variant<T...>> {
  static std::string get() { return joined({"variant<", type_names<T...>(), ">"}); }
};
template <typename A, typename B>
struct ContainerName<std::pair<A, B>> {
  static std::string get() { return joined({"tuple<", type_names<A, B>(), ">"}); }
};
template <typename T, std::size_t N>
struct ContainerName<std::array<T, N>> {
  static std::string get() { return joined({"array<", type_name<T>(), ",", std::to_string(N), ">"}); }
};
template <typename T>
struct ContainerName<std::optional<T>> {
  static std::string get() { return joined({"optional<", type_name<T>(), ">"}); }
};

template <typename T>
std::string type_name() {
  if constexpr (!Storable<T>) {
    return {};  // its container refuses it
  } else if constexpr (kShape<T> == Shape::kCoded) {
    return std::string(Codec<T>::name);
  } else if constexpr (kShape<T> == Shape::kMembers) {
    const NamedType named(Codec<T>::name);
    if (named.again()) return std::string(Codec<T>::name);
    return []<typename... M>(const std::tuple<M...>*) {
      return joined({Codec<T>::name, version_text(layout_version<T>), "<", type_names<M...>(), ">"});
    }(static_cast<typename Codec<T>::member_types*>(nullptr));
  } else if constexpr (kShape<T> == Shape::kReference) {
    return T::request().signature;
  } else if constexpr (kShape<T> == Shape::kAny) {
    return "any";
  } else if constexpr (std::is_same_v<T, bool>) {
    return "bool";
  } else if constexpr (std::is_same_v<T, float>) {
    return "float";
  } else if constexpr (std::is_same_v<T, double>) {
    return "double";
  } else if constexpr (std::is_enum_v<T>) {
    return joined({"enum<", demangled(typeid(T)), ",", integer_name<std::underlying_type_t<T>>(), ">"});
  } else if constexpr (kShape<T> == Shape::kWord) {
    return integer_name<T>();
  } else if constexpr (kShape<T> == Shape::kText || kShape<T> == Shape::kTextLike) {
    return "text";
  } else if constexpr (kShape<T> == Shape::kBytes) {
    return "bytes";
  } else if constexpr (kShape<T> == Shape::kStruct) {
    return struct_name(typeid(T), sizeof(T), layout_version<T>, kLayout<T>);
  } else {
    return ContainerName<T>::get();
  }
}

}  // namespace commonhold::detail
