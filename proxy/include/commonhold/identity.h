// Shared objects as keys of this program's own containers: which object a proxy means, whatever it holds.
//
//   std::unordered_set<commonhold::Lock> held;                 // == of locks, queues and the like means the same object
//   std::map<commonhold::Queue<int>, int> load;
//   std::set<Dict<std::string, int>, commonhold::ObjectLess> seen;      // == of dicts compares what they hold
//   std::unordered_map<List<int>, int, commonhold::ObjectHash, commonhold::ObjectEqual> counts;
//
// Containers, Value, Array and Namespace compare their contents with ==, so they have no std::hash and no <; the three
// function objects take every proxy, Custom and Remote included.
//
// The order is a total one, the same in this process for as long as the objects are known to it; another process orders
// them otherwise. Nothing is read from the objects: they may be gone. Thread safety: any thread.
#pragma once

#include <compare>
#include <cstddef>
#include <functional>

#include <commonhold/detail/shape.h>

namespace commonhold {

struct ObjectHash {
  template <detail::Proxy T>
  std::size_t operator()(const T& object) const noexcept {
    return std::hash<std::shared_ptr<detail::Object>>()(detail::Access::handle(object).shared());
  }
};

struct ObjectEqual {
  template <detail::Proxy T>
  bool operator()(const T& a, const T& b) const noexcept {
    return detail::Access::handle(a) == detail::Access::handle(b);
  }
};

struct ObjectLess {
  template <detail::Proxy T>
  bool operator()(const T& a, const T& b) const noexcept {
    return detail::Access::handle(a).shared() < detail::Access::handle(b).shared();
  }
};

namespace detail {
// Proxies of which == says that they mean the same object.
template <typename T>
concept ComparedByIdentity = Proxy<T> && T::kComparedByIdentity;
}  // namespace detail

template <detail::ComparedByIdentity T>
std::strong_ordering operator<=>(const T& a, const T& b) noexcept {
  return detail::Access::handle(a).shared() <=> detail::Access::handle(b).shared();
}

}  // namespace commonhold

template <commonhold::detail::ComparedByIdentity T>
struct std::hash<T> : commonhold::ObjectHash {};
