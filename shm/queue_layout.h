// A first-in-first-out queue in shared memory: a chain of chunks that producers append to and consumers walk along.
//
//   QueueControl.oldest        get_cursor                         put_cursor
//        |                         |                                  |
//        v                         v                                  v
//   +---------+---+  next   +-----------+---+  next    next   +-----------+---+
//   | used up | t |-------->| ####->    | t |------> ... ---->| ####      | t |      t: ChunkTrailer, the last 64 bytes
//   +---------+---+         +-----------+---+                 +-----------+---+
//
//   fixed items:    | item, padded to words | item | item | ...
//   items of any    | header | bytes, padded | header | bytes | ... | skip |        header: kind and size
//   size:           | header | offset of a chunk of their own |                     larger than inline_limit()
//
// `tail` counts the items ever put, `head` those ever taken; the difference is the size. Producers hold `putting`,
// consumers `getting`; the two sides share no cache line but `tail` and `head`, and each keeps a copy of the other's.
//
// Commit points: a put of one or many items is one store of `tail`, after the items were written; a get is one store of
// `head`, after they were copied. A cursor is stored right after its count and carries the count's low bits: one that a
// death left behind is moved on by walking over items until the bits agree.
//
// INVARIANT: producers alone own chunks. They take, link, use again and give back; consumers only read, and never look
// at a chunk before get_cursor's. So what a dead producer lost is what belongs to the object and is not in the chain.
#pragma once

#include "shm/gate.h"
#include "shm/layout.h"

namespace commonhold::shm {

enum class QueueMode : std::uint8_t {
  kRing = 0,  // this file
  kFifo = 1,  // ordered_queue.h: items are kept in a heap and can be delivered again
  kLifo = 2,
  kPriority = 3,
};

struct QueueControl {
  // Written once.
  Word mode;         // QueueMode; the first word of every queue's control block
  Word item_bytes;   // of fixed items; 0: any size
  Word limit;        // items, ~0 for none
  Word chunk_bytes;  // a power of two
  // 0 open, else QueueEnd. Written under both locks, read under either.
  AtomicWord ended;

  // Producers', guarded by `putting`.
  alignas(128) LockWord putting;
  AtomicWord put_cursor;      // where the next item goes
  AtomicWord head_seen;       // a copy of `head`, behind it or equal
  AtomicWord oldest;          // first chunk of the chain
  AtomicWord reclaim_cursor;  // chunks of items before it were given back; between oldest and get_cursor
  AtomicWord has_large;       // 1 once an item had a chunk of its own

  alignas(128) AtomicWord tail;  // commit point of put. SYNC POINT: item put

  // Consumers', guarded by `getting`.
  alignas(128) LockWord getting;
  AtomicWord get_cursor;  // read by producers too. SYNC POINT: chunk left
  AtomicWord tail_seen;   // a copy of `tail`, behind it or equal
  AtomicWord pause;       // ticks between two looks at an empty queue (spin.h); a hint, any value will do

  alignas(128) AtomicWord head;  // commit point of get. SYNC POINT: item taken

  // Looked at by everybody, written by those who sleep, watch and wake alone.
  alignas(128) Gate items;             // consumers sleep here
  Gate room;                           // producers sleep here
  std::atomic<std::uint32_t> changes;  // futex of those who watch (watch.h), raised for them by wakers and recovery
  std::uint32_t unused;

  alignas(128) AtomicWord done;  // task_done calls; never above `tail`
  Gate all_done;                 // join sleeps here
};
static_assert(sizeof(QueueControl) <= kGranule);

enum class QueueEnd : std::uint8_t { kOpen = 0, kDraining = 1, kNow = 2 };
// As `ended` holds it; anything above is damage.
inline constexpr Word kEndedNow = static_cast<Word>(QueueEnd::kNow);

struct ChunkTrailer {
  AtomicWord next;     // written by the producer that filled the chunk, 0 until then
  AtomicWord ordinal;  // its place in the chain, for telling how long the chain is
  Word unused[6];
};
static_assert(sizeof(ChunkTrailer) == 64);

inline constexpr std::uint32_t kRingArena = 0;   // chunks of the chain
inline constexpr std::uint32_t kLargeArena = 1;  // chunks of single items

// A position: offset / 8 in bits 24-63, low bits of the count of items before it in bits 0-23.
constexpr Word kCursorCount = 0xff'ffff;
constexpr Word cursor_word(Offset at, Word count) {
  return at << 21 | (count & kCursorCount);
}
constexpr Offset cursor_at(Word cursor) {
  return cursor >> 24 << 3;
}
constexpr Word cursor_count(Word cursor) {
  return cursor & kCursorCount;
}
inline constexpr Word kMostInOneStep = Word{1} << 22;  // so that the low bits tell how far behind a cursor is

// The header of an item of any size: kind in bits 56-63, size in bits 0-47.
inline constexpr Word kLargeItem = Word{1} << 55;
inline constexpr Word kSkipRest = Word{0xff} << 56;  // the next item is in the next chunk
constexpr Word item_header(std::uint8_t kind, std::uint64_t size) {
  return Word{kind} << 56 | size;
}
constexpr std::uint64_t item_size(Word header) {
  return header & 0xffff'ffff'ffff;
}
constexpr std::uint64_t inline_limit(std::uint64_t chunk_bytes) {
  return chunk_bytes / 8;
}

}  // namespace commonhold::shm
