// How a manager makes its objects and fills them.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include <commonhold/manager.h>

namespace commonhold {

template <typename Proxy, typename... Arguments>
Proxy Manager::anonymous(const Arguments&... arguments) const {
  return made<Proxy>(detail::Opening::kAnonymous, {}, arguments...);
}

template <typename Proxy, typename... Arguments>
Proxy Manager::made(detail::Opening opening, std::string_view name, const Arguments&... arguments) const {
  if constexpr (requires { Proxy::needs_filling(arguments...); }) {
    if (opening != detail::Opening::kOpen && Proxy::needs_filling(arguments...)) {
      return filled_then_named<Proxy>(opening, name, Proxy::request(arguments...),
                                      [&](const Proxy& made) { Proxy::fill(made, arguments...); });
    }
  }
  return detail::Access::make<Proxy>(detail::open_object(shared_state(), opening, name, Proxy::request(arguments...)));
}

// Nobody sees an object of that name before it is filled, and nobody one without its contents when this process dies.
template <typename Proxy, typename Fill>
Proxy Manager::filled_then_named(detail::Opening opening, std::string_view name, const detail::ObjectRequest& request,
                                 const Fill& fill) const {
  const bool or_open = opening == detail::Opening::kOpenOrCreate;
  if (or_open) {
    const detail::ObjectHandle present = detail::find_object(shared_state(), name, request);
    if (present) return detail::Access::make<Proxy>(present);
  }
  auto made =
      detail::Access::make<Proxy>(detail::open_object(shared_state(), detail::Opening::kAnonymous, {}, request));
  fill(made);
  if (opening == detail::Opening::kAnonymous) return made;
  return detail::Access::make<Proxy>(detail::name_object(shared_state(), *detail::Access::handle(made), name, or_open));
}

template <typename Proxy, typename Contents>
Proxy Manager::named_with(std::string_view name, const Contents& contents) const {
  return filled_then_named<Proxy>(detail::Opening::kOpenOrCreate, name, Proxy::request(),
                                  [&](const Proxy& made) { made.assign(contents); });
}

template <typename Proxy, typename Contents>
Proxy Manager::filled(Proxy proxy, const Contents& contents) {
  proxy.assign(contents);
  return proxy;
}

template <typename K, typename V>
Dict<K, V> Manager::of_literals(std::initializer_list<detail::LiteralEntry<K, V>> entries) const {
  std::vector<std::pair<K, V>> all;
  for (const auto& one : entries) all.push_back(one.entry);
  return dict<K, V>(all);
}

template <typename T>
void Manager::write_all(const Array<T>& array, const std::vector<T>& values) {
  if constexpr (std::is_same_v<T, bool>) {  // std::vector<bool> has no bools in a row
    const auto bools = std::make_unique<bool[]>(values.size());
    std::ranges::copy(values, bools.get());
    array.write(0, std::span<const bool>(bools.get(), values.size()));
  } else {
    array.write(0, values);
  }
}

template <typename AnyLock>
const AnyLock& Manager::own(const AnyLock& lock) const {
  detail::require_own(state(), *detail::Access::handle(lock), "a condition");
  return lock;
}

}  // namespace commonhold
