// A counting semaphore that knows who holds its permits, so that a death gives back exactly what the dead one held.
//
//   SemaphoreControl { state, switching, limit, kind, more, held[240] }            more -> held of sessions 240..2047
//
//   state: | session + 1 (12) | held by that session (20) | W | value (31) |       its low half is the futex
//
// INVARIANT: what a session holds is `state`'s held while `state` names the session, else its cell of `held`; the cell
// of the session that `state` names means nothing. So an acquisition or release by the session that came last is one
// compare-and-swap that changes the value and the holder's count together: there is no moment at which a permit is
// nobody's. Another session first takes the place in `state`, under `switching`: it writes the count of the one before
// into that one's cell (which means nothing yet), and its compare-and-swap is the commit point of the switch and of its
// own change. Cells are written under `switching` alone, so a switch that fails or dies has changed nothing.
//
// A release takes away from what the releasing process holds; beyond that it makes new permits. A death gives back what
// the dead process acquired and did not release itself. A session that ends in order gives nothing back.
//
// Waiting: a waiter sets W before it sleeps. A release that finds W clears it and wakes; who slept takes its permit
// with W set again, and wakes one more while permits are left. A death wakes all sleepers (sleep_notice.h).
#pragma once

#include <vector>

#include "shm/deadline.h"
#include "shm/layout.h"
#include "shm/object_address.h"
#include "shm/status.h"

namespace commonhold::shm {

class ThreadContext;

inline constexpr Word kMostPermits = 0x7fff'ffff;
// A process that holds more gets back so many.
inline constexpr Word kMostHeld = 0xf'ffff;

enum class SemaphoreKind : Word {
  kPermits = 0,  // what a dead process held comes back
  kItems = 1,    // nobody holds: what was acquired is used up
};

struct SemaphoreControl {
  static constexpr std::uint32_t kCells = 240;

  AtomicWord state;
  LockWord switching;  // who changes the session in `state`, and all cells
  Word limit;          // the value never rises above it; written once
  Word kind;           // SemaphoreKind; written once
  AtomicWord more;     // a chunk with the cells of sessions from kCells on, 0 until one of them comes
  Word unused[3];
  std::atomic<std::uint32_t> held[kCells];
};
static_assert(sizeof(SemaphoreControl) == kGranule);

class Semaphore {
 public:
  explicit Semaphore(const ObjectAddress& where);

  // kOk, kTimedOut, kOutOfMemory.
  Status acquire(ThreadContext& me, Deadline deadline = Deadline::never()) const;
  // By anybody. kOutOfRange: the value would rise above the limit; nothing was changed.
  Status release(ThreadContext& me, Word permits = 1) const;

  Word value() const;
  Word limit() const { return limit_; }
  // What the caller's process holds.
  Word held(ThreadContext& me) const;
  // The sum over all processes, at a moment when nobody changes it.
  Word held_by_all(ThreadContext& me) const;
  struct Holder {
    std::uint32_t session = 0;  // its index
    Word permits = 0;
  };
  // Without a lock, for people: one who takes or gives a permit meanwhile may be told as before or as after.
  std::vector<Holder> holders() const;
  // The futex of those who wait for a permit.
  Offset waited_at() const { return where_.control; }

  // ---- for the catalogue of types and recovery
  // kOutOfRange: a start above kMostPermits. A bounded one never rises above its start.
  static Status create(ThreadContext& me, std::uint32_t object, Word start, bool bounded, SemaphoreKind kind,
                       Offset& control);
  // For who sleeps by itself (ready_watch.h): false when there is a permit; else the next release changes the futex from
  // `expected`, and wakes.
  const std::atomic<std::uint32_t>& futex() const;
  bool announce_waiter(std::uint32_t& expected) const;
  void recover_dead_holders(ThreadContext& me) const;

  static void repair(ThreadContext& me, const ObjectAddress& where, LockWord& held);
  static void each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word));

 private:
  friend bool settle_permits(ThreadContext& me, SessionIndex session, bool give_back);
  friend void help_settle_permits(ThreadContext& me, SessionIndex session, std::uint32_t generation);

  Word own_session(ThreadContext& me) const;
  Status try_acquire(ThreadContext& me, Word waiters, Deadline deadline, Word& left) const;
  Status wait_and_acquire(ThreadContext& me, Deadline deadline) const;
  // The rest REQUIRES that `switching` is held.
  Status prepare_cell(ThreadContext& me, Word session) const;
  std::atomic<std::uint32_t>* cell(Word session) const;
  Word switched(Word seen, Word session) const;
  void settle(ThreadContext& me, Word session, bool give_back) const;

  ObjectAddress where_;
  SemaphoreControl* control_;
  Word limit_;
  bool counts_holders_;
};

// Ends what a session holds of any semaphore: gives it back (a death) or lets it be used up (an orderly end). Can be
// done again from the start. It does not wait long for a semaphore that another process holds, which may be stopped:
// false then, and there is more to do. REQUIRES: for a death, that no thread of the session changes a semaphore
// meanwhile.
bool settle_permits(ThreadContext& me, SessionIndex session, bool give_back);

// Gives back what a dead session holds that another process recovers. May be done by several at once, and too late: a
// session of another generation is left alone.
void help_settle_permits(ThreadContext& me, SessionIndex session, std::uint32_t generation);

}  // namespace commonhold::shm
