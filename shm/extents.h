// The segment's memory: extents of 64 KiB, whole or split into chunks of 1, 2, 4, 8, 16 or 32 KiB.
//
//   extent table, one word an extent         granule table, 64 entries an extent
//   +-------------------------------+        +---------+---------+-----
//   | kind 0-1 | size 8-15 | owner  |        | owner   | owner   | ...    (one entry a chunk of a split extent,
//   +-------------------------------+        +---------+---------+-----    at the chunk's first granule)
//     0 free, 1 whole, 2 split,      32-63
//     3 free and not backed; bit 2: kUnannouncedReaders, bit 3: kUnannouncedFirstPage
//
// INVARIANT: the two tables are the truth; free_extents and the hints in the header are derived from them. A chunk is
// taken or given back by one store of its owner. A death between a chunk's taking and its use leaves a chunk owned by
// an arena that does not reach it: the arena's repair gives it back (heap.h).
//
// Whoever runs out commits more, under extents_lock where it is one extent, else without it; the server runs ahead so
// that clients rarely do (extents_commit.h).
//
// Reference pages lie in extents of their own (kPagesOwner in the word of a split extent), several in a row, so that they
// keep no extent from being whole again and large blocks find room between them; and kReservedExtents are for them alone, so that references can be taken in a full segment.
//
// Thread safety: any thread of any process. A leaf: no other lock is taken under extents_lock.
#pragma once

#include <cstdint>
#include <utility>

#include "shm/deadline.h"
#include "shm/layout.h"
#include "shm/segment.h"

namespace commonhold::shm {

// The chunk that a request of `bytes` gets: a power of two up to 64 KiB, then whole extents.
constexpr std::uint64_t chunk_size(std::uint64_t bytes) {
  if (bytes > kExtent) return round_up(bytes, kExtent);
  std::uint64_t size = kGranule;
  while (size < bytes) size *= 2;
  return size;
}

// Who may read a chunk after it was given back. A reader without a lock copies first and looks afterwards whether it
// was disturbed, so it may read a chunk that is free by then: the chunk has to stay backed. kNone: whoever reads refers
// to the object. kFirstPage: whoever reads more than the first page says so before (large_read.h).
enum class LateReaders : std::uint8_t { kPossible, kFirstPage, kNone };

// Takes a chunk of chunk_size(bytes) for `owner`; `found` is aligned to min(chunk size, 64 KiB). kOutOfMemory leaves
// everything as it was.
Status take_chunk(ThreadContext& me, ChunkOwner owner, std::uint64_t bytes, Offset& found,
                  LateReaders late = LateReaders::kPossible);

// The same; kTimedOut when the extents' lock is not to be had in time.
Status take_chunk_in_time(ThreadContext& me, ChunkOwner owner, std::uint64_t bytes, Deadline deadline, Offset& found,
                          LateReaders late = LateReaders::kPossible);

// Makes a chunk of a split extent another's. REQUIRES: it is the caller's, who alone knows of it.
void pass_chunk(Segment& segment, Offset chunk, ChunkOwner to);

// Gives a chunk back. REQUIRES: `bytes` as at take_chunk; nobody can reach it or is still reading it.
void give_chunk(ThreadContext& me, Offset chunk, std::uint64_t bytes);

// Gives back all that an object owns, without walking the object.
void give_object(ThreadContext& me, std::uint32_t object);

// Who owns the chunk that holds `offset`; nobody for offsets outside.
ChunkOwner chunk_owner(const Segment& segment, Offset offset);

// Calls visit(Offset chunk, uint64_t bytes) for each chunk of `owner`. A whole run of extents comes extent by extent.
// REQUIRES: the caller holds the owner's lock, so that its chunks stay.
template <typename Visit>
void for_each_chunk(const Segment& segment, ChunkOwner owner, Visit&& visit);

// Derives free_extents and the hints from the tables. REQUIRES: the caller owns extents_lock or its dead owner's.
void repair_extents(Segment& segment);

// What the segment's memory is used for, for people.
struct MemoryUse {
  std::uint64_t committed = 0;  // bytes backed by memory, as far as objects' memory goes
  std::uint64_t used = 0;       // of these, in extents that belong to objects
  std::uint64_t reusable = 0;   // of these, in free extents: the next object takes them
  std::uint64_t limit = 0;      // the memory limit
};
MemoryUse memory_use(const Segment& segment);

// Bytes that belong to an object, for accounting and tests.
std::uint64_t bytes_owned_by(const Segment& segment, std::uint32_t object);

// ---- the tables

enum class ExtentKind : std::uint8_t { kFree = 0, kWhole = 1, kSplit = 2, kUnbacked = 3 };

// Since the extent was backed last it held what is read without an announcement (LateReaders::kPossible). Stays when
// the extent is free.
inline constexpr Word kUnannouncedReaders = 4;
inline constexpr Word kUnannouncedFirstPage = 8;  // the same of its first page alone
inline constexpr Word kReaderMarks = kUnannouncedReaders | kUnannouncedFirstPage;
constexpr Word readers_of(Word extent) {
  return extent & kReaderMarks;
}

constexpr Word extent_word(ExtentKind kind, std::uint32_t granules, ChunkOwner owner, Word readers = 0) {
  return static_cast<Word>(kind) | readers | Word{granules} << 8 | Word{owner.value} << 32;
}
constexpr ExtentKind extent_kind(Word word) {
  return static_cast<ExtentKind>(word & 3);
}
constexpr std::uint32_t extent_granules(Word word) {
  return static_cast<std::uint32_t>(word >> 8 & 0xff);
}
constexpr bool is_takeable(Word word) {
  return extent_kind(word) == ExtentKind::kFree || extent_kind(word) == ExtentKind::kUnbacked;
}
constexpr ChunkOwner extent_owner(Word word) {
  return ChunkOwner(static_cast<std::uint32_t>(word >> 32));
}
// In the word of a split extent whose chunks are reference pages and the like.
inline constexpr ChunkOwner kPagesOwner(kSystemObject, 0);
constexpr bool is_of_system(ChunkOwner owner) {
  return owner.object() >= kMaxObjects;
}
constexpr std::uint64_t kReservedExtents = 2;

inline AtomicWord& extent_entry(const Segment& segment, std::uint64_t extent) {
  return segment.at<AtomicWord>(segment.tables().extents)[extent];
}
inline std::atomic<std::uint32_t>& granule_entry(const Segment& segment, std::uint64_t extent, std::uint32_t granule) {
  return segment.at<std::atomic<std::uint32_t>>(segment.tables().granules)[extent * kGranulesPerExtent + granule];
}
inline Offset extent_offset(const Segment& segment, std::uint64_t extent) {
  return segment.tables().data + extent * kExtent;
}

// The same for each chunk whose owner is_wanted.
template <typename IsWanted, typename Visit>
void for_each_chunk_of(const Segment& segment, IsWanted&& is_wanted, Visit&& visit) {
  std::uint64_t committed = segment.committed_extents();
  for (std::uint64_t e = 0; e < committed; ++e) {
    Word word = extent_entry(segment, e).load(std::memory_order_acquire);
    if (extent_kind(word) == ExtentKind::kWhole && is_wanted(extent_owner(word))) {
      visit(extent_offset(segment, e), kExtent);
    } else if (extent_kind(word) == ExtentKind::kSplit) {
      std::uint32_t step = extent_granules(word);
      if (step == 0) continue;
      for (std::uint32_t g = 0; g + step <= kGranulesPerExtent; g += step) {
        if (is_wanted(ChunkOwner(granule_entry(segment, e, g).load(std::memory_order_acquire)))) {
          visit(extent_offset(segment, e) + g * kGranule, step * kGranule);
        }
      }
    }
  }
}

template <typename Visit>
void for_each_chunk(const Segment& segment, ChunkOwner owner, Visit&& visit) {
  for_each_chunk_of(
      segment, [owner](ChunkOwner found) { return found == owner; }, std::forward<Visit>(visit));
}

}  // namespace commonhold::shm
