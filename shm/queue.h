// A first-in-first-out queue: puts and gets of items of one size or of any, bounded or not (queue_layout.h).
//
// An item is put when `tail` counts it and taken when `head` does. A producer killed before its commit put nothing, one
// killed after it put its items; a consumer killed after its commit took them with it. Neither holds anybody up.
//
// Deadlines cover waiting for the lock, too. One attempt (Deadline::already) still waits for a lock that somebody is
// about to free; kTimedOut also says that a stopped process holds it (holder_pid).
//
// Thread safety: any thread of any process.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "shm/links.h"
#include "shm/queue_bulk.h"
#include "shm/queue_ring.h"

namespace commonhold::shm {

class Queue {
 public:
  explicit Queue(const ObjectAddress& where) : where_(where), ring_(where) {}

  // kTimedOut: no room. kClosed: it was shut down. kOutOfMemory changes nothing. kMismatch: not the size of items.
  Status put(ThreadContext& me, const Item& item, Deadline deadline) const;
  // All or nothing where they fit at once, else as many at a time as fit; `done` says how many were put when it fails.
  Status put_many(ThreadContext& me, std::span<const Item> items, Deadline deadline, std::uint64_t& done) const;
  // Of fixed items, `stride` bytes from one to the next.
  Status put_fixed(ThreadContext& me, const void* items, std::uint64_t count, std::uint64_t stride, Deadline deadline,
                   std::uint64_t& done) const;

  // kTimedOut: nothing came. kClosed: nothing will come.
  Status get(ThreadContext& me, std::string& item, Deadline deadline) const;
  // Of items of exactly `size` bytes; kMismatch takes nothing.
  Status get_fixed(ThreadContext& me, void* item, std::uint64_t size, Deadline deadline) const;
  // Waits for one, takes up to `most` (and kMostInOneStep) by one store. std::bad_alloc takes nothing.
  Status get_many(ThreadContext& me, std::uint64_t most, std::vector<std::string>& items, Deadline deadline) const;
  // With `all`: kRetry, and nothing is taken, when more than `most` could be, and `got` says how many of up to `all`.
  Status get_many_fixed(ThreadContext& me, void* items, std::uint64_t size, std::uint64_t most, std::uint64_t stride,
                        Deadline deadline, std::uint64_t& got, std::uint64_t all = 0) const;

  // For items that refer to objects, and those whose decoding may fail: a copy of the first ones, which stay; then they
  // are taken if they are still the first. kMismatch: they are not. take_seen takes the first `count` of those that
  // were seen and have these numbers; `count` gets how many it took.
  Status peek_many(ThreadContext& me, std::uint64_t most, CopiedItems& items, Deadline deadline) const;
  Status take_seen(ThreadContext& me, std::span<const Word> numbers, std::uint64_t& count) const;
  Status peek(ThreadContext& me, ItemKind& kind, std::string& item, Deadline deadline) const;
  Status take_if_equal(ThreadContext& me, const Item& expected) const;
  // For a consumer that has seen items and does not take them: wakes another waiter.
  void pass_on_items() const;

  std::uint64_t size() const;
  std::uint64_t limit() const { return ring_.limit(); }  // ~0 for none
  bool full() const { return size() >= limit(); }        // a put would wait
  std::uint64_t item_bytes() const { return ring_.item_bytes(); }

  // kNotHeld: more often than items were put.
  Status task_done(ThreadContext& me) const;
  std::uint64_t unfinished() const;
  // Waits until unfinished() is 0.
  Status join(ThreadContext& me, Deadline deadline) const;

  // Nobody puts any more; consumers take what is left, or with `now` nothing. Wakes all who wait.
  Status shut_down(ThreadContext& me, bool now) const;
  QueueEnd ended() const { return static_cast<QueueEnd>(ring_.control().ended.load(std::memory_order_acquire)); }

  // Who holds the producers' or the consumers' lock just now, 0 for nobody.
  std::uint32_t holder_pid(bool putting) const;

  // ---- for the catalogue of types, recovery and tests
  static Status create(ThreadContext& me, std::uint32_t object, std::uint64_t item_bytes, std::uint64_t limit,
                       Offset& control) {
    return QueueRing::create(me, object, item_bytes, limit, control);
  }
  static void repair(ThreadContext& me, const ObjectAddress& where, LockWord& held);
  static void each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word));
  static void wake(const ObjectAddress& where);
  static bool each_link(ThreadContext& me, const ObjectAddress& where, Deadline deadline, const LinkVisitor& visit);
  struct Audit {
    std::string error;  // the first broken invariant, or what memory is lost; empty when sound
    std::uint64_t items = 0, lost_blocks = 0, lost_chunks = 0;
  };
  // Checks every invariant and counts every chunk. REQUIRES: nobody changes the queue meanwhile.
  Audit audit(ThreadContext& me) const;
  // Every item, in order. REQUIRES: as audit().
  std::vector<std::string> items_for_test() const;

 private:
  template <typename Append>
  Status put_with(ThreadContext& me, std::uint64_t count, Deadline deadline, std::uint64_t& done,
                  Append&& append) const;
  template <typename Take>
  Status get_with(ThreadContext& me, std::uint64_t wanted, Deadline deadline, Take&& take) const;
  bool has_items() const;  // or was shut down
  bool has_room() const;   // or was shut down
  bool wait_for_items(ThreadContext& me, Deadline deadline) const;
  bool wait_for_room(ThreadContext& me, Deadline deadline) const;
  template <typename Items>
  Status copy_many(ThreadContext& me, std::uint64_t most, Items& items, Deadline deadline, Word* head) const;
  Status take_fixed_run(Offset& at, std::byte* to, std::uint64_t count, std::uint64_t stride) const;
  void help_reclaim(ThreadContext& me) const;

  ObjectAddress where_;
  QueueRing ring_;
};

}  // namespace commonhold::shm
