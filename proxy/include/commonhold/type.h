// Type<T>: a class of yours that lives in the server, with its methods called by clients.
//
//   class Counter { public: explicit Counter(int start); int add(int n); ... };
//
//   commonhold::Type<Counter> counter_type("Counter");      // before the server starts
//   counter_type.constructor<int>().method("add", &Counter::add).method("reset", [](Counter& c) { c = Counter(0); });
//
//   commonhold::Manager manager;                            // forks its server off: it knows what was registered
//   auto counter = manager.custom("Counter", 5);            // or manager.make<Counter>(5)
//   counter.call<int>("add", 3);
//
// WHO MUST REGISTER. The server's program, before it starts:
//   - a program that runs a commonhold::Server, or
//   - one whose Manager forks its server off: it has one thread at that moment and uses no other manager, or
//   - any other program whose main() registers its types and then calls commonhold::serve_if_asked(), before anything
//     else: its Manager executes the program once more, which becomes the server in that call.
// Everywhere else custom() is a RemoteError that says so. Clients need no registration for Custom; for Remote<T> they
// register the class too.
//
// Only what method() names can be called. Arguments and results are of types that can be stored (codec.h), or proxies:
// a method that gives a proxy gives a reference. Manager::serving() makes new objects inside of methods.
//
// Methods run on threads of the server, several at once, those of one object too: make the class safe for that, or say
// exclusive(), and one method of an object runs at a time. A method that waits holds up its caller alone. What it
// throws reaches the caller as a RemoteError. Destructors run on a thread of the server too.
#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include <commonhold/custom.h>
#include <commonhold/detail/encoded.h>
#include <commonhold/detail/message_pack.h>

namespace commonhold {

// Where this program was executed to be a manager's server, serves and ends it; else returns at once. To be called at
// the beginning of main(), when the types are registered.
void serve_if_asked();

namespace detail {

// Results go to `out`; what they refer to must live as long as `keep`.
struct MethodCall {
  Unpacker& arguments;
  Packer& out;
  std::shared_ptr<void>& keep;
};
using ConstructorBody = std::function<std::shared_ptr<void>(Unpacker& arguments)>;
using MethodBody = std::function<void(void* object, MethodCall& call)>;

void register_type(const std::type_info& type, const std::string& name);
void register_constructor(const std::string& type, std::size_t arguments, ConstructorBody body);
void register_method(const std::string& type, const std::string& name, std::size_t arguments, MethodBody body,
                     const void* pointer, std::size_t pointer_size);
void register_exclusive(const std::string& type);

template <typename... A>
std::tuple<std::remove_cvref_t<A>...> unpack_arguments(Unpacker& in) {
  return std::tuple<std::remove_cvref_t<A>...>{unpack_argument<std::remove_cvref_t<A>>(in)...};  // from left to right
}

template <typename R, typename Invoke>
void give_result(MethodCall& call, Invoke&& invoke) {
  if constexpr (std::is_void_v<R>) {
    invoke();
    call.out.null();
  } else {
    auto result = std::make_shared<std::remove_cvref_t<R>>(invoke());
    pack_argument(call.out, *result);
    call.keep = std::move(result);
  }
}

template <typename T, typename R, typename... A, typename Fn>
MethodBody method_body(Fn fn) {
  return [fn = std::move(fn)](void* object, MethodCall& call) {
    auto arguments = unpack_arguments<A...>(call.arguments);
    give_result<R>(call, [&]() -> R {
      return std::apply(
          [&](auto&... argument) -> R {
            return std::invoke(fn, *static_cast<T*>(object), static_cast<std::remove_cvref_t<A>&&>(argument)...);
          },
          arguments);
    });
  };
}

// The call operator of a lambda that takes the object first.
template <typename T, typename L, typename R, typename Self, typename... A>
void register_callable(const std::string& type, const std::string& name, L fn, R (L::*)(Self, A...) const) {
  static_assert(std::is_same_v<std::remove_cvref_t<Self>, T>, "the first parameter of a method is its object");
  register_method(type, name, sizeof...(A), method_body<T, R, A...>(std::move(fn)), nullptr, 0);
}

}  // namespace detail

template <typename T>
class Type {
 public:
  explicit Type(std::string name) : name_(std::move(name)) { detail::register_type(typeid(T), name_); }

  // T(arguments...). One for each number of arguments.
  template <typename... A>
  Type& constructor() {
    return constructor_with<A...>([](A... arguments) { return std::make_shared<T>(std::forward<A>(arguments)...); });
  }
  // factory(arguments...) gives a std::shared_ptr<T>: one that it gave before is the same object for all.
  template <typename... A, typename Factory>
  Type& constructor_with(Factory factory) {
    detail::register_constructor(name_, sizeof...(A), [factory](detail::Unpacker& in) -> std::shared_ptr<void> {
      auto arguments = detail::unpack_arguments<A...>(in);
      return std::apply(
          [&](auto&... argument) -> std::shared_ptr<T> {
            return factory(static_cast<std::remove_cvref_t<A>&&>(argument)...);
          },
          arguments);
    });
    return *this;
  }

  template <typename R, typename C, typename... A>
  Type& method(const std::string& name, R (C::*fn)(A...)) {
    detail::register_method(name_, name, sizeof...(A), detail::method_body<T, R, A...>(fn), &fn, sizeof fn);
    return *this;
  }
  template <typename R, typename C, typename... A>
  Type& method(const std::string& name, R (C::*fn)(A...) const) {
    detail::register_method(name_, name, sizeof...(A), detail::method_body<T, R, A...>(fn), &fn, sizeof fn);
    return *this;
  }
  // [](T& object, arguments...) { ... }
  template <typename Fn>
  requires requires { &Fn::operator(); }
  Type& method(const std::string& name, Fn fn) {
    detail::register_callable<T>(name_, name, std::move(fn), &Fn::operator());
    return *this;
  }

  Type& exclusive() {
    detail::register_exclusive(name_);
    return *this;
  }

 private:
  std::string name_;
};

}  // namespace commonhold
