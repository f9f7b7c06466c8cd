// Custom and Remote<T>: objects of a program's own types, which live in the server; type.h registers them.
//
//   auto counter = manager.custom("Counter", 5);       // Counter(5), in the server
//   int now = counter.call<int>("add", 3);             // 8
//
//   auto same = manager.make<Counter>(5);              // where this program knows the class: Remote<Counter>
//   int now = same.call<&Counter::add>(3);             // its result's type is the method's
//
// Every call goes to the server and waits for the method, however long that takes; calls of other threads and processes
// go on meanwhile. Arguments and results are copied, proxies among them are references. What a method throws is a
// RemoteError that names the class, the method, the exception's type and its text.
//
// An object of a custom type is the one thing that is not in shared memory: it ends with the last reference to it, like
// all others, but also with its server. Then a call throws ObjectGone, also when another server has taken over.
//
// Thread safety: any thread of any process. When a caller dies the method runs on, and its result is dropped.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include <commonhold/detail/encoded.h>
#include <commonhold/detail/manager_calls.h>
#include <commonhold/detail/message_pack.h>
#include <commonhold/errors.h>

namespace commonhold {

namespace detail {

template <typename T>
void pack_argument(Packer& out, const T& value) {
  if constexpr (std::is_convertible_v<const T&, std::string_view> && !std::is_same_v<T, std::string>) {
    out.text(value);
  } else {
    pack<T>(out, value);
  }
}
template <typename... T>
void pack_arguments(Packer& out, const T&... values) {
  out.sequence(sizeof...(values));
  (pack_argument(out, values), ...);
}
// As unpack, but a floating point number may have come as an integer.
template <typename T>
T unpack_argument(Unpacker& in) {
  if constexpr (std::is_floating_point_v<T> && kShape<T> == Shape::kWord) {
    if (in.next() == Unpacker::Next::kInteger) return static_cast<T>(in.integer());
  }
  return unpack<T>(in);
}

using PackArguments = std::function<void(Packer& out)>;
ObjectHandle open_custom(const std::shared_ptr<ManagerState>& manager, Opening opening, std::string_view name,
                         std::string_view type, const PackArguments& arguments);
// Calls read(result) where the result's references are still kept.
void call_custom(Object& object, const std::string& method, const PackArguments& arguments,
                 const std::function<void(Unpacker& in)>& read);
std::vector<std::string> custom_methods(Object& object);
std::shared_ptr<ManagerState> serving_manager();

// What this program registered (type.h). UsageError when it did not.
std::string registered_name(const std::type_info& type);
std::string registered_method(const std::type_info& type, const void* pointer, std::size_t size);

template <typename Method>
struct MethodResult;
template <typename R, typename T, typename... A>
struct MethodResult<R (T::*)(A...)> {
  using type = std::remove_cvref_t<R>;
};
template <typename R, typename T, typename... A>
struct MethodResult<R (T::*)(A...) const> {
  using type = std::remove_cvref_t<R>;
};

}  // namespace detail

class Custom {
 public:
  // The method's result as an R, which is nothing by default. RemoteError, ObjectGone, ServerGone, TypeMismatch.
  template <typename R = void, typename... Arguments>
  R call(const std::string& method, const Arguments&... arguments) const {
    const auto pack = [&](detail::Packer& out) { detail::pack_arguments(out, arguments...); };
    if constexpr (std::is_void_v<R>) {
      detail::call_custom(*handle_, method, pack, {});
    } else {
      std::optional<R> result;
      detail::call_custom(*handle_, method, pack,
                          [&](detail::Unpacker& in) { result.emplace(detail::unpack_argument<R>(in)); });
      return *std::move(result);
    }
  }
  // The names that call() takes.
  std::vector<std::string> methods() const { return detail::custom_methods(*handle_); }

  friend bool operator==(const Custom& a, const Custom& b) { return a.handle_ == b.handle_; }
  bool same_as(const Custom& other) const { return *this == other; }
  static constexpr bool kComparedByIdentity = true;  // so std::hash and < are there, too (identity.h)
  // <custom<Counter> "name">
  friend std::ostream& operator<<(std::ostream& out, const Custom& custom) {
    return out << '<' << detail::description_of(*custom.handle_) << '>';
  }

  // ---- the object

  std::string name() const { return detail::name_of(*handle_); }
  std::string token() const { return detail::token_of(*handle_); }
  std::string signature() const { return detail::signature_of(*handle_); }
  static detail::ObjectRequest request() { return {detail::ObjectKind::kCustom, "custom", {}}; }

 private:
  friend class Manager;
  friend struct detail::Access;
  template <typename>
  friend class Remote;
  explicit Custom(detail::ObjectHandle handle) : handle_(std::move(handle)) {}
  detail::ObjectHandle handle_;
};

template <typename T>
class Remote {
 public:
  template <auto kMethod, typename... Arguments>
  auto call(const Arguments&... arguments) const {
    using Result = typename detail::MethodResult<decltype(kMethod)>::type;
    constexpr auto kPointer = kMethod;
    return object_.call<Result>(detail::registered_method(typeid(T), &kPointer, sizeof kPointer), arguments...);
  }
  template <typename R = void, typename... Arguments>
  R call(const std::string& method, const Arguments&... arguments) const {
    return object_.call<R>(method, arguments...);
  }
  const Custom& untyped() const { return object_; }

  friend bool operator==(const Remote& a, const Remote& b) { return a.object_ == b.object_; }
  bool same_as(const Remote& other) const { return *this == other; }
  static constexpr bool kComparedByIdentity = true;  // so std::hash and < are there, too (identity.h)
  friend std::ostream& operator<<(std::ostream& out, const Remote& remote) { return out << remote.object_; }

  std::string name() const { return object_.name(); }
  std::string token() const { return object_.token(); }
  static detail::ObjectRequest request() {
    return {detail::ObjectKind::kCustom, "custom<" + detail::registered_name(typeid(T)) + ">", {}};
  }

 private:
  friend class Manager;
  friend struct detail::Access;
  explicit Remote(Custom object) : object_(std::move(object)), handle_(object_.handle_) {}
  explicit Remote(detail::ObjectHandle handle) : object_(handle), handle_(std::move(handle)) {}
  Custom object_;
  detail::ObjectHandle handle_;
};

}  // namespace commonhold
