// One value in shared memory: a word that the processor changes atomically, or a larger trivially copyable object that
// is swapped in whole.
//
//   up to 8 bytes: ValueControl.word is the value.
//   larger: two buffers and a version; a writer (under `writing`) fills the buffer that readers do not use, then stores
//   version + 1: the commit point. A reader copies the buffer of the version it read and accepts it if the version
//   stands; after some disturbed attempts it tries for the lock, for a moment at a time. So it waits for no writer that is
//   stopped: either it gets the lock, or its holder is not getting on and disturbs nobody.
//
// INVARIANT: the version's parity names the buffer in force. A death before the store leaves the old value, after it
// the new one; nothing needs repair.
//
// watch: a waiter sets `watched`, looks at the value again and sleeps on `changes`. A writer that finds `watched`
// clears it, raises `changes` and wakes all: nobody pays when nobody watches, and a dead waiter costs one wake-up. A writer
// that dies between the change and the wake-up is recovered, which does the same for every value that the dead process
// referred to; a waiter about to sleep then sees `changes` differ and does not sleep.
#pragma once

#include <cstddef>

#include "shm/deadline.h"
#include "shm/layout.h"
#include "shm/object_address.h"
#include "shm/status.h"

namespace commonhold::shm {

class ThreadContext;

struct ValueControl {
  AtomicWord word;  // the value, up to 8 bytes, zero-extended
  // On a cache line of its own, for whoever changed the word looks here next: beside the word this would be a second
  // fetch of a line that all counting processes pull at.
  alignas(64) std::atomic<std::uint32_t> watched;  // 1: somebody sleeps or is about to
  std::atomic<std::uint32_t> changes;              // futex
  LockWord writing;                                // writers of a large value, and readers that were disturbed
  AtomicWord version;                              // of a large value
  Word size;                                       // bytes; written once
  Word buffers[2];                                 // offsets; written once, 0 for a word
  LockWord user_lock;                              // with_lock; recovered like any lock, guards nothing of ours
  Word unused;
};
static_assert(sizeof(ValueControl) == 128);  // the buffers of a large value follow in the same chunk

class Value {
 public:
  explicit Value(const ObjectAddress& where);

  std::size_t size() const;  // 0: the segment is damaged
  // The word itself, for sizes up to 8: std::atomic operations on it are the value's operations, followed by changed().
  AtomicWord& word() const;
  // After a change of the word: wakes those who wait for one. A load when nobody does.
  void changed() const;

  Status load(ThreadContext& me, void* out) const;        // any size
  Status store(ThreadContext& me, const void* in) const;  // any size
  Status exchange(ThreadContext& me, const void* in, void* out) const;
  // kMismatch with the value in `expected`.
  Status compare_exchange(ThreadContext& me, void* expected, const void* desired) const;

  // Waits until the value's bytes differ from `seen`; kTimedOut.
  Status wait_change(ThreadContext& me, const void* seen, Deadline deadline) const;

  LockWord& user_lock() const;

  // ---- for the catalogue of types and recovery
  // A value of `bytes` (1 or more; kTooLarge beyond 4 GiB): `initial` when it is a word, else zero.
  static Status create(ThreadContext& me, std::uint32_t object, std::uint64_t bytes, Word initial, Offset& control);
  static void repair(ThreadContext& me, const ObjectAddress& where, LockWord& held);
  // A process that referred to the value died: it may have changed it and not told it.
  static void user_died(const ObjectAddress& where) { Value(where).changed(); }
  static void each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word));

 private:
  ObjectAddress where_;
  ValueControl* control_;
  std::size_t size_;  // a copy made once: callers size their memory by it
};

}  // namespace commonhold::shm
