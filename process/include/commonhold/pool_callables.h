// What a pool's workers can run. A worker is a fork of this program, and tasks reach it as values. So a callable is
//
//   // any callable: workers that are forked after this line have it as it was at their fork
//   auto count = inherited([&](int n) { counts["n"] += n; });
//   Pool pool(4);
//   pool.map(count, numbers);
//
//   // a function; or a lambda without captures, or an object of a class without state
//   pool.map(square, numbers);
//   pool.map([](int n) { return n * n; }, numbers);
//
//   // one of these, with values that come before its arguments
//   pool.map(with_state([](const Table& table, int n) { return table.at(n); }, table), numbers);
//
//   // a lambda whose captures are copied as their bytes
//   pool.map(by_value([factor](int n) { return factor * n; }), numbers);
//
// Workers that are fresh images of the program (PoolOptions::fresh) inherit nothing, and take all but inherited().
//
// Everything else is refused when the program is compiled. The promise that comes with by_value is yours: the lambda
// captures values only. A captured pointer or reference would point into the worker's memory, where something else may
// be. What an inherited callable refers to must live as long as the pool, because a worker that died is replaced by a
// new fork.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include <commonhold/detail/portable_function.h>
#include <commonhold/detail/task_codec.h>

namespace commonhold {

template <typename Function, typename... State>
struct WithState {
  static_assert((detail::kCanCarry<State> && ...), "the state needs a stored form (codec.h), or to be a shared object");
  Function function;
  std::tuple<State...> state;
};
template <typename Function, typename... State>
WithState<std::decay_t<Function>, detail::Carried<State>...> with_state(Function&& function, State&&... state) {
  return {std::forward<Function>(function), {std::forward<State>(state)...}};
}

template <typename Function>
struct ByValue {
  static_assert(
      std::is_trivially_copyable_v<Function>,
      "by_value: a capture is no plain value (a std::string, a vector...); pass it with with_state(f, it), or "
      "make the callable inherited(f) before the pool");
  Function function;
};
template <typename Function>
ByValue<std::decay_t<Function>> by_value(Function&& function) {
  return {std::forward<Function>(function)};
}

namespace detail {
// Numbers the inherited callables of this process; a worker knows those up to the number at its fork.
std::uint64_t number_inherited() noexcept;
// In a worker: throws UsageError unless the callable of that number was there at the fork.
void require_inherited(std::uint64_t number);
}  // namespace detail

template <typename Function>
class Inherited {
 public:
  explicit Inherited(Function function)
      : function_(std::make_shared<Function>(std::move(function))), number_(detail::number_inherited()) {}
  const std::shared_ptr<Function>& function() const { return function_; }
  std::uint64_t number() const { return number_; }

 private:
  std::shared_ptr<Function> function_;
  std::uint64_t number_;
};
template <typename Function>
Inherited<std::decay_t<Function>> inherited(Function&& function) {
  return Inherited<std::decay_t<Function>>(std::forward<Function>(function));
}

namespace detail {

// A pointer to a function or member function.
template <typename Function>
inline constexpr bool kPointsToFunction =
    std::is_function_v<std::remove_pointer_t<Function>> || std::is_member_function_pointer_v<Function>;

// How a callable travels: write() in the parent; read() in the worker gives what is invoked.
template <typename Function>
struct Callable {
  static constexpr bool kPlain = kPointsToFunction<Function>;
  static_assert(kPlain || (std::is_empty_v<Function> && std::is_default_constructible_v<Function>),
                "a pool's workers cannot run this callable: it has captures or state. Give the state as values with "
                "with_state(f, values...); or copy its bytes with by_value(f); or make it inherited(f) before the pool "
                "is made (pool_callables.h)");
  static void write(TaskWriter& out, const Function& function) {
    if constexpr (kPlain) {
      const Function portable = PortablePointer<Function>::to_portable(function);
      out.raw(&portable, sizeof portable);
    }
  }
  static Function read(TaskReader& in) {
    if constexpr (kPlain) {
      return PortablePointer<Function>::to_local(in.raw<Function>());
    } else {
      return Function();
    }
  }
  static std::shared_ptr<void> keep(const Function&) { return nullptr; }
};

template <typename Function, typename... State>
struct Callable<WithState<Function, State...>> {
  struct Bound {
    Function function;
    std::tuple<State...> state;
    template <typename... Arguments>
    decltype(auto) operator()(Arguments&&... arguments) {
      return std::apply(
          [&](auto&... each) -> decltype(auto) {
            return std::invoke(function, each..., std::forward<Arguments>(arguments)...);
          },
          state);
    }
  };
  static void write(TaskWriter& out, const WithState<Function, State...>& bound) {
    Callable<Function>::write(out, bound.function);
    out.value(bound.state);
  }
  static Bound read(TaskReader& in) {
    Function function = Callable<Function>::read(in);
    return {std::move(function), in.value<std::tuple<State...>>()};
  }
  static std::shared_ptr<void> keep(const WithState<Function, State...>&) { return nullptr; }
};

template <typename Function>
struct Callable<ByValue<Function>> {
  static void write(TaskWriter& out, const ByValue<Function>& given) {
    if constexpr (kPointsToFunction<Function>) {
      Callable<Function>::write(out, given.function);
    } else {
      out.raw(&given.function, sizeof(Function));
    }
  }
  static Function read(TaskReader& in) {
    if constexpr (kPointsToFunction<Function>) {
      return Callable<Function>::read(in);
    } else {
      return in.raw<Function>();
    }
  }
  static std::shared_ptr<void> keep(const ByValue<Function>&) { return nullptr; }
};

template <typename Function>
struct Callable<Inherited<Function>> {
  static void write(TaskWriter& out, const Inherited<Function>& given) {
    out.value(given.number());
    out.value(reinterpret_cast<std::uintptr_t>(given.function().get()));
  }
  static std::reference_wrapper<Function> read(TaskReader& in) {
    require_inherited(in.value<std::uint64_t>());
    return *reinterpret_cast<Function*>(in.value<std::uintptr_t>());
  }
  // A task that is not done keeps it for workers that are forked meanwhile.
  static std::shared_ptr<void> keep(const Inherited<Function>& given) { return given.function(); }
};

template <typename Function>
using Callee = decltype(Callable<Function>::read(std::declval<TaskReader&>()));

}  // namespace detail

}  // namespace commonhold
