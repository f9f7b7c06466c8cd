// Tickets: values that are stored as the promise of the process that stored them to hand something over (an open
// connection, a descriptor) to whoever comes with the ticket, as often as somebody does, until it is told that the ticket
// was taken out, or withdraws it.
//
// Whoever takes a value with tickets in it out of an object decodes it first, takes it if it is still there, and tells
// then. A value whose ticket nobody honours any more is taken out as well, and the call throws; one whose sender does not
// answer stays.
#pragma once

#include <algorithm>
#include <chrono>
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
#include <commonhold/errors.h>

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

// A ticket that its sender does not honour any more: somebody took it out, or took it and put another in its place.
class TicketGone : public SystemError {
 public:
  TicketGone(std::string ticket, int code, const std::string& message)
      : SystemError(code, message), ticket_(std::move(ticket)) {}
  const std::string& ticket() const noexcept { return ticket_; }

 private:
  std::string ticket_;
};

// The tickets that this thread's codecs write while it is there.
class TicketsWritten {
 public:
  TicketsWritten() noexcept;
  ~TicketsWritten();
  TicketsWritten(const TicketsWritten&) = delete;
  TicketsWritten& operator=(const TicketsWritten&) = delete;

  // By codecs.
  static void note(const std::string& ticket, EndTicket withdraw);
  const std::vector<NotedTicket>& all() const { return all_; }
  std::vector<NotedTicket> take() noexcept { return std::move(all_); }
  // Of what was stored nowhere.
  void withdraw() noexcept;

 private:
  std::vector<NotedTicket> all_;
  TicketsWritten* outer_;
};

// Of calls without a time; of those that wait for ever, who look again after it.
inline constexpr std::chrono::nanoseconds kTicketPatience{1'000'000'000}, kLongTicketPatience{10'000'000'000};

// The tickets that this thread's codecs read while it is there. Of several the latest.
class TicketsRead {
 public:
  // kAtOnce: whoever reads a ticket takes it, since nobody else will read it.
  enum class Ends : std::uint8_t { kWhenTaken, kAtOnce };
  // `patience`: how long a sender that is stopped is waited for.
  explicit TicketsRead(Ends ends = Ends::kWhenTaken, std::chrono::nanoseconds patience = kTicketPatience) noexcept;
  ~TicketsRead();
  TicketsRead(const TicketsRead&) = delete;
  TicketsRead& operator=(const TicketsRead&) = delete;

  // By codecs: whether to take what they read; of one that was honoured; of one that nobody will honour, before they
  // throw.
  static bool ends_at_once() noexcept;
  static std::chrono::nanoseconds patience() noexcept;
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
  std::chrono::nanoseconds patience_;
  bool met_void_ = false;
  TicketsRead* outer_;
};

// This thread has called task_done for its oldest item of a queue that redelivers, or, where it has none, for that of
// another thread.
COMMONHOLD_CALL void end_oldest_tickets(Object& queue);

// Reads until no ticket is met that somebody took meanwhile: read() looks at the object anew each time. A ticket that is
// met again after it was gone is there for good.
template <typename T, typename Read>
auto reading_tickets(Read&& read) -> decltype(read()) {
  if constexpr (!kHasTickets<T>) {
    return read();
  } else {
    for (std::string gone;;) {
      try {
        return read();
      } catch (const TicketGone& error) {
        if (error.ticket() == gone) throw;
        gone = error.ticket();
      }
    }
  }
}

// The tickets of an encoded value. When the call that was to store it throws, or says that it did not, they end.
template <typename T, bool = kHasTickets<T>>
class EncodedTickets {
 public:
  template <typename Encode>
  auto collect(Encode&& encode) {
    return encode();
  }
  bool stored(bool is_stored) noexcept { return is_stored; }
};
template <typename T>
class EncodedTickets<T, true> {
 public:
  EncodedTickets() = default;
  EncodedTickets(const EncodedTickets&) = delete;
  EncodedTickets& operator=(const EncodedTickets&) = delete;
  ~EncodedTickets() {
    if (std::uncaught_exceptions() > exceptions_) (void)stored(false);
  }
  template <typename Encode>
  auto collect(Encode&& encode) {
    TicketsWritten written;
    try {
      auto bytes = encode();
      all_ = written.take();
      return bytes;
    } catch (...) {
      written.withdraw();
      throw;
    }
  }
  bool stored(bool is_stored) noexcept {
    for (const NotedTicket& ticket : all_) {
      if (!is_stored) ticket.end(ticket.text);
    }
    all_.clear();
    return is_stored;
  }

 private:
  int exceptions_ = std::uncaught_exceptions();
  std::vector<NotedTicket> all_;
};

// For the scope in which a message is read: nobody else will read its tickets.
template <typename T, bool = kHasTickets<T>>
struct ReadingMessage {};
template <typename T>
struct ReadingMessage<T, true> {
  TicketsRead tickets{TicketsRead::Ends::kAtOnce, kLongTicketPatience};
};

// One value that is taken out of an object: decoded() as often as it takes, then taken(). `wait`: of the call
// (lock_calls.h).
template <typename T, bool = kHasTickets<T>>
class Taking {
 public:
  explicit Taking(std::int64_t = 0) {}
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
  explicit Taking(std::int64_t wait = 0) : read_(TicketsRead::Ends::kWhenTaken, patience_of(wait)) {}
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
    read_.taken(value ? redelivering : nullptr);
    if (!value) std::rethrow_exception(error_);
    return *std::move(value);
  }

 private:
  static std::chrono::nanoseconds patience_of(std::int64_t wait) {
    return wait <= 0 ? kTicketPatience : std::min(std::chrono::nanoseconds(wait), kLongTicketPatience);
  }
  TicketsRead read_;
  std::exception_ptr error_;
};

}  // namespace commonhold::detail
