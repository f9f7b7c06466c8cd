// A queue under one lock, for what a ring cannot do: last in first out, by priority, and items that are delivered again
// when their consumer dies before it called task_done.
//
// A put of one or many items swaps the root of the items' heap (ordered_heap.h), a take swaps it back (of many:
// ordered_bulk.h) or claims a returned flight (queue_flights.h): one store each. `count` and `puts` follow under the
// lock and are derived after a death. A put keeps as many nodes free as a take needs, so that a full segment can be
// drained; only a page for more than 25 items in flight has to be found then.
//
// With redelivery an item that was taken is in flight until the thread that took it, or another one of its process,
// calls task_done; when that thread ends before, the item is returned and goes to the next consumer, before all others.
// A consumer killed at any instruction has either not taken the item, or it will be delivered again.
//
// A take with redelivery changes several words. For those who count without the lock its commit point is the store of
// `takes`: before it the stamps of its flights are too high, after it they are valid, and so is new_count.
//
// Deadlines, errors and thread safety as Queue.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "shm/links.h"
#include "shm/object_address.h"
#include "shm/ordered_bulk.h"
#include "shm/ordered_heap.h"
#include "shm/queue_bulk.h"
#include "shm/queue_flights.h"

namespace commonhold::shm {

struct OrderedControl {
  // Written once.
  Word mode;       // QueueMode
  Word redeliver;  // 1: items are in flight until task_done
  Word limit;      // items, ~0 for none

  // Guarded by `changing`.
  alignas(64) LockWord changing;
  AtomicWord ended;     // QueueEnd
  AtomicWord root;      // commit point; offset of the first node, 0 for no items
  AtomicWord count;     // items below root; read by anybody
  AtomicWord puts;      // items ever put; read by anybody
  AtomicWord gets;      // raised after each take, and by repair: for those who watch
  AtomicWord takes;     // a stamp for flights: those of lower stamps are taken
  AtomicWord flights;   // the first page of flights, 0 for none
  AtomicWord returned;  // 1: there may be returned flights. Set by recovery without the lock, after they were returned;
                        // cleared by who looks for them. Means nothing without redelivery: nobody clears it there
  AtomicWord recycle;   // the heap asks for it; nobody reads items without the lock
  // Of a take that redelivers, in its middle: when `takes` is new_takes, `count` is about to become new_count. 0: none.
  AtomicWord new_takes, new_count;
  HeapState heap;

  alignas(64) Gate items;
  Gate room;
  Gate all_done;
  AtomicWord done;                     // task_done calls of a queue without redelivery
  AtomicWord returns;                  // raised by recovery after it returned flights: for those who watch
  std::atomic<std::uint32_t> changes;  // futex of those who watch (watch.h)
};
static_assert(sizeof(OrderedControl) <= kGranule);

inline constexpr std::uint32_t kItemArena = 2;

enum class WhichFlight : std::uint8_t { kOldest, kNewest };

class OrderedQueue {
 public:
  explicit OrderedQueue(const ObjectAddress& where)
      : where_(where), control_(where.segment->at<OrderedControl>(where.control)) {}

  Status put(ThreadContext& me, const Item& item, Word priority, Deadline deadline) const;
  // `taken` gets the item; `priority` where it is not null.
  Status get(ThreadContext& me, std::string& taken, Word* priority, Deadline deadline) const;
  Status get_fixed(ThreadContext& me, void* taken, std::uint64_t size, Word* priority, Deadline deadline) const;

  // As Queue's. Many items are put, or taken, by one store of the root; those that were returned, which a bulk take
  // takes as well, are returned again when it dies. Fewer are taken where memory for more is missing.
  Status put_many(ThreadContext& me, std::span<const Item> items, Deadline deadline, std::uint64_t& done) const;
  Status get_many(ThreadContext& me, std::uint64_t most, std::vector<std::string>& items, Deadline deadline) const;
  Status get_many_fixed(ThreadContext& me, void* items, std::uint64_t size, std::uint64_t most, std::uint64_t stride,
                        Deadline deadline, std::uint64_t& got, std::uint64_t all = 0) const;
  Status peek_many(ThreadContext& me, std::uint64_t most, CopiedItems& items, Deadline deadline) const;
  Status take_seen(ThreadContext& me, std::span<const Word> numbers, std::uint64_t& count) const;

  Status peek(ThreadContext& me, ItemKind& kind, std::string& item, Deadline deadline) const;
  Status take_if_equal(ThreadContext& me, const Item& expected, Word* priority) const;
  void pass_on_items() const;

  // Returned ones too; those that one thread had taken come back one by one.
  std::uint64_t size() const { return count_items().here; }
  std::uint64_t limit() const { return control_->limit; }
  // A put would wait. Items in flight, and those that were returned, take no room.
  bool full() const { return count_items(false).below_root >= limit(); }

  // Without redelivery kNotHeld: more often than items were put. With it the item that the calling thread took first is
  // done, or another thread's of this process; kNotHeld: none of them has one.
  // Of the items that this thread has taken and not worked off.
  Status task_done(ThreadContext& me, WhichFlight which = WhichFlight::kOldest) const;
  std::uint64_t unfinished() const { return control_->redeliver != 0 ? count_items().open : puts_not_done(); }
  Status join(ThreadContext& me, Deadline deadline) const;

  Status shut_down(ThreadContext& me, bool now) const;
  QueueEnd ended() const { return static_cast<QueueEnd>(control_->ended.load(std::memory_order_acquire)); }
  std::uint32_t holder_pid() const;

  // ---- for the catalogue of types, recovery and tests
  static Status create(ThreadContext& me, std::uint32_t object, QueueMode mode, std::uint64_t limit, bool redeliver,
                       Offset& control);
  static void repair(ThreadContext& me, const ObjectAddress& where, LockWord& held);
  static void each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word));
  static void wake(const ObjectAddress& where);
  static bool each_link(ThreadContext& me, const ObjectAddress& where, Deadline deadline, const LinkVisitor& visit);
  static void owner_ended(const ObjectAddress& where, std::uint32_t owner);
  struct Audit {
    std::string error;  // as of Queue
    std::uint64_t items = 0, lost_blocks = 0, lost_chunks = 0;
  };
  Audit audit(ThreadContext& me) const;
  // Every item that waits, in the order in which they come out. REQUIRES: nobody changes the queue meanwhile.
  std::vector<std::string> items_for_test() const;

 private:
  QueueMode mode() const { return static_cast<QueueMode>(control_->mode & 3); }
  Segment& segment() const { return *where_.segment; }
  Heap heap(ThreadContext& me) const {
    return Heap(me, ChunkOwner(where_.object, kItemArena), control_->heap, control_->recycle);
  }
  Status put_locked(ThreadContext& me, const Item& item, Word priority) const;
  template <typename Copy>
  Status get_with(ThreadContext& me, Deadline deadline, Word* priority, Copy&& copy) const;
  template <typename Copy>
  Status take_locked(ThreadContext& me, Word* priority, Copy&& copy) const;
  template <typename Copy>
  Status take_returned(ThreadContext& me, Word* priority, Copy&& copy) const;
  Status free_flight(ThreadContext& me, Flight*& found) const;
  Status add_flight_page(ThreadContext& me, FlightPage*& added) const;
  void commit_take(Word from_root, Word returned, Offset now) const;
  struct Counts {
    Word below_root = 0;
    Word here = 0;  // those, and the returned ones
    Word open = 0;  // those, and the ones in flight
    bool at_one_moment = false;
  };
  Counts count_items(bool flights_too = true) const;
  bool all_done() const;
  std::uint64_t puts_not_done() const;

  // ordered_queue_bulk.cc
  Status put_chain_locked(ThreadContext& me, std::span<const Item> put, Word priority) const;
  Status pick_locked(ThreadContext& me, OrderedBulk& bulk, std::uint64_t most) const;
  Status find_flights(ThreadContext& me, OrderedBulk& bulk, std::uint64_t& most) const;
  void commit_picks(ThreadContext& me, OrderedBulk& bulk, Offset now) const;
  template <typename Items>
  Status copy_picks(std::span<const OrderedBulk::Pick> picks, Items& items) const;
  template <typename Show>
  Status take_many_locked(ThreadContext& me, OrderedBulk& bulk, std::uint64_t most, Show&& show) const;
  template <typename Show, typename MakeRoom>
  Status take_many(ThreadContext& me, std::uint64_t most, Deadline deadline, Show&& show, MakeRoom&& make_room) const;

  template <typename Copy>
  Status copy_out(Offset box, Copy&& copy) const;
  Status finish_flight(ThreadContext& me, WhichFlight which) const;
  bool collect(std::vector<BlockRange>& reached, std::vector<Offset>& boxes, Word& count, Word& next) const;
  bool has_items() const;  // or was shut down
  bool has_room() const;   // or was shut down

  ObjectAddress where_;
  OrderedControl* control_;
};

}  // namespace commonhold::shm
