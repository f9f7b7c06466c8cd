// Waiting for a change of a dict, one of its keys, a list, a value, an array or a queue (for a lock, semaphore, event or
// barrier: ready_watch.h). A writer pays a look at a flag on a cache line that it touches anyway; nobody else pays.
//
// List and whole dict: a watcher sets the flag under the structure's lock (of a dict: each shard's). A writer that
// finds it set, still under that lock, counts the change, clears the flag and wakes. So a change either came before the
// flag was set, and whoever reads after that sees it, or is counted.
//
// Key: its shard has 63 flags, chosen by the key's hash. A change that finds its flag set is noted with its whole hash;
// the first note after any watcher's look wakes. The flags stay until kNotesKept + 1 notes came without a look, which
// clears them all. INVARIANT: between a watcher's looks its key's changes are among the last kNotesKept notes, or there
// were more; in the latter case it takes its key for changed.
//
// A dict that spreads over more shards gives each of them the flags and notes of the one that it had.
//
// Value: the watcher sets the flag, then looks at the value; a writer changes the value, then looks at the flag
// (value.h).
//
// Queue: likewise, with a flag in each of its two gates (gate.h), which putters and takers look at for sleepers anyway;
// what the watcher looks at are counts that only rise: items put, taken and delivered again.
//
// Array: the watcher sets the flag, makes a barrier for all writers (array.h), and goes by the count that they raise.
//
// INVARIANT: after look() every later change raises the futex. A death: a writer's repair notes a change of everything
// that its lock guards (a value's or queue's watcher compares as well; an array's is told of every death of a process
// that referred to it); a watcher that dies leaves a flag, which costs one writer one needless wake-up. Sleepers are
// woken by every death (sleep_notice.h).
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "shm/deadline.h"
#include "shm/item.h"
#include "shm/object_address.h"
#include "shm/status.h"
#include "shm/words.h"

namespace commonhold::shm {

class ThreadContext;
struct DictControl;
struct DictShard;
struct ListControl;

// In a shard's `watched`: the whole dict is, or keys with such a hash are.
inline constexpr std::uint64_t kWatchedWhole = std::uint64_t{1} << 63;
constexpr std::uint64_t dict_watch_bit(std::uint64_t hash) {
  return std::uint64_t{1} << (hash >> 16) % 63;
}

// Wakes the watchers of a dict when it goes out of scope: after the shard's lock is free, which they ask for at once.
struct WatchersToWake {
  ~WatchersToWake() {
    if (futex != nullptr) [[unlikely]]
      wake();
  }
  void wake() const;
  const std::atomic<std::uint32_t>* futex = nullptr;
};

// Notes a change of the key with this hash; of everything in the shard; of the list. REQUIRES: the structure's lock,
// the caller's or a dead owner's.
void note_dict_change(DictControl& control, DictShard& shard, std::uint64_t hash, WatchersToWake& later);
void note_all_dict_changes(DictControl& control, DictShard& shard);
void note_list_change(ListControl& control);

// For a `watched` (0 or 1) and `changes` that are the halves of one word: clears the one and raises the other at once,
// so that whoever finds the flag clear has the count raised already, also after a death in here; then wakes.
void tell_watching(AtomicWord& both, const std::atomic<std::uint32_t>& changes);

inline constexpr std::chrono::milliseconds kLookTimeout{100};

// What one watcher remembers, in its own memory. One thread at a time.
class Watcher {
 public:
  virtual ~Watcher() = default;
  // Whether something changed since the last look, or since the watcher was made. Every change after the return raises
  // the futex above expected().
  // kTimedOut: until the deadline somebody held what guards it, who may be stopped; nothing is known then.
  virtual Status look(ThreadContext& me, bool& changed, Deadline deadline = Deadline::after(kLookTimeout)) = 0;
  // Looks after dead owners that look() does not come by.
  virtual void look_for_dead(ThreadContext&) {}
  // Where the futex is one of waiters too (ready_watch.h): wakes the next sleeper. By whoever slept on it, when the look
  // that followed found what it waits for, or when none follows.
  void hand_on() const {
    if (const auto* futex = shared_futex()) [[unlikely]]
      hand_on(*futex);
  }
  static void hand_on(const std::atomic<std::uint32_t>& futex);
  const std::atomic<std::uint32_t>* shared_futex() const { return shares_futex_ ? futex_ : nullptr; }

  const std::atomic<std::uint32_t>& futex() const { return *futex_; }
  std::uint32_t expected() const { return expected_; }

 protected:
  const std::atomic<std::uint32_t>* futex_ = nullptr;
  std::uint32_t expected_ = 0;
  bool shares_futex_ = false;  // with waiters, who are woken one at a time
};

// Everything after the return counts as a change. nullptr: `status` says why.
std::unique_ptr<Watcher> watch_dict(ThreadContext& me, const ObjectAddress& where, Status& status);
std::unique_ptr<Watcher> watch_dict_key(ThreadContext& me, const ObjectAddress& where, const Item& key, Status& status);
std::unique_ptr<Watcher> watch_list(ThreadContext& me, const ObjectAddress& where, Status& status);
std::unique_ptr<Watcher> watch_value(ThreadContext& me, const ObjectAddress& where, Status& status);
// kNotAllowed: this process may not make barriers for others.
std::unique_ptr<Watcher> watch_array(ThreadContext& me, const ObjectAddress& where, Status& status);
// kItems: items that were put, or come again, and the queue's end; kRoom: items that were taken, and the end.
enum class QueueSide : std::uint8_t { kBoth, kItems, kRoom };
std::unique_ptr<Watcher> watch_queue(ThreadContext& me, const ObjectAddress& where, QueueSide side, Status& status);

// kOk: it changed; kTimedOut.
Status wait_for_change(ThreadContext& me, Watcher& watcher, Deadline deadline);

}  // namespace commonhold::shm
