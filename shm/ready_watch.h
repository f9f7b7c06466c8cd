// Waiting until a lock, semaphore, event or barrier is such that a call for it would not wait: the lock is free, there is
// a permit, the event is set, all other parties have come. Nothing is taken.
//
// A watcher of a lock or semaphore sleeps on the word on which the waiters sleep, with their flag set, and so may get the
// one wake-up that was meant for a waiter. When it then finds that a call would not wait, it wakes the next sleeper
// (hand_on()), for it takes nothing itself. When it finds that somebody was faster, its look has set the flag again, and
// the next release wakes one; handing on that wake-up would send it from watcher to watcher without an end. One that was
// woken and does not look any more hands it on unseen. A watcher that dies or is stopped before it does is as a waiter
// that is: a death wakes all sleepers, and each looks by itself from time to time.
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
