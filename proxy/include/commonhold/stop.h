// StopScope: ends a thread's waits when somebody requests it through a std::stop_token.
//
//   std::jthread worker([&](std::stop_token stop) {
//     commonhold::StopScope scope(stop);
//     try {
//       for (;;) handle(orders.get());              // waits; request_stop() ends it with Stopped
//     } catch (const commonhold::Stopped&) {}
//   });
//   ...
//   worker.request_stop();
//
// While the scope lives, each call of its thread that waits throws Stopped once a stop is requested, at once, wherever it
// waits: for an item or for room in a queue, a lock, a semaphore, an event, a condition, a barrier, a change; for a
// process, a result of a pool, a message or room for one, a client, or in wait() for many things. A call that need not
// wait does its work as ever, after the request too, so that a loop over a queue that is never empty asks stop_requested()
// itself.
//
// A wait that is stopped leaves things as its timeout does: nothing is taken, nothing was put or all that put_many had
// put so far stays, a condition's lock is held again, a barrier is broken for the others.
//
// Scopes nest: each of their tokens ends the waits. A forked child is in none of its parent's. The end of a scope waits
// for a request_stop() that is on its way.
// Thread safety: for the thread that made it. Costs nothing while nobody waits.
#pragma once

#include <memory>
#include <stop_token>

#include <commonhold/detail/call.h>

namespace commonhold {

namespace detail {
struct StopState;  // proxy/stop.cc
}

class StopScope {
 public:
  explicit StopScope(std::stop_token token);
  ~StopScope();
  StopScope(const StopScope&) = delete;
  StopScope& operator=(const StopScope&) = delete;

 private:
  std::unique_ptr<detail::StopState> state_;
};

}  // namespace commonhold
