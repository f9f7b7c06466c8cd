// A thread that waits in a condition or a barrier, as the others see it: three words of its thread slot.
//
//   waits_on    the control block it waits in; 0: in none
//   wait_turn   whatever tells this wait from the object's others (a ticket, a generation)
//   wait_state  63        32 31              2 1     0
//              +------------+----------------+-------+
//              |    note    |    wait no.    | Waited|      the low half is the futex it may sleep on
//              +------------+----------------+-------+
//              of one who waits in a condition the note is 1 once it sleeps, or is about to: only then
//              does it need a wake-up
//
// INVARIANT: the thread alone writes waits_on and wait_turn, and only while wait_state is kNot. kWaiting is left by one
// compare-and-swap: the waiter's own when its time passed, another's that tells it something, or recovery's. So each
// wait ends in one way, once, and whoever found the words that he looked for before his compare-and-swap told that
// very wait and no later one (the number differs). A death leaves the words as they are, until the recovery of the
// thread has done with them.
#pragma once

#include <atomic>
#include <cstdint>

#include "shm/futex.h"
#include "shm/segment.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

enum class Waited : std::uint8_t {
  kNot = 0,
  kWaiting = 1,
  kTold = 2,     // notified; the barrier passed
  kRefused = 3,  // the barrier broke
};

constexpr Waited waited(Word state) {
  return static_cast<Waited>(state & 3);
}
constexpr std::uint32_t wait_note(Word state) {
  return static_cast<std::uint32_t>(state >> 32);
}
constexpr Word with_waited(Word state, Waited now, std::uint32_t note = 0) {
  return Word{note} << 32 | (state & 0xffff'fffc) | static_cast<Word>(now);
}

inline constexpr Word kAsleep = Word{1} << 32;

inline const std::atomic<std::uint32_t>& wait_futex(const ThreadRecord& record) {
  return low_half(record.wait_state);
}

// Makes the caller known as waiting; the state it has then. May be called again for another turn.
inline Word begin_wait(ThreadContext& me, Offset control, Word turn) {
  ThreadRecord& record = me.record();
  Word before = record.wait_state.load(std::memory_order_relaxed);
  record.wait_state.store(with_waited(before, Waited::kNot), std::memory_order_release);
  record.wait_turn.store(turn, std::memory_order_release);
  record.waits_on.store(control, std::memory_order_release);
  Word state = with_waited(before + 4, Waited::kWaiting);
  record.wait_state.store(state, std::memory_order_release);  // SYNC POINT: waiting
  return state;
}

inline void end_wait(ThreadRecord& record) {
  Word state = record.wait_state.load(std::memory_order_relaxed);
  record.wait_state.store(with_waited(state, Waited::kNot), std::memory_order_release);
  record.waits_on.store(0, std::memory_order_release);
}

// Ends the wait `seen`; false when somebody else did.
inline bool change_wait(ThreadRecord& record, Word seen, Waited now, std::uint32_t note = 0) {
  return record.wait_state.compare_exchange_strong(seen, with_waited(seen, now, note), std::memory_order_acq_rel);
}

// Says that the waiter, whose state is `state`, is about to sleep; false when its wait was ended meanwhile.
inline bool fall_asleep(ThreadRecord& record, Word& state) {
  if ((state & kAsleep) != 0) return record.wait_state.load(std::memory_order_acquire) == state;
  Word seen = state;
  if (!record.wait_state.compare_exchange_strong(seen, state | kAsleep, std::memory_order_acq_rel)) return false;
  state |= kAsleep;
  return true;
}

// Calls visit(thread index, record, wait_state) for each thread that waits, or was told and has not ended its wait.
template <typename Visit>
void each_waiter(const Segment& segment, Offset control, Visit&& visit) {
  const std::uint32_t threads = segment.threads_used();
  for (std::uint32_t index = 0; index < threads; ++index) {
    ThreadRecord& record = segment.thread(index);
    Word state = record.wait_state.load(std::memory_order_acquire);  // SYNC POINT: waiting
    if (waited(state) == Waited::kNot) continue;
    if (record.waits_on.load(std::memory_order_acquire) == control) visit(index, record, state);
  }
}

// How often one who waits looks after the dead, with whom nobody else may be concerned when there is no server.
std::int64_t wait_check_ns();
void set_wait_check_for_test(std::chrono::nanoseconds interval);

// For the recovery of a thread that announced a wake-up: sends it, and finishes what led to it.
void finish_wake(Segment& segment, Offset futex);

// For the recovery of a thread, after its locks: takes it out of what it waited in, and hands on what it was told. May
// be done by several at once, and too late: nothing is done to another user of the slot, whose claim is not `claim`.
// Whoever recovers the thread alone calls end_wait() afterwards.
void forget_wait(ThreadContext& me, ThreadRecord& record, Word claim);

}  // namespace commonhold::shm
