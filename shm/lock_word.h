// The lock of every structure in the segment: one 32-bit word that says who holds it.
//
//    31      30            13 12          0
//   +---+--------------------+-------------+
//   | W | generation (18)    | thread + 1  |      0 = free
//   +---+--------------------+-------------+
//
// W is set by a waiter before it sleeps; unlock wakes one sleeper when it finds W set.
//
// INVARIANT: the owner is in the compare-and-swap itself, so there is no moment at which a lock is held by nobody
// known. A thread announces the word in its slot before the compare-and-swap and keeps it announced until after the
// wake-up of unlock. A death at any instruction therefore leaves one of: announced and not owned (recovery only wakes
// the word, which also hands on a wake-up that the dead one swallowed), or announced and owned (recovery repairs what
// the word guards, frees it, wakes). Lock owners name a thread slot and its generation: a reused slot is another owner.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "shm/deadline.h"
#include "shm/status.h"

namespace commonhold::shm {

class ThreadContext;

struct LockWord {
  // Written by whoever takes or frees the lock, and by waiters (the W bit). Zero is free.
  std::atomic<std::uint32_t> state{0};
  // Always zero; keeps lock words 8-byte aligned, so that an announcement has three low bits for its kind.
  std::uint32_t unused = 0;
};
static_assert(sizeof(LockWord) == 8);

inline constexpr std::uint32_t kLockWaiters = 1u << 31;
inline constexpr std::uint32_t kLockThreadBits = 13;
inline constexpr std::uint32_t kLockGenerationMask = (1u << 18) - 1;

constexpr std::uint32_t lock_owner(std::uint32_t thread, std::uint32_t generation) {
  return (thread + 1) | (generation & kLockGenerationMask) << kLockThreadBits;
}
constexpr std::uint32_t lock_owner_thread(std::uint32_t owner) {
  return (owner & ((1u << kLockThreadBits) - 1)) - 1;
}
constexpr std::uint32_t lock_owner_generation(std::uint32_t owner) {
  return owner >> kLockThreadBits & kLockGenerationMask;
}

// Takes the lock, waiting until `deadline`. A dead holder found on the way is recovered, so kOk may follow a repair.
// Returns kOk or kTimedOut. A live holder, stopped or not, is never robbed.
Status lock(ThreadContext& me, LockWord& word, Deadline deadline = Deadline::never());

// One attempt without waiting (a dead holder is not looked for).
bool try_lock(ThreadContext& me, LockWord& word);

// Frees the lock, whoever holds it, and wakes a waiter. Returns kNotHeld, changing nothing, when it is free.
Status unlock(ThreadContext& me, LockWord& word);

// The end of an unlock that found waiters: wakes one and takes the announcement back.
void wake_waiter(ThreadContext& me, LockWord& word);

// Frees the lock for a dead owner, if it is still his (anybody may unlock a user's lock, and then somebody else have
// taken it), and wakes a waiter. For recovery only.
void release_for_dead(LockWord& word, std::uint32_t dead_owner);

// Takes and frees a word without announcing it: for an operation that announced all words of an object at once
// (ThreadContext::announce_object) before it took the first. kOk or kTimedOut, as lock().
Status lock_announced(ThreadContext& me, LockWord& word, Deadline deadline = Deadline::never());
void unlock_announced(LockWord& word);

// How often this process's waiters look after their holder, for tests of what else wakes them.
void set_holder_check_for_test(std::chrono::nanoseconds interval);

// Holds a lock for a scope. The constructor waits for ever.
class HeldLock {
 public:
  HeldLock(ThreadContext& me, LockWord& word) : me_(me), word_(word) { (void)lock(me, word); }
  ~HeldLock() { (void)unlock(me_, word_); }
  HeldLock(const HeldLock&) = delete;
  HeldLock& operator=(const HeldLock&) = delete;

 private:
  ThreadContext& me_;
  LockWord& word_;
};

}  // namespace commonhold::shm
