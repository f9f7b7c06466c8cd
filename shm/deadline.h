// A point on the monotonic clock, computed once at entry of a blocking call. A wait may end late, never early.
//
// A deadline may also name flags of this process that cancel the wait: a deadline whose flag is set has passed. Who
// sets the flag wakes the futexes on which the waiters may sleep.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>

namespace commonhold::shm {

// A flag of this process, or one of two.
struct Cancel {
  std::atomic<bool> set{false};
  const std::atomic<bool>* also = nullptr;
  bool is_set() const {
    return set.load(std::memory_order_seq_cst) || (also != nullptr && also->load(std::memory_order_seq_cst));
  }
};

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

  // The same point, which has passed too once `cancel` is set. REQUIRES: that outlives the deadline.
  Deadline unless(const Cancel& cancel) const {
    Deadline cancellable = *this;
    cancellable.cancel_ = &cancel;
    return cancellable;
  }

  bool is_never() const { return at_ns_ == std::numeric_limits<std::int64_t>::max(); }
  bool is_already() const { return at_ns_ <= 0; }
  // SYNC POINT: wait cancelled; the canceller stores the flag, then raises the futex that the waiter read before this.
  bool is_cancelled() const { return cancel_ != nullptr && cancel_->is_set(); }
  bool passed() const { return is_already() || is_cancelled() || (!is_never() && now_ns() >= at_ns_); }

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
  const Cancel* cancel_ = nullptr;
};

}  // namespace commonhold::shm
