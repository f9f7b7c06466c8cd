// The longer member functions of queues.
#pragma once

#include <algorithm>

#include <commonhold/detail/links.h>
#include <commonhold/queue.h>

namespace commonhold {

namespace detail {

// What is left of a wait (lock_calls.h) that began when this was made.
class WaitLeft {
 public:
  explicit WaitLeft(std::int64_t wait) : wait_(wait) {
    if (!is_fixed()) start_ = std::chrono::steady_clock::now();
  }
  std::int64_t operator()() const {
    if (is_fixed()) return wait_;
    const std::chrono::nanoseconds passed = std::chrono::steady_clock::now() - start_;
    return std::max<std::int64_t>(wait_ - passed.count(), 0);
  }

 private:
  bool is_fixed() const { return wait_ == kForever || wait_ <= 0; }  // for ever, or not at all
  std::int64_t wait_;
  std::chrono::steady_clock::time_point start_{};
};

// An item that was seen: who does not get it decoded leaves it to others.
template <typename T>
auto decode_seen(Object& queue, const StoredItem& item, Taking<T>& taking) {
  try {
    return taking.decoded([&] { return decode<T>(queue, item); });
  } catch (...) {
    queue_leave(queue);
    throw;
  }
}

// The queue, if what is taken out of it is good until task_done (tickets.h).
template <typename T>
Object* redelivering(Object& queue) {
  if constexpr (kHasTickets<T>) {
    if (queue_options(queue).redeliver) return &queue;
  }
  return nullptr;
}

template <typename T>
std::optional<T> take_decoded(Object& queue, std::int64_t wait, Word* priority) {
  const WaitLeft left(wait);
  Taking<T> taking(wait);
  return reading_links<T>([&]() -> std::optional<T> {
    for (StoredItem seen; queue_peek(queue, seen, left());) {
      auto value = decode_seen<T>(queue, seen, taking);
      if (queue_take_if_equal(queue, seen.item(), priority)) {
        if constexpr (kHasTickets<T>) {
          if (!value) queue_drop_taken(queue);
        }
        return taking.taken(std::move(value), redelivering<T>(queue));
      }
    }
    return std::nullopt;
  });
}

// Those that are there, each by itself: a ticket that is void is told of by the call that meets it first.
template <typename T>
std::vector<T> take_many_one_by_one(Object& queue, std::size_t most, std::int64_t wait) {
  std::vector<T> values;
  for (; values.size() < most; wait = 0) {
    try {
      std::optional<T> value = take_decoded<T>(queue, wait, nullptr);
      if (!value) break;
      values.push_back(*std::move(value));
    } catch (...) {
      if (values.empty()) throw;
      break;
    }
  }
  return values;
}

// The same for many, which are taken together. An item that cannot be decoded ends them: the next call will say why.
template <typename T>
std::vector<T> take_many_decoded(Object& queue, std::size_t most, std::int64_t wait) {
  if constexpr (kHasTickets<T>) return take_many_one_by_one<T>(queue, most, wait);
  const WaitLeft left(wait);
  return reading_links<T>([&] {
    for (std::vector<T> values;; values.clear()) {
      const SeenItems seen = queue_peek_many(queue, most, left());
      for (const StoredItem& item : seen.items) {
        try {
          values.push_back(decode<T>(queue, item));
        } catch (...) {
          if (!values.empty()) break;
          queue_leave(queue);
          throw;
        }
      }
      if (values.empty()) return values;
      const std::uint64_t taken = queue_take_seen(queue, seen, values.size());
      values.erase(values.begin() + static_cast<std::ptrdiff_t>(taken), values.end());
      if (taken != 0) return values;
    }
  });
}

template <typename T>
std::optional<T> take_value(Object& queue, std::int64_t wait, Word* priority) {
  if constexpr (kDecodedFirst<T>) {
    return take_decoded<T>(queue, wait, priority);
  } else if constexpr (kIsFixed<T>) {
    FixedBuffer<T> buffer;
    if (!queue_get_fixed(queue, buffer.data(), buffer.size(), wait, priority)) return std::nullopt;
    return buffer.value();
  } else {
    std::string bytes;
    if (!queue_get(queue, bytes, wait, priority)) return std::nullopt;
    return taken_value<T>(std::move(bytes));
  }
}

}  // namespace detail

template <typename T, detail::QueueOrder kOrder, bool kSimple>
template <typename Values>
auto BasicQueue<T, kOrder, kSimple>::put_all(const Values& values, std::int64_t wait) const -> size_type {
  if constexpr (detail::kHasTickets<T>) {  // the tickets of those that are not put end
    const detail::WaitLeft left(wait);
    size_type put = 0;
    for (const auto& value : values) {
      if (!put_within(value, left())) break;
      ++put;
    }
    return put;
  } else if constexpr (kStoredAsIs && std::ranges::contiguous_range<const Values> &&
                       std::is_same_v<std::ranges::range_value_t<const Values>, T>) {
    return detail::queue_put_many_fixed(*handle_, std::ranges::data(values), std::ranges::size(values), sizeof(T), wait,
                                        detail::kKind<T>);
  } else if constexpr (detail::kShape<T> == detail::Shape::kWord) {
    std::vector<detail::Word> words;
    if constexpr (std::ranges::sized_range<const Values>) words.reserve(std::ranges::size(values));
    for (const auto& value : values) words.push_back(detail::to_word(static_cast<T>(value)));
    return detail::queue_put_many_fixed(*handle_, words.data(), words.size(), sizeof(detail::Word), wait,
                                        detail::kKind<T>);
  } else {
    return detail::queue_put_many(*handle_, detail::Batch<T>(values, *handle_).items(), wait);
  }
}

template <typename T, detail::QueueOrder kOrder, bool kSimple>
auto BasicQueue<T, kOrder, kSimple>::get_all(size_type most, std::int64_t wait) const -> std::vector<T> {
  if constexpr (std::is_same_v<T, std::string>) {
    return detail::queue_get_many(*handle_, most, wait);
  } else if constexpr (kFixedBytes == 0 || detail::kDecodedFirst<T>) {
    // Decoding may fail for want of memory, too.
    return detail::take_many_decoded<T>(*handle_, most, wait);
  } else {
    // Nobody knows how many there are before they are taken: when there is no room for all, there is next time.
    constexpr bool kIntoValues = kStoredAsIs && std::is_default_constructible_v<T>;
    using Stored = std::conditional_t<kIntoValues, T, detail::FixedBuffer<T>>;
    constexpr int kTries = 4;  // with producers that are faster than this: as many as there is room for
    const detail::WaitLeft left(wait);
    std::vector<Stored> stored(std::min<size_type>(most, std::max<size_type>(size(), 16)));
    [[maybe_unused]] std::vector<T> values;
    for (int i = 0;; ++i) {
      if constexpr (!kIntoValues) values.reserve(stored.size());  // before anything is taken
      bool more = false;
      const std::uint64_t got =
          detail::queue_get_many_fixed(*handle_, stored.data(), kFixedBytes, stored.size(), sizeof(Stored), left(),
                                       i < kTries ? most : stored.size(), more);
      stored.resize(more ? std::min<size_type>(most, got + got / 4) : got);
      if (!more) break;
    }
    if constexpr (kIntoValues) {
      return stored;
    } else {
      for (const Stored& one : stored) values.push_back(one.value());
      return values;
    }
  }
}

}  // namespace commonhold
