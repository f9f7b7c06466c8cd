// A pool's arguments and results as bytes: numbers and structs as they lie in memory, since a worker is a fork or a fresh
// image of this program; shared objects by token; everything else by its codec.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <commonhold/any.h>
#include <commonhold/attach.h>
#include <commonhold/connection.h>
#include <commonhold/detail/encoded.h>
#include <commonhold/detail/shape.h>
#include <commonhold/detail/tickets.h>

namespace commonhold::detail {

template <typename T>
inline constexpr bool kIsTuple = false;
template <typename... T>
inline constexpr bool kIsTuple<std::tuple<T...>> = true;
template <typename A, typename B>
inline constexpr bool kIsTuple<std::pair<A, B>> = true;

bool is_ticket(std::string_view text);

// Honoured until it goes.
class KeptTicket {
 public:
  explicit KeptTicket(NotedTicket ticket) : ticket_(std::move(ticket)) {}
  ~KeptTicket() { ticket_.end(ticket_.text); }
  KeptTicket(const KeptTicket&) = delete;
  KeptTicket& operator=(const KeptTicket&) = delete;

 private:
  NotedTicket ticket_;
};

// What a task's bytes, or a result's, name, kept for as long as somebody may read them.
struct Belongings {
  std::vector<ObjectHandle> objects;
  std::vector<std::shared_ptr<void>> offers;  // of connections
};

template <typename T>
constexpr bool can_carry() {
  if constexpr (Proxy<T>) {
    return true;
  } else if constexpr (kIsTuple<T>) {
    return []<std::size_t... I>(std::index_sequence<I...>) {
      return (can_carry<std::tuple_element_t<I, T>>() && ...);
    }
    (std::make_index_sequence<std::tuple_size_v<T>>());
  } else {
    return Storable<T>;
  }
}
template <typename T>
inline constexpr bool kCanCarry = can_carry<T>();

// Lies in the bytes as it lies in memory.
template <typename T>
inline constexpr bool kCarriedAsIs = !Proxy<T> && kIsFixed<T> && std::is_trivially_copyable_v<T>;

// A map's entries have a const key; what is carried is a pair of values.
template <typename T>
struct WithoutConst {
  using Type = T;
};
template <typename A, typename B>
struct WithoutConst<std::pair<const A, B>> {
  using Type = std::pair<A, B>;
};

// How an argument is carried that was given as an A.
template <typename A>
using Carried = std::conditional_t<std::is_convertible_v<const std::decay_t<A>&, std::string_view>, std::string,
                                   std::conditional_t<std::is_base_of_v<Connection, std::decay_t<A>>, Connection,
                                                      typename WithoutConst<std::decay_t<A>>::Type>>;

class TaskWriter {
 public:
  explicit TaskWriter(std::string& out) : out_(out) {}
  // Whoever keeps `kept` keeps every object and every connection that is written.
  TaskWriter(std::string& out, Belongings& kept) : out_(out), kept_(&kept) {}
  // Every object that is written is on its way: its token is appended to `sent`, too, for who receives the bytes; so is
  // a connection's ticket.
  TaskWriter(std::string& out, std::string& sent) : out_(out), sent_(&sent) {}

  template <typename T>
  void value(const T& value) {
    if constexpr (kHasTickets<T> && !kIsTuple<T>) {
      TicketsWritten tickets;
      try {
        write(value);
        for (const NotedTicket& ticket : tickets.all()) {
          if (sent_ != nullptr) TaskWriter(*sent_).sized(ticket.text);
          if (kept_ != nullptr) kept_->offers.push_back(std::make_shared<KeptTicket>(ticket));
        }
      } catch (...) {
        tickets.withdraw();
        throw;
      }
    } else {
      write(value);
    }
  }
  void raw(const void* bytes, std::size_t size) { out_.append(static_cast<const char*>(bytes), size); }
  void sized(std::string_view bytes) {
    const std::uint64_t size = bytes.size();
    raw(&size, sizeof size);
    out_.append(bytes);
  }

 private:
  template <typename T>
  void write(const T& value) {
    if constexpr (Proxy<T>) {
      sized(token(Access::handle(value)));
    } else if constexpr (kIsTuple<T>) {
      if constexpr (std::tuple_size_v<T> == 0)
        raw("", 1);  // every value has a byte at least: it is seen that it is there
      std::apply([this](const auto&... each) { (this->value(each), ...); }, value);
    } else if constexpr (kCarriedAsIs<T>) {
      raw(&value, sizeof value);
    } else if constexpr (kMayLink<T>) {
      sized(pack_to_send(value, [this](const ObjectHandle& handle) { return token(handle); }));
    } else {
      const Encoded<T> encoded(value);
      const Item item = encoded.item();
      sized({static_cast<const char*>(item.data), item.size});
    }
  }
  // Of an object that is written, alone or inside of another value.
  std::string token(const ObjectHandle& handle) {
    if (kept_ != nullptr) kept_->objects.push_back(handle);
    if (sent_ == nullptr) return token_of(*handle);
    std::string token = token_in_flight(*handle);
    TaskWriter(*sent_).sized(token);
    return token;
  }

  std::string& out_;
  Belongings* kept_ = nullptr;
  std::string* sent_ = nullptr;
};

class TaskReader {
 public:
  explicit TaskReader(std::string_view bytes) : left_(bytes) {}

  // Connections and descriptors are given to whoever reads the same bytes again, too.
  void leave_tickets() { ends_ = TicketsRead::Ends::kWhenTaken; }

  template <typename T>
  T value() {
    if constexpr (kHasTickets<T> && !kIsTuple<T>) {
      const TicketsRead tickets(ends_);
      return read<T>();
    } else {
      return read<T>();
    }
  }
  // As TaskWriter::raw() wrote it.
  template <typename T>
  T raw() {
    std::array<std::byte, sizeof(T)> copy;
    std::memcpy(copy.data(), take(sizeof(T)).data(), sizeof(T));
    return std::bit_cast<T>(copy);
  }
  std::string_view take(std::uint64_t size) {
    if (size > left_.size()) refuse_size(left_.size(), size);
    const std::string_view taken = left_.substr(0, size);
    left_.remove_prefix(size);
    return taken;
  }
  std::string_view sized() { return take(value<std::uint64_t>()); }
  std::string_view rest() const { return left_; }

 private:
  template <typename T>
  T read() {
    if constexpr (Proxy<T>) {
      return attach<T>(sized());
    } else if constexpr (kIsTuple<T>) {
      if constexpr (std::tuple_size_v<T> == 0) (void)take(1);
      return [this]<std::size_t... I>(std::index_sequence<I...>) {
        return T{this->value<std::tuple_element_t<I, T>>()...};  // braces: from left to right
      }
      (std::make_index_sequence<std::tuple_size_v<T>>());
    } else if constexpr (kCarriedAsIs<T>) {
      return raw<T>();
    } else if constexpr (kMayLink<T>) {
      return unpack_received<T>(sized());
    } else {
      return decode<T>(sized());
    }
  }
  std::string_view left_;
  TicketsRead::Ends ends_ = TicketsRead::Ends::kAtOnce;
};

}  // namespace commonhold::detail
