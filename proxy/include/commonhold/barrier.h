// Barrier: a number of threads or processes, the parties, wait for each other; when the last has come, all go on.
//
//   auto start = manager.barrier(5);
//   auto place = start.wait();        // 0 to 4, in the order of arrival, each exactly once
//
//   auto rounds = manager.barrier(5, {.action = [&] { ++round; }, .timeout = 10s});
//
// The action runs once each time, in the last party's process, before anyone is let go. It is a function of this
// program: it stays with this proxy and its copies (those in forked children too), and does not travel with names and
// tokens. The last party runs the one that its own proxy has.
//
// A barrier breaks when somebody's time passes, the action throws, somebody calls abort(), or a process dies that is
// inside: all who are inside get BrokenBarrier at once, and so does who comes until somebody calls reset(). The error
// says what broke it. A process that dies before it comes is not known to be missing: give a timeout.
//
// A timeout counts until all have come; while the action runs time does not matter, unless the process that runs it is
// stopped: then the barrier breaks at the timeout, and a wait for the next round is a TimeoutError. reset() waits for
// the end of an action. CorruptSegment (errors.h) instead of a wait for an action that nobody runs.
//
// Thread safety: any thread of any process.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include <commonhold/detail/signature.h>
#include <commonhold/detail/sync_calls.h>
#include <commonhold/watch.h>

namespace commonhold {

struct BarrierOptions {
  std::function<void()> action = {};
  std::optional<std::chrono::nanoseconds> timeout = {};  // of each wait() without one; nothing: for ever
};

class Barrier {
 public:
  // Throws BrokenBarrier; what the action throws.
  std::uint64_t wait() const { return wait_by(detail::kBarrierDefault, action_); }
  // Zero or less: passes for the last party, and breaks the barrier for others.
  template <typename Rep, typename Period>
  std::uint64_t wait(const std::chrono::duration<Rep, Period>& timeout) const {
    return wait_by(detail::to_wait(timeout), action_);
  }
  // With an action for this once.
  std::uint64_t wait(const std::function<void()>& action) const { return wait_by(detail::kBarrierDefault, action); }
  template <typename Rep, typename Period>
  std::uint64_t wait(const std::chrono::duration<Rep, Period>& timeout, const std::function<void()>& action) const {
    return wait_by(detail::to_wait(timeout), action);
  }
  void arrive_and_wait() const { wait(); }  // as std::barrier

  // Breaks it, until somebody calls reset().
  void abort() const { detail::barrier_abort(*handle_); }
  // Whoever waits gets BrokenBarrier; the barrier is as new.
  void reset() const { detail::barrier_reset(*handle_); }

  std::uint64_t parties() const { return detail::barrier_parties(*handle_); }
  // Of each wait() without one; nothing: for ever.
  std::optional<std::chrono::nanoseconds> timeout() const {
    const auto wait = static_cast<std::int64_t>(detail::argument_of(*handle_, 1));
    return wait == detail::kForever ? std::nullopt : std::optional(std::chrono::nanoseconds(wait));
  }
  std::uint64_t n_waiting() const { return detail::barrier_waiting(*handle_); }
  bool broken() const { return detail::barrier_is_broken(*handle_); }

  // The same barrier, with this action when it is waited for through the proxy that is returned.
  Barrier with_action(std::function<void()> action) const {
    Barrier other = *this;
    other.action_ = std::move(action);
    return other;
  }

  // <barrier "start" 2 of 5 waiting>
  friend std::ostream& operator<<(std::ostream& out, const Barrier& barrier);
  friend bool operator==(const Barrier& a, const Barrier& b) { return a.handle_ == b.handle_; }
  bool same_as(const Barrier& other) const { return *this == other; }
  static constexpr bool kComparedByIdentity = true;  // so std::hash and < are there, too (identity.h)

  // ---- waiting for several objects (wait.h), in an event loop (watch.h)

  // A wait for it is true while wait() would not wait: all others have come, or it is broken.
  Watch watch() const { return detail::watch(handle_); }

  // ---- the object

  std::string name() const { return detail::name_of(*handle_); }
  std::string token() const { return detail::token_of(*handle_); }
  // Throws ValueError for less than one party.
  static detail::ObjectRequest request(std::int64_t parties, const BarrierOptions& options = {}) {
    const std::int64_t timeout = options.timeout ? detail::to_wait(*options.timeout) : detail::kForever;
    return {.kind = detail::ObjectKind::kBarrier,
            .signature = "barrier",
            .arguments = {detail::checked_parties(parties), static_cast<std::uint64_t>(timeout)},
            .compared = options.timeout ? 3u : 1u};
  }
  static detail::ObjectRequest request() { return {detail::ObjectKind::kBarrier, "barrier", {}}; }  // to open one

 private:
  friend struct detail::Access;
  explicit Barrier(detail::ObjectHandle handle) : handle_(std::move(handle)) {}
  std::uint64_t wait_by(std::int64_t wait, const std::function<void()>& action) const {
    const detail::BarrierTurn turn = detail::barrier_wait(*handle_, wait, static_cast<bool>(action));
    if (turn.must_act) {
      try {
        action();
      } catch (...) {
        detail::barrier_fail(*handle_, turn);
        throw;
      }
      detail::barrier_pass(*handle_, turn);
    }
    return turn.index;
  }
  detail::ObjectHandle handle_;
  std::function<void()> action_;
};

}  // namespace commonhold
