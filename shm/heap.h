// Blocks for one arena of an object (a dict's shard, a list): slabs of equal blocks, and chunks for what is larger.
//
//   slab: a chunk                                    free block             first free block of a fresh run
//   +--------------+-------+-------+-----+           +------+-----          +------+-----+-----
//   | SlabHeader 64| block | block | ... |           | next | ...           | next | end | ...
//   +--------------+-------+-------+-----+           +------+-----          +------+-----+-----
//
// INVARIANT: what the structure reaches is in use; everything else here is derived. After a death rebuild() makes the
// free lists anew from what is reachable, so no step of take, give or retire has to be undone.
//
// Readers take no lock. They copy and then compare the arena's recycle counter, which is raised before any block that
// was reachable is used again. retire() therefore parks a block outside itself (its bytes stay as they are); when the
// park is full, or large blocks in it keep much memory from others, the counter is raised once and all parked blocks
// become free. Blocks that a thread has pinned stay
// parked; when pinned ones fill the park, what is retired then is left unreached (a stray) until the next rebuild.
//
// Thread safety: under the arena's lock.
#pragma once

#include <cstdint>
#include <vector>

#include "shm/extents.h"
#include "shm/layout.h"

namespace commonhold::shm {

inline constexpr std::uint32_t kHeapClasses = 24;
inline constexpr std::uint32_t kLargestClass = 2048;  // larger blocks are chunks of their own
inline constexpr std::uint32_t kParkedBlocks = 14;
inline constexpr std::uint64_t kMostParkedBytes = 1u << 20;  // in chunks; a large heap may park an eighth of itself

// In the segment, guarded by the arena's lock, derived. A death leaves anything in it: rebuild() overwrites it all.
struct HeapState {
  Word free_head[kHeapClasses];  // a free block; bit 0: it heads a fresh run and holds {next, end}
  Word parked_count;             // in bits 0-31; strays in bits 32-63
  Word parked[kParkedBlocks];    // offset / 16 in bits 0-39, size class or chunk size in 40-63
  Word owned_bytes;              // chunks of this arena, for sizing the next slab
};
static_assert(sizeof(HeapState) == 320);

struct SlabHeader {
  AtomicWord block_bytes;
  Word unused[7];
};
static_assert(sizeof(SlabHeader) == 64);

struct BlockRange {
  Offset at;
  std::uint64_t bytes;  // as requested at take()
};

class Heap {
 public:
  // REQUIRES: the arena's lock is held by `me` (or by a dead owner whom the caller recovers) as long as this lives.
  Heap(ThreadContext& me, ChunkOwner owner, HeapState& state, AtomicWord& recycle)
      : me_(me), segment_(me.segment()), owner_(owner), state_(state), recycle_(recycle) {}

  // A block of at least `bytes`, 16-byte aligned (64-byte aligned when bytes is a multiple of 64). 0: out of memory.
  // `late`: who reads it without a lock, if it becomes a chunk of its own.
  Offset take(std::uint64_t bytes, LateReaders late = LateReaders::kPossible);

  // Sees to it that `count` blocks of up to kLargestClass bytes can be taken without more memory; false: out of memory.
  bool reserve(std::uint64_t bytes, std::uint64_t count);

  // Frees a block that was never reachable by readers.
  void give(Offset block, std::uint64_t bytes);

  // Frees a block that readers may still be looking at. Never fails. REQUIRES: nothing leads to it any more.
  void retire(Offset block, std::uint64_t bytes);

  // Raises the recycle counter and makes all parked, unpinned blocks free.
  void recycle();

  // Derives everything from what is reachable: frees unreached blocks, gives unreached chunks back. Unreached blocks
  // that a thread has pinned are parked.
  void rebuild(std::vector<BlockRange> reachable);

  // In the place of a rebuild() that found no private memory: what is free is out of reach, as strays are, until the next.
  void forget_free();

  // True after a retire() that made a stray, each time their number has doubled: a rebuild is due.
  bool wants_rebuild() const;

  // A block and its size in one word, as `parked` and ThreadRecord::pinned hold it.
  static Word block_word(Offset block, std::uint64_t bytes);

  // The bytes that a request really takes.
  static std::uint64_t block_size(std::uint64_t bytes);

  struct Audit {
    std::uint64_t chunks = 0, slab_blocks = 0, free_blocks = 0, parked_blocks = 0;
    std::uint64_t lost_blocks = 0;     // neither reachable nor free nor parked
    std::uint64_t doubled_blocks = 0;  // in two of these at once
    std::uint64_t lost_chunks = 0;     // owned, unreachable, no slab
  };
  // Counts every block of the arena against what is reachable. For tests and `doctor`.
  Audit audit(const std::vector<BlockRange>& reachable);

 private:
  Offset take_from_new_slab(std::uint32_t size_class);
  void push_free(std::uint32_t size_class, Offset block);
  void free_parked(Word parked);
  bool parks_too_much() const;
  void recycle_beside_pins(Word count);
  template <typename Visit>
  void each_pin(Visit&& visit) const;  // visit(Word block), as `parked` holds it
  void park_pinned(std::vector<BlockRange>& reachable);
  Word parked_count() const { return state_.parked_count & 0xffff'ffff; }
  Word strays() const { return state_.parked_count >> 32; }
  void set_parked(Word count, Word strays) { store_word(&state_.parked_count, count | strays << 32); }

  ThreadContext& me_;
  Segment& segment_;
  ChunkOwner owner_;
  HeapState& state_;
  AtomicWord& recycle_;
};

}  // namespace commonhold::shm
