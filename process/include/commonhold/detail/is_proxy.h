// Which types are proxies of shared objects: those travel as their tokens.
#pragma once

#include <concepts>
#include <string>

#include <commonhold/detail/object_handle.h>

namespace commonhold::detail {

template <typename T>
concept IsProxy = requires(const T& proxy) {
  { proxy.token() } -> std::same_as<std::string>;
  { T::request() } -> std::same_as<ObjectRequest>;
};

}  // namespace commonhold::detail
