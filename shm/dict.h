// A hash map in shared memory, in insertion order for those who ask. Writers of one shard take turns; readers take no
// lock. dict_layout.h draws the memory and says what a death leaves.
//
// Thread safety: any thread of any process; `me` is the calling thread. No user code runs under a lock.
// Every change becomes visible, and survives a death, as a whole: by one store, or for several keys by one redo record.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shm/heap.h"
#include "shm/item.h"
#include "shm/links.h"
#include "shm/object_address.h"
#include "shm/status.h"

namespace commonhold::shm {

class DictShards;
class ThreadContext;
struct DictControl;
struct DictForesight;
struct DictShard;

enum class PutMode : std::uint8_t { kPut, kInsertOnly, kReplaceOnly };

struct DictPair {
  Item key, value;
};

// A copied entry; key and value bytes stand one after the other in `bytes`.
struct DictEntryCopy {
  std::uint64_t sequence = 0;  // rises with insertion
  ItemKind key_kind = ItemKind::kNull, value_kind = ItemKind::kNull;
  std::uint32_t key_size = 0;
  std::string bytes;

  std::string_view key() const { return std::string_view(bytes).substr(0, key_size); }
  std::string_view value() const { return std::string_view(bytes).substr(key_size); }
};

// What one process remembers between calls of pop_last: (sequence, hash) in rising order, complete for all sequences
// below `known`. Entries that went meanwhile are skipped. Not shared between threads.
struct DictOrderCache {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> order;
  std::uint64_t known = 0;
};

// A word in a process's own memory that any thread may change, and that copies take along.
struct CopiedWord : std::atomic<std::uint64_t> {
  CopiedWord() : atomic(0) {}
  CopiedWord(const CopiedWord& other) : atomic(other.load(std::memory_order_relaxed)) {}
  CopiedWord& operator=(const CopiedWord& other) {
    store(other.load(std::memory_order_relaxed), std::memory_order_relaxed);
    return *this;
  }
};

class Dict {
 public:
  explicit Dict(const ObjectAddress& where);

  // kOk with the value copied to `value`; kNotFound.
  Status get(const Item& key, Sink value) const;
  // The same for a value of exactly `size` bytes, without calls back. kMismatch when its size differs.
  Status get_fixed(const Item& key, void* value, std::size_t size) const;
  // The two ways that it takes. The short one is for its caller's code (dict_lookup.h); false: look at length.
  bool get_fixed_straight(const Item& key, void* value, std::size_t size) const;
  Status get_fixed_at_length(const Item& key, void* value, std::size_t size) const;
  bool contains(const Item& key) const;
  // Exact at a moment between call and return. 0 where the segment is damaged: has_shards() tells.
  std::uint64_t size() const;
  bool has_shards() const;

  // Puts a value; kExists with kInsertOnly and a present key, kNotFound with kReplaceOnly and an absent one, both
  // changing nothing. `before`, when it has room, gets the value that was there; `replaced` says whether there was one.
  Status put(ThreadContext& me, const Item& key, const Item& value, PutMode mode = PutMode::kPut,
             std::string* before = nullptr, bool* replaced = nullptr);

  // The two ways that put() takes. The short one, in its caller's code (dict_overwrite.h), puts a value where there is
  // one; false: nothing was changed, and `absent` is the key's hash if it looks as if the key were not there. It is
  // never taken where a link would come or go.
  bool put_straight(ThreadContext& me, const Item& key, const Item& value, std::uint64_t& absent);
  Status put_at_length(ThreadContext& me, const Item& key, const Item& value, PutMode mode, std::string* before,
                       bool* replaced, std::uint64_t absent = 0);

  // Removes a key; kNotFound. `before` gets the value. With `expected` only where the value equals it; kMismatch.
  Status erase(ThreadContext& me, const Item& key, std::string* before = nullptr, const Item* expected = nullptr);

  // Puts `desired` where the value equals `expected` byte by byte; kMismatch with the value in `actual`; kNotFound.
  Status compare_exchange(ThreadContext& me, const Item& key, const Item& expected, const Item& desired,
                          std::string* actual = nullptr);

  // Atomically applies `change` to a scalar and gives the word before. An absent key starts from `start` when not
  // null, else kNotFound; kMismatch when the value is no word of `kind`. `change` is one of ours, never user code.
  using WordChange = Word (*)(Word before, Word operand);
  Status change_word(ThreadContext& me, const Item& key, ItemKind kind, WordChange change, Word operand,
                     const Word* start, Word* before);
  // The short way of it, as put_straight() is of put().
  bool change_word_straight(ThreadContext& me, const Item& key, ItemKind kind, WordChange change, Word operand,
                            Word& before);

  // Several keys at once: after a death all of them are there or none. Later pairs of an equal key win.
  Status put_many(ThreadContext& me, std::span<const DictPair> pairs);
  // Several keys at one moment: no put_many is seen half done. Calls sinks[i].room for keys that are present; found[i].
  Status get_many(ThreadContext& me, std::span<const Item> keys, std::vector<std::string>& values,
                  std::vector<bool>& found, std::vector<ItemKind>* kinds = nullptr) const;

  // Removes the entry inserted last; kNotFound when empty.
  // Amortised constant for a process that pops repeatedly with the same `cache`.
  // With `expected` only if it is still the last one, with that value; else kMismatch with the last one in `popped`.
  Status pop_last(ThreadContext& me, DictOrderCache& cache, DictEntryCopy& popped,
                  const DictEntryCopy* expected = nullptr);

  // Removes everything; puts other contents in the place of all. One step each.
  Status clear(ThreadContext& me);
  Status assign(ThreadContext& me, std::span<const DictPair> pairs);

  // All entries at one moment, in insertion order.
  Status snapshot(ThreadContext& me, std::vector<DictEntryCopy>& entries) const;

  // Pins the value's block: it stays readable in place, unchanged by later puts, until unpin (or the thread's death). A
  // scalar alone is changed in its place, so its pin shows what is put later.
  // kTooMany when the thread holds all its pins. `data` points into the segment, 8-byte aligned.
  Status pin(ThreadContext& me, const Item& key, const void*& data, std::size_t& size, ItemKind& kind,
             std::uint32_t& pin_slot) const;
  static void unpin(ThreadContext& me, std::uint32_t pin_slot);

  // ---- for the catalogue of types, recovery and tests
  // With so many shards, a power of two; 0: one, and more when the dict is crowded (dict_spread.h).
  static Status create(ThreadContext& me, std::uint32_t object, std::uint64_t shards, Offset& control);
  // Repairs the shard that `held` guards (its owner is dead) so that release_for_dead may follow.
  static void repair(ThreadContext& me, const ObjectAddress& where, LockWord& held);
  static void each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word));
  static bool each_link(ThreadContext& me, const ObjectAddress& where, Deadline deadline, const LinkVisitor& visit);
  struct Audit {
    std::string error;  // the first broken invariant, or what memory is lost; empty when sound
    std::uint64_t entries = 0, lost_blocks = 0, lost_chunks = 0;
    std::uint64_t left_staged = 0;  // shards with entries of a batch that is over, for the next large one to free
  };
  // Checks every invariant and counts every block. REQUIRES: nobody changes the dict meanwhile.
  Audit audit(ThreadContext& me) const;

  // Chunks that only freed blocks lie in go back to the segment, from every shard.
  void give_idle_memory(ThreadContext& me);
  // Moves large values together, so that free memory is in one piece. False: nothing could be moved.
  bool compact(ThreadContext& me);
  // False: both were done, in vain, and since then no large batch died here, and nothing changed but the attempt that
  // has just found no memory.
  bool may_have_idle_memory() const;
  // True: but others gave memory back since.
  bool may_move_together() const;
  void found_no_idle_memory();

 private:
  template <typename Use>
  Status with_key(ThreadContext& me, const Item& key, const DictForesight& seen, Use&& use);
  Status try_put_many(ThreadContext& me, std::span<const DictPair> pairs);
  Status try_assign(ThreadContext& me, std::span<const DictPair> pairs);
  Status try_clear(ThreadContext& me);
  Status try_pop_last(ThreadContext& me, DictOrderCache& cache, DictEntryCopy& popped, const DictEntryCopy* expected);

  // As one look at the control block says (dict_shards.h).
  DictShards look_at_shards() const;

  ObjectAddress where_;
  Segment* segment_;
  DictControl* control_;
  mutable CopiedWord sound_shards_;  // of DictShards
};

}  // namespace commonhold::shm
