// What Process keeps: a function of any kind with its arguments.
#pragma once

#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

namespace commonhold::detail {

struct Child;  // process/child.h

template <typename First, typename... All>
inline constexpr bool kStartsWith = false;
template <typename First, typename Second, typename... Rest>
inline constexpr bool kStartsWith<First, Second, Rest...> = std::is_same_v<First, std::remove_cvref_t<Second>>;

struct Function {
  virtual ~Function() = default;
  virtual void run() = 0;
};

template <typename Target, typename... Arguments>
struct FunctionOf final : Function {
  template <typename GivenTarget, typename... Given>
  explicit FunctionOf(GivenTarget&& given, Given&&... rest)
      : target(std::forward<GivenTarget>(given)), arguments(std::forward<Given>(rest)...) {}
  void run() override {
    std::apply([this](auto&... each) { static_cast<void>(std::invoke(target, each...)); }, arguments);
  }
  Target target;
  std::tuple<Arguments...> arguments;
};

template <typename Target, typename... Arguments>
std::unique_ptr<Function> make_function(Target&& target, Arguments&&... arguments) {
  constexpr bool kCanKeep = (std::is_constructible_v<std::decay_t<Arguments>, Arguments> && ...);
  static_assert(
      kCanKeep,
      "a Process keeps copies of its arguments, and one of these, a Connection for example, cannot be copied: "
      "pass std::ref(it), which the child gets as it is at start(), or std::move(it)");
  if constexpr (kCanKeep) {
    using Made = FunctionOf<std::decay_t<Target>, std::decay_t<Arguments>...>;
    return std::make_unique<Made>(std::forward<Target>(target), std::forward<Arguments>(arguments)...);
  } else {
    return nullptr;
  }
}

}  // namespace commonhold::detail
