// Waiting until a lock, semaphore, event or barrier is such that a call for it would not wait: the lock is free, there is
// a permit, the event is set, all other parties have come. Nothing is taken.
//
// A watcher sleeps on the word on which the waiters sleep, with their flag set, and so may get the one wake-up that was
// meant for a waiter: it hands on every wake-up to the next sleeper (hand_on()), who looks and sleeps on if there is
// nothing for him. A watcher that dies or is stopped between the two is as a waiter that does: a death wakes all sleepers,
// and each looks by itself from time to time.
//
// A barrier has a flag and a futex for its watchers alone (barrier.h).
#pragma once

#include <memory>

#include "shm/object_address.h"
#include "shm/status.h"
#include "shm/watch.h"
#include "shm/words.h"

namespace commonhold::shm {

std::unique_ptr<Watcher> watch_event(const ObjectAddress& where);
// Of a lock or rlock.
std::unique_ptr<Watcher> watch_lock(const ObjectAddress& where);
std::unique_ptr<Watcher> watch_semaphore(const ObjectAddress& where);
std::unique_ptr<Watcher> watch_barrier(const ObjectAddress& where);

}  // namespace commonhold::shm
