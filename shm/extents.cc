#include "shm/extents.h"

#include <algorithm>
#include <bit>
#include <iterator>

#include "shm/extents_commit.h"
#include "shm/lock_word.h"

namespace commonhold::shm {

namespace {

constexpr std::uint64_t kLowWater = 64;        // fewer free extents than this wake the server
constexpr std::uint64_t kMuchIsFree = 2048;    // more wake it, too: 128 MiB
constexpr int kTriesAside = 4;                 // others may take what was backed without the lock; then under it
constexpr std::uint64_t kSearchOfSplit = 256;  // extents looked at for a free chunk before a new one is split
constexpr std::uint64_t kMostPagesExtents = 32, kPagesShare = 128;  // see pages_run()

std::size_t size_index(std::uint64_t bytes) {
  return static_cast<std::size_t>(std::countr_zero(bytes / kGranule));
}

// Whole extents need no hint: the last one is for the system's pages.
AtomicWord& hint_for(SegmentHeader& header, std::uint64_t bytes, ChunkOwner whose) {
  return header.partial_hint[whose ? std::size(header.partial_hint) - 1 : size_index(bytes)];
}

enum class Find : std::uint8_t { kBacked, kAny };

// Finds `count` free extents in a row among [from, committed). REQUIRES: extents_lock.
bool find_run(const Segment& segment, std::uint64_t from, std::uint64_t count, Find what, std::uint64_t& first) {
  std::uint64_t committed = segment.committed_extents();
  std::uint64_t run = 0;
  for (std::uint64_t e = from; e < committed; ++e) {
    const Word word = extent_entry(segment, e).load(std::memory_order_relaxed);
    run = (what == Find::kAny ? is_takeable(word) : extent_kind(word) == ExtentKind::kFree) ? run + 1 : 0;
    if (run == count) {
      first = e + 1 - count;
      return true;
    }
  }
  return false;
}

// Free extents at the end of the committed ones. REQUIRES: extents_lock.
std::uint64_t free_at_end(const Segment& segment) {
  std::uint64_t committed = segment.committed_extents(), free = 0;
  while (free < committed && is_takeable(extent_entry(segment, committed - 1 - free).load(std::memory_order_relaxed))) {
    ++free;
  }
  return free;
}

std::uint64_t reserve_of(const Segment& segment) {
  return segment.tables().max_extents >= 32 * kReservedExtents ? kReservedExtents : 0;
}

// How many extents in a row are split for reference pages at once. Those of one process that makes many objects would
// lie among them else, one in every 8 MiB, and stay when the objects are gone: nothing larger would fit in between.
std::uint64_t pages_run(const Segment& segment) {
  return std::clamp<std::uint64_t>(segment.tables().max_extents / kPagesShare, 1, kMostPagesExtents);
}

// A run of free extents: of backed ones where there is one, of those that were given back to the system else, of new
// ones last. Still free in the table. kRetry, only with `aside`: that is to be backed first, without the lock.
// REQUIRES: extents_lock.
Status free_run(Segment& segment, std::uint64_t count, bool for_system, std::uint64_t& first, Backing* aside) {
  SegmentHeader& header = segment.header();
  std::uint64_t from = header.lowest_free.load(std::memory_order_relaxed);
  if (from > segment.committed_extents()) from = 0;  // garbage
  if (!find_run(segment, from, count, Find::kBacked, first)) {
    const bool any_unbacked = header.unbacked_extents.load(std::memory_order_relaxed) != 0;
    if (!any_unbacked || !find_run(segment, 0, count, Find::kAny, first)) {
      const std::uint64_t wanted = count - std::min(count, free_at_end(segment));
      Status status = aside != nullptr ? backing_of_more(segment, wanted, *aside) : commit_more(segment, wanted);
      if (status == Status::kOk && aside != nullptr) return Status::kRetry;
      if (status != Status::kOk) return status;
      if (!find_run(segment, any_unbacked ? 0 : from, count, Find::kAny, first)) return Status::kOutOfMemory;
    }
    if (aside != nullptr) {
      *aside = backing_of_run(segment, first, count);
      return Status::kRetry;
    }
    Status status = back_run(segment, first, count);
    if (status != Status::kOk) return status;
  }
  if (count == 1) header.lowest_free.store(first + 1, std::memory_order_relaxed);
  header.free_extents.store(header.free_extents.load(std::memory_order_relaxed) - count, std::memory_order_relaxed);
  if (for_system) return Status::kOk;
  // What is kept for the system is backed before anybody else gets the last of the others.
  const Status status = keep_free(segment, reserve_of(segment));
  if (status == Status::kOk) return status;
  header.free_extents.store(header.free_extents.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  header.lowest_free.store(0, std::memory_order_relaxed);
  return status;
}

// A free chunk in a split extent, or 64 for none.
std::uint32_t free_chunk_in(const Segment& segment, std::uint64_t extent, std::uint32_t granules, ChunkOwner whose) {
  Word word = extent_entry(segment, extent).load(std::memory_order_relaxed);
  if (extent_kind(word) != ExtentKind::kSplit || extent_granules(word) != granules || extent_owner(word) != whose) {
    return kGranulesPerExtent;
  }
  for (std::uint32_t g = 0; g + granules <= kGranulesPerExtent; g += granules) {
    if (granule_entry(segment, extent, g).load(std::memory_order_relaxed) == 0) return g;
  }
  return kGranulesPerExtent;
}

// REQUIRES: extents_lock.
Status take_split(Segment& segment, ChunkOwner owner, std::uint64_t bytes, Offset& found) {
  SegmentHeader& header = segment.header();
  auto granules = static_cast<std::uint32_t>(bytes / kGranule);
  const ChunkOwner whose = is_of_system(owner) ? kPagesOwner : ChunkOwner();
  AtomicWord& hint = hint_for(header, bytes, whose);
  std::uint64_t committed = segment.committed_extents();
  std::uint64_t extent = hint.load(std::memory_order_relaxed);
  std::uint32_t granule = kGranulesPerExtent;
  std::uint64_t looks = std::min(committed, kSearchOfSplit);
  for (std::uint64_t i = 0; i < looks && granule == kGranulesPerExtent; ++i) {
    if (extent >= committed) extent = 0;
    granule = free_chunk_in(segment, extent, granules, whose);
    if (granule == kGranulesPerExtent) ++extent;
  }
  if (granule == kGranulesPerExtent) {
    std::uint64_t run = is_of_system(owner) ? pages_run(segment) : 1;
    // Of what is free to all; the last extents, which are for the system alone, one by one.
    Status status = run > 1 ? free_run(segment, run, false, extent, nullptr) : Status::kOutOfMemory;
    if (status != Status::kOk) {
      run = 1;
      status = free_run(segment, 1, is_of_system(owner), extent, nullptr);
    }
    if (status != Status::kOk) {  // full: now every extent is worth a look
      for (extent = 0; extent < committed && granule == kGranulesPerExtent; ++extent) {
        granule = free_chunk_in(segment, extent, granules, whose);
      }
      if (granule == kGranulesPerExtent) return status;
      --extent;
    } else {
      for (std::uint64_t e = extent; e < extent + run; ++e) {
        for (std::uint32_t g = 0; g < kGranulesPerExtent; g += granules) {
          granule_entry(segment, e, g).store(0, std::memory_order_relaxed);
        }
        extent_entry(segment, e)
            .store(extent_word(ExtentKind::kSplit, granules, whose, kUnannouncedReaders), std::memory_order_release);
      }
      granule = 0;
    }
  }
  hint.store(extent, std::memory_order_relaxed);
  granule_entry(segment, extent, granule).store(owner.value, std::memory_order_release);
  found = extent_offset(segment, extent) + granule * kGranule;
  return Status::kOk;
}

// kRetry as free_run(). REQUIRES: extents_lock.
Status take_whole(Segment& segment, ChunkOwner owner, std::uint64_t bytes, LateReaders late, Backing* aside,
                  Offset& found) {
  std::uint64_t count = bytes / kExtent, first = 0;
  Status status = free_run(segment, count, is_of_system(owner), first, aside);
  if (status != Status::kOk) return status;
  for (std::uint64_t e = first; e < first + count; ++e) {
    AtomicWord& entry = extent_entry(segment, e);
    const Word mark = late == LateReaders::kPossible                  ? kUnannouncedReaders
                      : late == LateReaders::kFirstPage && e == first ? kUnannouncedFirstPage
                                                                      : 0;
    const Word readers = readers_of(entry.load(std::memory_order_relaxed)) | mark;
    entry.store(extent_word(ExtentKind::kWhole, 0, owner, readers), std::memory_order_release);
  }
  found = extent_offset(segment, first);
  return Status::kOk;
}

// REQUIRES: extents_lock.
void free_extent(Segment& segment, std::uint64_t extent) {
  SegmentHeader& header = segment.header();
  AtomicWord& entry = extent_entry(segment, extent);
  entry.store(readers_of(entry.load(std::memory_order_relaxed)), std::memory_order_release);
  header.free_extents.store(header.free_extents.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (extent < header.lowest_free.load(std::memory_order_relaxed)) {
    header.lowest_free.store(extent, std::memory_order_relaxed);
  }
}

// The server gives what is free for long back to the system. Told when the mark is passed, not at each chunk.
// REQUIRES: extents_lock; `count` extents were just freed.
void ring_when_much_is_free(const Segment& segment, std::uint64_t count) {
  const std::uint64_t free = segment.header().free_extents.load(std::memory_order_relaxed);
  if (free >= kMuchIsFree && free - std::min(free, count) < kMuchIsFree) segment.ring_bell();
}

bool is_empty_split(const Segment& segment, std::uint64_t extent, std::uint32_t step) {
  for (std::uint32_t g = 0; g + step <= kGranulesPerExtent; g += step) {
    if (granule_entry(segment, extent, g).load(std::memory_order_relaxed) != 0) return false;
  }
  return true;
}

// Of the run that the extent was split with, what no page was ever taken of. REQUIRES: extents_lock.
void free_empty_pages_beside(Segment& segment, std::uint64_t extent) {
  const std::uint64_t committed = segment.committed_extents();
  for (const std::uint64_t direction : {~std::uint64_t{0}, std::uint64_t{1}}) {
    for (std::uint64_t e = extent + direction; e < committed; e += direction) {
      const Word word = extent_entry(segment, e).load(std::memory_order_relaxed);
      const std::uint32_t step = extent_granules(word);
      if (is_takeable(word) && e + pages_run(segment) > extent && extent + pages_run(segment) > e) continue;
      if (extent_kind(word) != ExtentKind::kSplit || extent_owner(word) != kPagesOwner || step == 0) break;
      if (!is_empty_split(segment, e, step)) break;
      free_extent(segment, e);
    }
  }
}

// REQUIRES: extents_lock; the extent is split.
void free_granule(Segment& segment, std::uint64_t extent, std::uint32_t granule) {
  const Word word = extent_entry(segment, extent).load(std::memory_order_relaxed);
  std::uint32_t step = extent_granules(word);
  if (step == 0 || step >= kGranulesPerExtent) return;  // no writer of ours leaves that
  granule_entry(segment, extent, granule).store(0, std::memory_order_release);
  if (!is_empty_split(segment, extent, step)) {
    hint_for(segment.header(), step * kGranule, extent_owner(word)).store(extent, std::memory_order_relaxed);
    return;
  }
  free_extent(segment, extent);
  if (extent_owner(word) == kPagesOwner) free_empty_pages_beside(segment, extent);
}

}  // namespace

Status take_chunk(ThreadContext& me, ChunkOwner owner, std::uint64_t bytes, Offset& found, LateReaders late) {
  return take_chunk_in_time(me, owner, bytes, Deadline::never(), found, late);
}

Status take_chunk_in_time(ThreadContext& me, ChunkOwner owner, std::uint64_t bytes, Deadline deadline, Offset& found,
                          LateReaders late) {
  Segment& segment = me.segment();
  if (bytes > segment.tables().max_extents * kExtent) return Status::kOutOfMemory;
  std::uint64_t size = chunk_size(bytes);
  Status status;
  Backing aside;
  for (int tries = 0;; ++tries) {
    status = lock(me, segment.header().extents_lock, deadline);
    if (status != Status::kOk) return status;
    if (aside.count != 0) note_backing(segment, aside);
    aside = Backing();
    status = size < kExtent ? take_split(segment, owner, size, found)
                            : take_whole(segment, owner, size, late, tries < kTriesAside ? &aside : nullptr, found);
    (void)unlock(me, segment.header().extents_lock);
    if (status != Status::kRetry) break;
    status = back_aside(segment, aside);
    if (status != Status::kOk) break;
  }
  if (size >= kExtent || status != Status::kOk) {
    const SegmentHeader& header = segment.header();
    bool can_grow = segment.committed_extents() < segment.tables().max_extents ||
                    header.unbacked_extents.load(std::memory_order_relaxed) != 0;
    if (can_grow && header.free_extents.load(std::memory_order_relaxed) < kLowWater / 2) segment.ring_bell();
  }
  return status;
}

void pass_chunk(Segment& segment, Offset chunk, ChunkOwner to) {
  const std::uint64_t extent = (chunk - segment.tables().data) / kExtent;
  const auto granule = static_cast<std::uint32_t>((chunk - extent_offset(segment, extent)) / kGranule);
  granule_entry(segment, extent, granule).store(to.value, std::memory_order_release);
}

void give_chunk(ThreadContext& me, Offset chunk, std::uint64_t bytes) {
  Segment& segment = me.segment();
  if (!segment.holds(chunk, bytes) || chunk % kGranule != 0) return;
  std::uint64_t size = chunk_size(bytes);
  std::uint64_t extent = (chunk - segment.tables().data) / kExtent;
  HeldLock held(me, segment.header().extents_lock);
  if (size < kExtent) {
    auto granule = static_cast<std::uint32_t>((chunk - extent_offset(segment, extent)) / kGranule);
    if (extent_kind(extent_entry(segment, extent).load(std::memory_order_relaxed)) == ExtentKind::kSplit) {
      free_granule(segment, extent, granule);
    }
  } else {
    for (std::uint64_t e = extent; e < extent + size / kExtent; ++e) free_extent(segment, e);
    ring_when_much_is_free(segment, size / kExtent);
  }
}

void give_object(ThreadContext& me, std::uint32_t object) {
  Segment& segment = me.segment();
  HeldLock held(me, segment.header().extents_lock);
  std::uint64_t committed = segment.committed_extents();
  for (std::uint64_t e = 0; e < committed; ++e) {
    Word word = extent_entry(segment, e).load(std::memory_order_relaxed);
    if (extent_kind(word) == ExtentKind::kWhole) {
      if (extent_owner(word) && extent_owner(word).object() == object) free_extent(segment, e);
    } else if (extent_kind(word) == ExtentKind::kSplit && extent_granules(word) != 0) {
      for (std::uint32_t g = 0; g < kGranulesPerExtent; g += extent_granules(word)) {
        ChunkOwner owner(granule_entry(segment, e, g).load(std::memory_order_relaxed));
        if (owner && owner.object() == object) free_granule(segment, e, g);
        if (extent_kind(extent_entry(segment, e).load(std::memory_order_relaxed)) != ExtentKind::kSplit) break;
      }
    }
  }
}

ChunkOwner chunk_owner(const Segment& segment, Offset offset) {
  if (!segment.holds(offset, 1)) return ChunkOwner();
  std::uint64_t extent = (offset - segment.tables().data) / kExtent;
  Word word = extent_entry(segment, extent).load(std::memory_order_acquire);
  if (extent_kind(word) == ExtentKind::kWhole) return extent_owner(word);
  if (extent_kind(word) != ExtentKind::kSplit || extent_granules(word) == 0) return ChunkOwner();
  auto granule = static_cast<std::uint32_t>((offset - extent_offset(segment, extent)) / kGranule);
  granule -= granule % extent_granules(word);
  return ChunkOwner(granule_entry(segment, extent, granule).load(std::memory_order_acquire));
}

void repair_extents(Segment& segment) {
  SegmentHeader& header = segment.header();
  std::uint64_t committed = segment.committed_extents(), free = 0, unbacked = 0;
  for (std::uint64_t e = 0; e < committed; ++e) {
    Word word = extent_entry(segment, e).load(std::memory_order_relaxed);
    if (extent_kind(word) == ExtentKind::kSplit) {
      // An extent that was split for a chunk that was not taken, or whose last chunk was given back.
      bool used = extent_granules(word) == 0;
      for (std::uint32_t g = 0; extent_granules(word) != 0 && g < kGranulesPerExtent; g += extent_granules(word)) {
        used = used || granule_entry(segment, e, g).load(std::memory_order_relaxed) != 0;
      }
      if (!used) extent_entry(segment, e).store(word = readers_of(word), std::memory_order_release);
    }
    if (extent_kind(word) == ExtentKind::kFree) ++free;
    if (extent_kind(word) == ExtentKind::kUnbacked) ++unbacked;
  }
  header.free_extents.store(free, std::memory_order_relaxed);
  header.unbacked_extents.store(unbacked, std::memory_order_relaxed);
  header.lowest_free.store(0, std::memory_order_relaxed);
  for (auto& hint : header.partial_hint) hint.store(0, std::memory_order_relaxed);
}

MemoryUse memory_use(const Segment& segment) {
  const SegmentHeader& header = segment.header();
  const std::uint64_t known = segment.committed_extents();
  const std::uint64_t unbacked = std::min<Word>(known, header.unbacked_extents.load(std::memory_order_relaxed));
  const std::uint64_t committed = known - unbacked;
  const std::uint64_t free = std::min<Word>(committed, header.free_extents.load(std::memory_order_relaxed));
  return {committed * kExtent, (committed - free) * kExtent, free * kExtent, segment.tables().max_extents * kExtent};
}

std::uint64_t bytes_owned_by(const Segment& segment, std::uint32_t object) {
  std::uint64_t bytes = 0, committed = segment.committed_extents();
  for (std::uint64_t e = 0; e < committed; ++e) {
    Word word = extent_entry(segment, e).load(std::memory_order_acquire);
    if (extent_kind(word) == ExtentKind::kWhole && extent_owner(word).object() == object) bytes += kExtent;
    if (extent_kind(word) != ExtentKind::kSplit || extent_granules(word) == 0) continue;
    for (std::uint32_t g = 0; g < kGranulesPerExtent; g += extent_granules(word)) {
      ChunkOwner owner(granule_entry(segment, e, g).load(std::memory_order_acquire));
      if (owner && owner.object() == object) bytes += extent_granules(word) * kGranule;
    }
  }
  return bytes;
}

}  // namespace commonhold::shm
