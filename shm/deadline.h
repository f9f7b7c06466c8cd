// A point on the monotonic clock, computed once at entry of a blocking call. A wait may end late, never early.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>

namespace commonhold::shm {

class Deadline {
 public:
  static constexpr Deadline never() { return Deadline(std::numeric_limits<std::int64_t>::max()); }
  static constexpr Deadline already() { return Deadline(0); }  // one attempt, no wait

  // A duration of zero or less is one attempt; one beyond the clock's range is for ever.
  static Deadline after(std::chrono::nanoseconds duration) {
    if (duration.count() <= 0) return already();
    std::int64_t now = now_ns();
    if (duration.count() > std::numeric_limits<std::int64_t>::max() - now) return never();
    return Deadline(now + duration.count());
  }
  static Deadline at(std::chrono::steady_clock::time_point when) {
    return Deadline(std::chrono::duration_cast<std::chrono::nanoseconds>(when.time_since_epoch()).count());
  }

  bool is_never() const { return at_ns_ == std::numeric_limits<std::int64_t>::max(); }
  bool is_already() const { return at_ns_ <= 0; }
  bool passed() const { return is_already() || (!is_never() && now_ns() >= at_ns_); }

  // Nanoseconds left, at least 0 and at most `limit`.
  std::int64_t left_ns(std::int64_t limit) const {
    if (is_never()) return limit;
    std::int64_t left = at_ns_ - now_ns();
    return left < 0 ? 0 : left < limit ? left : limit;
  }

 private:
  constexpr explicit Deadline(std::int64_t at_ns) : at_ns_(at_ns) {}
  static std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  std::int64_t at_ns_;
};

}  // namespace commonhold::shm
