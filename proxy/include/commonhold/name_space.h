// Namespace: attributes with names, of whatever type, that all processes of a manager share.
//
//   auto global = manager.ns({{"x", 10}});
//   global["y"] = "hello";
//   int x = global.get<int>("x");
//   global["x"] += 1;                              // atomically
//   std::cout << global;                           // Namespace(x=11, y="hello")
//
// A Namespace is a reference: copies mean the same shared object, and const ones change it as well. any.h says what an
// attribute can be. Names that begin with an underscore are stored as all others and left out where it is printed.
//
// Thread safety: any thread of any process; each call is atomic. When a process dies: each call it made has happened
// as a whole or not at all, and nobody is held up.
#pragma once

#include <initializer_list>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <commonhold/any.h>
#include <commonhold/detail/element_reference.h>
#include <commonhold/detail/object_handle.h>
#include <commonhold/errors.h>
#include <commonhold/watch.h>

namespace commonhold {

class Namespace {
 public:
  using reference = detail::ElementReference<Namespace, std::string, Any>;

  // AttributeError, which is a KeyError, when there is none of that name.
  Any at(std::string_view name) const;
  Any get(std::string_view name) const { return at(name); }
  template <typename T>
  T get(std::string_view name) const {
    return at(name).as<T>();
  }
  std::optional<Any> find(std::string_view name) const;
  bool has(std::string_view name) const;
  void set(std::string_view name, const Any& value) const;
  // AttributeError when there is none.
  void del(std::string_view name) const;
  // A place to read, assign and add to: ns["x"], ns["x"] = v, ns["x"] += n.
  reference operator[](std::string_view name) const { return {*this, std::string(name)}; }
  // Stores fn(value) and gives it; fn is called again when somebody changed the value meanwhile. AttributeError.
  template <std::invocable<Any> Fn>
  Any update(std::string_view name, Fn&& fn) const {
    return update_element(name, fn);
  }
  // Several attributes atomically.
  void update(const std::map<std::string, Any>& attributes) const;

  // All of them at one moment, by name; those that begin with an underscore too.
  std::map<std::string, Any> items() const;

  friend bool operator==(const Namespace& a, const Namespace& b) {
    return a.handle_ == b.handle_ || a.items() == b.items();
  }
  // Namespace(a=1, b="two")
  friend std::ostream& operator<<(std::ostream& out, const Namespace& space);

  // ---- waiting for changes (watch.h)

  // Of one attribute, there or not: set, changed or deleted.
  Watch watch(std::string_view name) const;
  // Of any attribute.
  Watch watch() const { return detail::watch(handle_); }

  // ---- the object

  std::string name() const { return detail::name_of(*handle_); }
  std::string token() const { return detail::token_of(*handle_); }
  bool same_as(const Namespace& other) const { return handle_ == other.handle_; }
  static detail::ObjectRequest request() { return {detail::ObjectKind::kNamespace, "namespace", {1}}; }

 private:
  friend struct detail::Access;
  template <typename, typename, typename, typename>
  friend class detail::ElementReference;
  explicit Namespace(detail::ObjectHandle handle) : handle_(std::move(handle)) {}

  void put_element(std::string_view name, const Any& value) const { set(name, value); }
  template <typename Fn>
  Any update_element(std::string_view name, Fn&& fn) const {
    for (;;) {
      const Any seen = at(name);
      Any next = fn(seen);
      if (replaced(name, seen, next)) return next;
    }
  }
  bool replaced(std::string_view name, const Any& seen, const Any& next) const;

  detail::ObjectHandle handle_;
};

}  // namespace commonhold
