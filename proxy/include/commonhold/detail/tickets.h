// Tickets: values that are stored as the promise of the process that stored them to hand something over (an open
// connection, a descriptor) to whoever comes with the ticket, as often as somebody does, until it is told that the ticket
// was taken out, or withdraws it.
//
// Whoever takes a value with tickets in it out of an object decodes it first, takes it if it is still there, and tells
// then. A value whose ticket nobody honours any more is taken out as well, and the call throws; one whose sender does not
// answer stays.
#pragma once

#include <concepts>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <commonhold/detail/call.h>
#include <commonhold/detail/shape.h>

namespace commonhold::detail {

struct Object;

template <typename T>
    struct IsTicket : std::bool_constant < requires {
  Codec<T>::is_ticket;
} > {};
// T's values are tickets, or hold some.
template <typename T>
inline constexpr bool kHasTickets = any_part<T, IsTicket>();

// Ends the promise behind a ticket: at once, or by telling the process that gave it.
using EndTicket = void (*)(std::string_view ticket) noexcept;

struct NotedTicket {
  std::string text;
  EndTicket end;
};

// The tickets that this thread's codecs write while it is there. Of several the latest.
class TicketsWritten {
 public:
  TicketsWritten() noexcept;
  ~TicketsWritten();
  TicketsWritten(const TicketsWritten&) = delete;
  TicketsWritten& operator=(const TicketsWritten&) = delete;

  // By codecs.
  static void note(std::string ticket, EndTicket withdraw);
  const std::vector<NotedTicket>& all() const { return all_; }
  // Of what was stored nowhere.
  void withdraw() noexcept;

 private:
  std::vector<NotedTicket> all_;
  TicketsWritten* outer_;
};

// The tickets that this thread's codecs read while it is there. Of several the latest.
class TicketsRead {
 public:
  // kAtOnce: whoever reads a ticket takes it, since nobody else will read it.
  enum class Ends : std::uint8_t { kWhenTaken, kAtOnce };
  explicit TicketsRead(Ends ends = Ends::kWhenTaken) noexcept;
  ~TicketsRead();
  TicketsRead(const TicketsRead&) = delete;
  TicketsRead& operator=(const TicketsRead&) = delete;

  // By codecs: whether to take what they read; of one that was honoured; of one that nobody will honour, before they
  // throw.
  static bool ends_at_once() noexcept;
  static void note(std::string ticket, EndTicket taken);
  static void note_void() noexcept;

  void forget() noexcept;  // those of a value that was not taken
  bool met_void() const { return met_void_; }
  // The value was taken. `redelivering`: a queue that gives it to another consumer when this thread ends before it called
  // task_done; the tickets are good until then.
  void taken(Object* redelivering);

 private:
  std::vector<NotedTicket> all_;
  Ends ends_;
  bool met_void_ = false;
  TicketsRead* outer_;
};

// This thread has called task_done for its oldest item of a queue that redelivers.
COMMONHOLD_CALL void end_oldest_tickets(Object& queue);

// One value that is taken out of an object: decoded() as often as it takes, then taken().
template <typename T, bool = kHasTickets<T>>
class Taking {
 public:
  template <typename Decode>
  auto decoded(Decode&& decode) {
    return decode();
  }
  template <typename Value>
  Value taken(Value&& value, Object* = nullptr) {
    return std::forward<Value>(value);
  }
};
template <typename T>
class Taking<T, true> {
 public:
  // Nothing where a ticket is void: then taken() throws what decode() threw.
  template <typename Decode>
  auto decoded(Decode&& decode) -> std::optional<decltype(decode())> {
    read_.forget();
    try {
      return decode();
    } catch (...) {
      if (!read_.met_void()) throw;
      error_ = std::current_exception();
      return std::nullopt;
    }
  }
  template <typename Value>
  Value taken(std::optional<Value>&& value, Object* redelivering = nullptr) {
    read_.taken(redelivering);
    if (!value) std::rethrow_exception(error_);
    return *std::move(value);
  }

 private:
  TicketsRead read_;
  std::exception_ptr error_;
};

}  // namespace commonhold::detail
