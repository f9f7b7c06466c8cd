#include "shm/extents_commit.h"

#include <errno.h>
#include <fcntl.h>

#include <algorithm>

#include "shm/extents.h"
#include "shm/lock_word.h"

namespace commonhold::shm {

namespace {

constexpr std::uint64_t kCommitStep = 16;  // extents: 1 MiB

Status back(const Segment& segment, Offset from, Offset to) {
  from = from / kPage * kPage;
  to = round_up(to, kPage);
  int error;
  do {
    error = posix_fallocate(segment.memory_fd(), static_cast<off_t>(from), static_cast<off_t>(to - from));
  } while (error == EINTR);
  return error == 0 ? Status::kOk : error == EBADF ? Status::kNoFile : Status::kOutOfMemory;
}

// Backs extents [first, first + count) and the table entries that describe them. Idempotent.
Status back_extents(const Segment& segment, std::uint64_t first, std::uint64_t count) {
  std::uint64_t last = first + count;
  Status status = back(segment, segment.tables().extents + first * 8, segment.tables().extents + last * 8);
  if (status != Status::kOk) return status;
  constexpr std::uint64_t kEntries = kGranulesPerExtent * sizeof(std::uint32_t);
  status = back(segment, segment.tables().granules + first * kEntries, segment.tables().granules + last * kEntries);
  if (status != Status::kOk) return status;
  return back(segment, extent_offset(segment, first), extent_offset(segment, last));
}

// Extents that were given back to the system, from `first` on, at most `most`. REQUIRES: extents_lock.
std::uint64_t unbacked_from(const Segment& segment, std::uint64_t first, std::uint64_t most) {
  std::uint64_t count = 0;
  while (count < most &&
         extent_kind(extent_entry(segment, first + count).load(std::memory_order_relaxed)) == ExtentKind::kUnbacked) {
    ++count;
  }
  return count;
}

// The lowest of them, at most kCommitStep in a row. REQUIRES: extents_lock.
std::uint64_t lowest_unbacked(const Segment& segment, std::uint64_t& first) {
  const std::uint64_t committed = segment.committed_extents();
  for (first = 0; first < committed; ++first) {
    const std::uint64_t count = unbacked_from(segment, first, std::min(kCommitStep, committed - first));
    if (count != 0) return count;
  }
  return 0;
}

// Makes those of [first, first + count) free ones that are known as unbacked. REQUIRES: extents_lock; they are backed.
void note_backed(Segment& segment, std::uint64_t first, std::uint64_t count) {
  SegmentHeader& header = segment.header();
  for (std::uint64_t e = first; e < first + count; ++e) {
    AtomicWord& entry = extent_entry(segment, e);
    const Word word = entry.load(std::memory_order_relaxed);
    if (extent_kind(word) != ExtentKind::kUnbacked) continue;
    entry.store(readers_of(word), std::memory_order_release);
    header.unbacked_extents.store(header.unbacked_extents.load(std::memory_order_relaxed) - 1,
                                  std::memory_order_relaxed);
    header.free_extents.store(header.free_extents.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (e < header.lowest_free.load(std::memory_order_relaxed)) {
      header.lowest_free.store(e, std::memory_order_relaxed);
    }
  }
}

// REQUIRES: extents_lock; they are backed.
void note_committed(Segment& segment, std::uint64_t committed, std::uint64_t count) {
  SegmentHeader& header = segment.header();
  header.free_extents.store(header.free_extents.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  for (std::uint64_t e = committed; e < committed + count; ++e) {
    granule_entry(segment, e, 0).fetch_or(0, std::memory_order_relaxed);  // see Segment::is_backed
  }
  // SYNC POINT: committed: what lies below is backed; readers of committed_extents acquire.
  header.committed_extents.store(committed + count, std::memory_order_release);
}

}  // namespace

Backing backing_of_run(const Segment& segment, std::uint64_t first, std::uint64_t count) {
  return {first, count, count, false, segment.header().releases.load(std::memory_order_relaxed)};
}

Status backing_of_more(const Segment& segment, std::uint64_t wanted, Backing& more) {
  const std::uint64_t committed = segment.committed_extents();
  const std::uint64_t room = segment.tables().max_extents - committed;
  if (wanted > room) return Status::kOutOfMemory;
  more = {committed, std::min(room, std::max(wanted, kCommitStep)), wanted, true, 0};
  return Status::kOk;
}

Status back_aside(const Segment& segment, Backing& backing) {
  if (!backing.is_new) {
    return back(segment, extent_offset(segment, backing.first), extent_offset(segment, backing.first + backing.count));
  }
  Status status = back_extents(segment, backing.first, backing.count);
  if (status != Status::kOk && backing.count > backing.least) {
    backing.count = backing.least;
    status = back_extents(segment, backing.first, backing.count);
  }
  return status;
}

void note_backing(Segment& segment, const Backing& backing) {
  if (backing.is_new) {
    if (segment.committed_extents() == backing.first) note_committed(segment, backing.first, backing.count);
    return;
  }
  // An extent that is unbacked now was so all the time, unless some became so meanwhile.
  if (segment.header().releases.load(std::memory_order_relaxed) != backing.releases) return;
  note_backed(segment, backing.first, backing.count);
}

Status commit_more(Segment& segment, std::uint64_t wanted) {
  Backing more;
  Status status = backing_of_more(segment, wanted, more);
  if (status == Status::kOk) status = back_aside(segment, more);
  if (status == Status::kOk) note_committed(segment, more.first, more.count);
  return status;
}

Status back_run(Segment& segment, std::uint64_t first, std::uint64_t count) {
  const std::uint64_t end = first + count;
  for (std::uint64_t e = first; e < end; ++e) {
    const std::uint64_t run = unbacked_from(segment, e, end - e);
    if (run == 0) continue;
    Status status = back(segment, extent_offset(segment, e), extent_offset(segment, e + run));
    if (status != Status::kOk) return status;
    note_backed(segment, e, run);
    e += run;
  }
  return Status::kOk;
}

Status keep_free(Segment& segment, std::uint64_t wanted) {
  SegmentHeader& header = segment.header();
  const std::uint64_t committed = segment.committed_extents();
  for (std::uint64_t e = 0; e < committed && header.free_extents.load(std::memory_order_relaxed) < wanted &&
                            header.unbacked_extents.load(std::memory_order_relaxed) != 0;
       ++e) {
    if (extent_kind(extent_entry(segment, e).load(std::memory_order_relaxed)) != ExtentKind::kUnbacked) continue;
    const Status status = back_run(segment, e, 1);
    if (status != Status::kOk) return status;
  }
  const std::uint64_t free = header.free_extents.load(std::memory_order_relaxed);
  return free < wanted ? commit_more(segment, wanted - free) : Status::kOk;
}

Status commit_ahead(ThreadContext& me, std::uint64_t free_extents) {
  Segment& segment = me.segment();
  SegmentHeader& header = segment.header();
  while (header.free_extents.load(std::memory_order_relaxed) < free_extents) {
    // The slow part is done without the lock: to back what is backed, or what somebody has taken meanwhile, does no
    // harm.
    if (header.unbacked_extents.load(std::memory_order_relaxed) != 0) {
      std::uint64_t first = 0, count = 0;
      {
        HeldLock held(me, header.extents_lock);
        count = lowest_unbacked(segment, first);
      }
      if (count != 0) {
        Status status = back(segment, extent_offset(segment, first), extent_offset(segment, first + count));
        if (status != Status::kOk) return status;
        HeldLock held(me, header.extents_lock);
        note_backed(segment, first, count);
        continue;
      }
    }
    Backing more;
    Status status = backing_of_more(segment, 1, more);
    if (status == Status::kOk) status = back_aside(segment, more);
    if (status != Status::kOk) return status;
    HeldLock held(me, header.extents_lock);
    note_backing(segment, more);
  }
  return Status::kOk;
}

}  // namespace commonhold::shm
