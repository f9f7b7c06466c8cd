// Any's conversions.
#pragma once

#include <commonhold/any.h>
#include <commonhold/detail/signature.h>

namespace commonhold {

template <typename T>
Any Any::from(const T& value) {
  using detail::Shape;
  constexpr Shape kShape = detail::kShape<T>;
  if constexpr (std::is_same_v<T, std::monostate>) {
    return Any();
  } else if constexpr (kShape < Shape::kSequence || kShape == Shape::kNone) {
    return Any(value);
  } else if constexpr (kShape == Shape::kOptional) {
    return value ? Any(*value) : Any();
  } else if constexpr (kShape == Shape::kMap) {
    Map map;
    for (const auto& [key, mapped] : value) map.insert_or_assign(Any(key), Any(mapped));
    return map;
  } else {
    List list;
    if constexpr (kShape == Shape::kTuple) {
      std::apply([&](const auto&... part) { (list.push_back(Any(part)), ...); }, value);
    } else {
      for (const auto& element : value) list.push_back(Any(static_cast<typename T::value_type>(element)));
    }
    return list;
  }
}

template <std::size_t kIndex, typename Variant>
bool Any::convert_to_alternative(Variant& value) const {
  std::variant_alternative_t<kIndex, Variant> alternative{};
  if (!convert(alternative)) return false;
  value.template emplace<kIndex>(std::move(alternative));
  return true;
}

// False: it is of another type.
template <typename T>
bool Any::convert(T& value) const {
  using detail::Shape;
  constexpr Shape kShape = detail::kShape<T>;
  if constexpr (std::is_same_v<T, Any>) {
    value = *this;
    return true;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!is_bool()) return false;
    value = std::get<bool>(value_);
    return true;
  } else if constexpr (std::is_enum_v<T>) {
    std::underlying_type_t<T> number;
    if (!convert(number)) return false;
    value = static_cast<T>(number);
    return true;
  } else if constexpr (std::is_integral_v<T>) {
    // std::in_range takes no character types.
    using Integer = std::conditional_t<std::is_signed_v<T>, std::make_signed_t<T>, std::make_unsigned_t<T>>;
    if (!is_int() || !std::in_range<Integer>(std::get<std::int64_t>(value_))) return false;
    value = static_cast<T>(std::get<std::int64_t>(value_));
    return true;
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!is_number()) return false;
    value = is_int() ? static_cast<T>(std::get<std::int64_t>(value_)) : static_cast<T>(std::get<double>(value_));
    return true;
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!is_text()) return false;
    value = std::get<std::string>(value_);
    return true;
  } else if constexpr (kShape == Shape::kTextLike) {
    if (!is_text()) return false;
    value = detail::TextForm<T>::make(std::get<std::string>(value_));
    return true;
  } else if constexpr (std::is_same_v<T, std::monostate>) {
    return is_null();
  } else if constexpr (std::is_same_v<T, Bytes>) {
    if (!is_bytes()) return false;
    value = std::get<Bytes>(value_);
    return true;
  } else if constexpr (kShape == Shape::kVariant) {  // the first alternative that it converts to
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return (convert_to_alternative<I>(value) || ...);
    }
    (std::make_index_sequence<std::variant_size_v<T>>());
  } else if constexpr (kShape == Shape::kOptional) {
    if (is_null()) return value = std::nullopt, true;
    typename T::value_type inner{};
    if (!convert(inner)) return false;
    value = std::move(inner);
    return true;
  } else if constexpr (kShape == Shape::kMap) {
    if (!is_map()) return false;
    value.clear();
    for (const auto& [key, mapped] : *std::get<std::shared_ptr<const Map>>(value_)) {
      typename T::key_type to_key{};
      typename T::mapped_type to_mapped{};
      if (!key.convert(to_key) || !mapped.convert(to_mapped)) return false;
      value.insert_or_assign(std::move(to_key), std::move(to_mapped));
    }
    return true;
  } else if constexpr (kShape == Shape::kTuple) {
    if (!is_list() || size() != std::tuple_size_v<T>) return false;
    const List& list = *std::get<std::shared_ptr<const List>>(value_);
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return (list[I].convert(std::get<I>(value)) && ...);
    }
    (std::make_index_sequence<std::tuple_size_v<T>>());
  } else if constexpr (kShape == Shape::kSequence || kShape == Shape::kSet) {
    if (!is_list()) return false;
    value.clear();
    for (const Any& element : *std::get<std::shared_ptr<const List>>(value_)) {
      typename T::value_type to{};
      if (!element.convert(to)) return false;
      value.insert(value.end(), std::move(to));
    }
    return true;
  } else {
    static_assert(kShape == Shape::kAny, "an Any holds no values of this type");
    return false;
  }
}

template <typename T>
bool Any::is() const {
  if constexpr (detail::Proxy<T>) {
    return is_reference() && refers_to(detail::request_of<T>());
  } else {
    T value{};
    return convert(value);
  }
}

template <typename T>
T Any::as() const {
  if constexpr (detail::Proxy<T>) {
    return detail::Access::make<T>(opened(detail::request_of<T>()));
  } else {
    T value{};
    if (!convert(value)) mismatch(detail::type_name<T>());
    return value;
  }
}

}  // namespace commonhold
