// Which bytes of a segment a test's image of it has to hold.
#pragma once

#include <cstddef>
#include <vector>

#include "shm/layout.h"
#include "shm/object_table.h"
#include "shm/references.h"
#include "shm/segment.h"
#include "support/shared_image.h"

namespace commonhold::test {

// The parts of the segment that are backed by memory now: the header and the tables up to the last backed object
// record, then the extents and their tables. For SharedImage and KillPlan::shared. What an operation backs beyond stays
// backed and keeps its bytes when the image is restored, but nobody owns it then. About 2.5 MiB for a small segment.
inline std::vector<MemoryRange> backed_ranges(const shm::Segment& segment) {
  constexpr std::size_t kPageBytes = 4096;
  const shm::SegmentHeader& header = segment.header();
  const std::size_t objects_end = header.objects_at + header.objects_committed.load() * sizeof(shm::ObjectRecord);
  const std::size_t extents_end = header.data_at + header.committed_extents.load() * shm::kExtent;
  const std::size_t pages_end = shm::flight_page(segment) + shm::kPagesBackedAtFirst * shm::kReferencePageBytes;
  return {{segment.base(), pages_end},
          {segment.base() + header.objects_at,
           (objects_end - header.objects_at + kPageBytes - 1) / kPageBytes * kPageBytes},
          {segment.base() + header.extents_at, extents_end - header.extents_at}};
}

}  // namespace commonhold::test
