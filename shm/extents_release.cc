#include "shm/extents_release.h"

#include <errno.h>
#include <fcntl.h>

#include <vector>

#include "shm/extents.h"
#include "shm/lock_word.h"

namespace commonhold::shm {

namespace {

constexpr ChunkOwner kReleaser(kSystemObject, kReleaseArena);

bool punch(const Segment& segment, Offset from, Offset to) {
  int result;
  do {
    result = fallocate(segment.memory_fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(from),
                       static_cast<off_t>(to - from));
  } while (result != 0 && errno == EINTR);
  return result == 0;
}

bool keeps_first_page(const Segment& segment, std::uint64_t extent) {
  return (extent_entry(segment, extent).load(std::memory_order_relaxed) & kUnannouncedFirstPage) != 0;
}

// Whether a thread may be reading a large block. REQUIRES: the extents in question are out of the table of free ones.
bool anybody_reads_large(Segment& segment) {
  std::atomic_thread_fence(std::memory_order_seq_cst);  // SYNC POINT: large read
  if (segment.header().unslotted_large_reads.load(std::memory_order_seq_cst) != 0) return true;
  const std::uint32_t threads = segment.threads_used();
  for (std::uint32_t t = 0; t < threads; ++t) {
    if (segment.thread(t).reads_large.load(std::memory_order_seq_cst) != 0) return true;
  }
  return false;
}

// REQUIRES: extents_lock: a session that freed memory before is seen.
bool another_session_lives(const Segment& segment) {
  const std::uint32_t sessions = segment.sessions_used();
  for (std::uint32_t s = 0; s < sessions; ++s) {
    const Word state = segment.session(s).state.load(std::memory_order_seq_cst);
    if (session_state(state) != SessionState::kFree && !segment.is_own(SessionIndex{s})) return true;
  }
  return false;
}

// Takes the highest free extents that may go, as many as `taken` has room for. REQUIRES: extents_lock.
void take_idle(Segment& segment, std::uint64_t keep, bool alone, std::vector<std::uint64_t>& taken) {
  SegmentHeader& header = segment.header();
  std::uint64_t free = header.free_extents.load(std::memory_order_relaxed);
  for (std::uint64_t e = segment.committed_extents(); e-- > 0 && free > keep && taken.size() < taken.capacity();) {
    AtomicWord& entry = extent_entry(segment, e);
    const Word word = entry.load(std::memory_order_relaxed);
    if (extent_kind(word) != ExtentKind::kFree) continue;
    if ((word & kUnannouncedReaders) != 0 && !alone) continue;
    // The marks stay: if the hole is not punched the extent is as free as it was.
    entry.store(extent_word(ExtentKind::kWhole, 0, kReleaser, readers_of(word)), std::memory_order_release);
    header.free_extents.store(--free, std::memory_order_relaxed);
    taken.push_back(e);
  }
}

// Before extents become unbacked ones. REQUIRES: extents_lock.
void note_release(SegmentHeader& header) {
  header.releases.store(header.releases.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// REQUIRES: extents_lock; the extents are the releaser's.
void settle(Segment& segment, const std::vector<std::uint64_t>& extents, bool punched, bool alone) {
  SegmentHeader& header = segment.header();
  AtomicWord& count = punched ? header.unbacked_extents : header.free_extents;
  if (punched) note_release(header);
  for (std::uint64_t e : extents) {
    AtomicWord& entry = extent_entry(segment, e);
    const Word marks = punched && alone ? 0 : readers_of(entry.load(std::memory_order_relaxed));
    const ExtentKind kind = punched ? ExtentKind::kUnbacked : ExtentKind::kFree;
    entry.store(extent_word(kind, 0, ChunkOwner(), marks), std::memory_order_release);
    count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (!punched && e < header.lowest_free.load(std::memory_order_relaxed)) {
      header.lowest_free.store(e, std::memory_order_relaxed);
    }
  }
}

}  // namespace

std::uint64_t release_extents(ThreadContext& me, std::uint64_t keep, std::uint64_t most, bool reads_nothing) {
  Segment& segment = me.segment();
  std::vector<std::uint64_t> extents;
  extents.reserve(most);  // nothing is allocated under the lock
  bool alone = false;
  {
    HeldLock held(me, segment.header().extents_lock);
    alone = reads_nothing && !another_session_lives(segment);
    take_idle(segment, keep, alone, extents);
  }
  if (extents.empty()) return 0;
  bool any_hole = false, refused = anybody_reads_large(segment);
  for (std::size_t i = 0; i < extents.size() && !refused;) {
    // A run of neighbours, which come in descending order, up to one that keeps its first page.
    std::size_t run = 1;
    while (i + run < extents.size() && extents[i + run] == extents[i] - run &&
           (alone || !keeps_first_page(segment, extents[i + run - 1]))) {
      ++run;
    }
    const std::uint64_t lowest = extents[i + run - 1];
    const Offset from = extent_offset(segment, lowest) + (!alone && keeps_first_page(segment, lowest) ? kPage : 0);
    refused = !punch(segment, from, extent_offset(segment, extents[i] + 1));
    any_hole = any_hole || !refused;
    i += run;
  }
  HeldLock held(me, segment.header().extents_lock);
  // Where one is a hole all count as holes: to back one that is backed does no harm.
  settle(segment, extents, any_hole, alone);
  return any_hole ? extents.size() : 0;
}

void finish_release(ThreadContext& me) {
  Segment& segment = me.segment();
  HeldLock held(me, segment.header().extents_lock);
  const std::uint64_t committed = segment.committed_extents();
  note_release(segment.header());
  for (std::uint64_t e = 0; e < committed; ++e) {
    AtomicWord& entry = extent_entry(segment, e);
    const Word word = entry.load(std::memory_order_relaxed);
    if (extent_kind(word) != ExtentKind::kWhole || extent_owner(word) != kReleaser) continue;
    // Punched or not: it is backed before it is taken.
    entry.store(extent_word(ExtentKind::kUnbacked, 0, ChunkOwner(), readers_of(word)), std::memory_order_release);
    AtomicWord& unbacked = segment.header().unbacked_extents;
    unbacked.store(unbacked.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
}

}  // namespace commonhold::shm
