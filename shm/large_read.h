// Reading large blocks without a lock, while free memory may go back to the system (extents_release.h).
//
// A reader without a lock may still be reading a block when it is free already; then it must not meet a hole in the
// file. So before a reader touches more than the first page of a block of whole extents (is_large_block) it announces
// that in its thread's record, and only then looks up where the block is. The server takes free extents out of the
// table, then looks for announcements, and punches holes only when there is none: either it sees the announcement, or
// the reader, who looks the block up afterwards, does not find the free one. SYNC POINT: large read.
//
// A death leaves the announcement, and its recovery takes it back. A reader that is stopped keeps memory from going
// back to the system, and nothing else.
#pragma once

#include "shm/layout.h"
#include "shm/segment.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

// Whether a block of so many bytes lies in whole extents, so that a reader announces itself.
constexpr bool is_large_block(std::uint64_t bytes) {
  return bytes > kExtent / 2;
}

// An announcement for a scope. Made before the block is looked up. Without a thread slot it is counted in the header.
class LargeRead {
 public:
  explicit LargeRead(Segment& segment) : segment_(segment), me_(segment.here()) {
    if (me_ == nullptr) {
      segment_.header().unslotted_large_reads.fetch_add(1, std::memory_order_seq_cst);
    } else {
      nested_ = me_->record().reads_large.exchange(1, std::memory_order_seq_cst) != 0;
    }
  }
  ~LargeRead() {
    if (me_ == nullptr) {
      segment_.header().unslotted_large_reads.fetch_sub(1, std::memory_order_release);
    } else if (!nested_) {
      me_->record().reads_large.store(0, std::memory_order_release);
    }
  }
  LargeRead(const LargeRead&) = delete;
  LargeRead& operator=(const LargeRead&) = delete;

 private:
  Segment& segment_;
  ThreadContext* me_;
  bool nested_ = false;
};

}  // namespace commonhold::shm
