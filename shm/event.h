// A flag that many wait for: one word, whose change is the whole event.
//
//    31                         2   1     0
//   +----------------------------+-----+-----+
//   | how often it was set       |  W  | set |
//   +----------------------------+-----+-----+
//
// A waiter sets W before it sleeps on the word; who sets the event clears W in the same step and wakes all when it was
// set: nobody pays when nobody waits. The count tells a waiter that the event was set even if it was cleared again
// before the waiter ran.
//
// INVARIANT: W is never seen together with `set`. Every change is one compare-and-swap, so a death leaves nothing half
// done; who sets the event with W in the word announces the wake-up that it owes, and recovery sends it. A waiter that
// dies leaves at most a W too many: one wake-up of nobody.
#pragma once

#include "shm/deadline.h"
#include "shm/layout.h"
#include "shm/object_address.h"
#include "shm/status.h"

namespace commonhold::shm {

class ThreadContext;

struct EventControl {
  std::atomic<std::uint32_t> word;  // also the futex
  std::uint32_t unused;
  Word spare[7];
};
static_assert(sizeof(EventControl) == 64);

class Event {
 public:
  explicit Event(const ObjectAddress& where);

  bool is_set() const;
  void set(ThreadContext& me) const;
  void clear() const;
  // kOk: it is set, or was since the call began. kTimedOut.
  Status wait(Deadline deadline) const;

  // For who sleeps by itself (ready_watch.h): the next set() changes the word from what is returned, and wakes.
  const std::atomic<std::uint32_t>& futex() const { return control_->word; }
  std::uint32_t announce_waiter() const;
  static std::uint32_t times_set(std::uint32_t word);  // wraps around

  static Status create(ThreadContext& me, std::uint32_t object, Offset& control);
  static void repair(ThreadContext& me, const ObjectAddress& where, LockWord& held);
  static void each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word));

 private:
  EventControl* control_;
};

}  // namespace commonhold::shm
