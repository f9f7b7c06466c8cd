// Who sleeps where: a thread that waits for something other than a lock word says in its slot on which futex, and every
// recovery wakes all who said so.
//
// Why: a process may die between a change and the wake-up that belongs to it, or after it was woken and before it did
// what the others were left asleep for. Nobody keeps books on that: a death wakes every sleeper, and each looks again.
// A sleeper that dies leaves a notice that goes with its slot.
#pragma once

#include <atomic>
#include <cstdint>

#include "shm/layout.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

class Segment;

// For the scope of a wait. The look at what is waited for comes after its construction.
class SleepNotice {
 public:
  SleepNotice(ThreadContext& me, const std::atomic<std::uint32_t>& futex);
  ~SleepNotice();
  SleepNotice(const SleepNotice&) = delete;
  SleepNotice& operator=(const SleepNotice&) = delete;

 private:
  ThreadRecord& record_;
};

// Wakes everybody who noted a futex. For recovery, after the dead session's effects are settled.
void wake_sleepers(Segment& segment);

// How often a sleeper looks for the dead by itself, for when no server is left to do it. Changed by tests of what else
// wakes it.
std::int64_t sleeper_check_ns();
void set_sleeper_check_for_test(std::int64_t interval_ns);

}  // namespace commonhold::shm
