// How a function is found again in a fresh image of the program: by its own type's name, which the same program has
// again. Nothing is written down but `Process::fresh<function>`: that alone enters it in the table, before main().
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include <commonhold/detail/message_pack.h>
#include <commonhold/detail/tickets.h>

namespace commonhold::detail {

// Ends them unless they are on their way: then whoever reads them does.
class UnsentTickets {
 public:
  explicit UnsentTickets(std::vector<NotedTicket> all) : all_(std::move(all)) {}
  ~UnsentTickets() {
    for (const NotedTicket& ticket : all_) ticket.end(ticket.text);
  }
  UnsentTickets(const UnsentTickets&) = delete;
  UnsentTickets& operator=(const UnsentTickets&) = delete;
  void are_sent() noexcept { all_.clear(); }

 private:
  std::vector<NotedTicket> all_;
};

// What a fresh process is to do.
struct FreshCall {
  const char* entry = nullptr;
  std::string arguments;
  std::shared_ptr<UnsentTickets> tickets;  // among the arguments
};

using FreshFunction = void (*)(std::string_view arguments);
// False when the name is another function's already.
bool enter_fresh(const char* name, FreshFunction function) noexcept;

template <typename T>
struct Signature : Signature<decltype(&T::operator())> {};
template <typename R, typename... A>
struct Signature<R (*)(A...)> {
  using Result = R;
  using Arguments = std::tuple<std::decay_t<A>...>;
};
template <typename R, typename... A>
struct Signature<R (*)(A...) noexcept> : Signature<R (*)(A...)> {};
template <typename C, typename R, typename... A>
struct Signature<R (C::*)(A...) const> : Signature<R (*)(A...)> {};
template <typename C, typename R, typename... A>
struct Signature<R (C::*)(A...) const noexcept> : Signature<R (*)(A...)> {};

template <auto function>
class FreshEntry {
  using Arguments = typename Signature<decltype(function)>::Arguments;
  static_assert(Storable<Arguments>,
                "a fresh process shares no memory with this one: each argument needs a stored form (codec.h)");

 public:
  template <typename... Given>
  static FreshCall call(Given&&... given) {
    static_assert(std::is_constructible_v<Arguments, Given&&...> || sizeof...(Given) == 0,
                  "these are not the arguments of the function");
    static_assert(sizeof...(Given) == std::tuple_size_v<Arguments>, "the function takes another number of arguments");
    static_cast<void>(entered);
    TicketsWritten written;
    std::string arguments = pack_to_send(Arguments(std::forward<Given>(given)...));
    return {typeid(FreshEntry).name(), std::move(arguments), std::make_shared<UnsentTickets>(written.take())};
  }

 private:
  static void run(std::string_view bytes) {
    auto arguments = [&] {
      [[maybe_unused]] const ReadingMessage<Arguments> tickets;
      return unpack_received<Arguments>(bytes);
    }();
    std::apply(
        [](auto&... each) {
          if constexpr (std::is_invocable_v<decltype(function), decltype(std::move(each))...>) {
            static_cast<void>(function(std::move(each)...));
          } else {
            static_cast<void>(function(each...));
          }
        },
        arguments);
  }
  static inline const bool entered = enter_fresh(typeid(FreshEntry).name(), &FreshEntry::run);
};

}  // namespace commonhold::detail
