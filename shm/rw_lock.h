// A lock for one writer or many readers. Nobody counts readers: each says in its own thread slot that it reads.
//
//   thread slots:  announced[] { ... control | kShared ... }        one entry for each time a thread shares the lock
//                        ^ looked through by a writer
//   RwLockControl { word, readers_seen, drained, draining, exclusive, died }
//
// A reader announces the lock, then looks at `word`; a writer takes `word`, then looks through the slots: one of the
// two sees the other, and a reader that sees a writer takes its announcement back. INVARIANT: whoever shares the lock
// is announced; while `exclusive` is 1 nobody shares it. A dead reader is released by the emptying of its slot, a dead
// writer by the recovery of `word`: there is nothing to repair.
//
// Fairness: readers that find `word` taken wait for it like a writer does and announce themselves while they hold it.
// So new readers wait as soon as a writer does, and queue with writers on equal terms.
//
// `readers_seen` spares writers the look through the slots. A reader that finds it 0 sets it and begins anew; a writer that
// found no announcement clears it. A reader that finds it set has looked at `word` before and looks at it once more. Both
// are needed: a writer that held the word since before the first look, and clears `readers_seen`, holds it at the first;
// and one that took it between the two looks, without looking through the slots because it found 0 where another reader
// has written 1 since, holds it at the second.
#pragma once

#include <vector>

#include "shm/deadline.h"
#include "shm/layout.h"
#include "shm/object_address.h"
#include "shm/status.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

struct RwLockControl {
  LockWord word;  // who writes, waits for readers to leave, or passes as a reader that had to wait
  std::atomic<std::uint32_t> readers_seen;  // 0: no slot announces the lock
  std::atomic<std::uint32_t> drained;       // futex of a writer that waits for readers, raised as one leaves
  AtomicWord draining;                      // 1: a writer waits for readers
  AtomicWord exclusive;                     // 1: the owner of `word` writes
  AtomicWord died;                          // pid of the last writer that died writing, bit 63 set; 0 once told
  Word unused[3];
};
static_assert(sizeof(RwLockControl) == 64);

class RwLock {
 public:
  explicit RwLock(const ObjectAddress& where);

  // kOk, kTimedOut; kDeadlock: the calling thread shares it, or writes.
  Status acquire(ThreadContext& me, Deadline deadline = Deadline::never()) const;
  // By the writer; kNotHeld.
  Status release(ThreadContext& me) const;

  // As often as the thread likes. kOk, kTimedOut; kDeadlock: the calling thread writes; kTooMany: its slot is full.
  Status acquire_shared(ThreadContext& me, Deadline deadline = Deadline::never()) const;
  // By the thread that shares it; kNotHeld.
  Status release_shared(ThreadContext& me) const;

  // The same when nobody is in the way: no calls. False: nothing was done.
  bool share_free(ThreadContext& me) const {
    if (me.shares(where_.control) || !me.has_room()) [[unlikely]]
      return false;
    (void)me.announce_shared(where_.control);
    // SYNC POINT: reader announced.
    if (control_->word.state.load(std::memory_order_seq_cst) == 0 &&
        control_->readers_seen.load(std::memory_order_seq_cst) != 0 &&
        control_->word.state.load(std::memory_order_seq_cst) == 0) [[likely]]
      return true;
    (void)me.retract_last_shared(where_.control);
    reader_gone();  // a writer may have seen us
    return false;
  }
  bool unshare_last(ThreadContext& me) const {
    if (!me.retract_last_shared(where_.control)) [[unlikely]]
      return false;
    reader_gone();
    return true;
  }

  bool held_by(const ThreadContext& me) const;  // exclusively
  bool shared_by(const ThreadContext& me) const;
  std::uint32_t writer_pid() const;  // 0: nobody writes
  std::uint32_t readers() const;     // how many threads share it, at some moment
  struct Reader {
    std::uint32_t thread = 0;  // its slot
    std::uint32_t times = 0;
  };
  std::vector<Reader> all_readers() const;  // at some moment
  std::uint32_t take_died() const;          // REQUIRES: the caller writes

  // ---- for the catalogue of types and recovery
  static Status create(ThreadContext& me, std::uint32_t object, Offset& control);
  static void repair(ThreadContext& me, const ObjectAddress& where, LockWord& held);
  static void each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word));
  // A reader may have died between the end of its announcement and its look at `draining`.
  static void user_died(const ObjectAddress& where) { RwLock(where).reader_gone(); }
  void reader_gone() const {  // after its announcement went
    // SYNC POINT: reader gone; the writer sets `draining` before it looks through the slots.
    if (control_->draining.load(std::memory_order_seq_cst) != 0) [[unlikely]]
      wake_writer();
  }

 private:
  bool is_mine(const ThreadContext& me) const;
  bool readable() const;
  void wake_writer() const;
  Status drain(ThreadContext& me, Deadline deadline) const;
  class DeadReaders;
  void recover_reader(ThreadContext& me, std::uint32_t thread, DeadReaders& dead) const;
  template <typename Visit>
  void each_reader(Visit&& visit) const;

  ObjectAddress where_;
  RwLockControl* control_;
};

}  // namespace commonhold::shm
