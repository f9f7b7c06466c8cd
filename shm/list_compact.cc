// Moves a list's large elements together, as dict_compact.cc does a dict's values: what is free in pieces becomes free
// in one.
//
// The boxes of whole extents move towards the front of the segment, highest first, each into the first hole that holds
// it. A move is a copy and then one store, of the cell; a death before it leaves a chunk that nothing reaches, one
// after it a retired chunk: both are derived. `changes` stays: every element is what it was. A reader that is at the
// old box sees `recycle` raised before that memory is used again.
#include <algorithm>
#include <new>
#include <vector>

#include "shm/large_read.h"
#include "shm/list_writer.h"

namespace commonhold::shm {

namespace {

struct LargeBox {
  AtomicWord* cell;
  Offset at;
  std::uint64_t bytes;
};

// Highest first; nothing where the list is damaged. REQUIRES: the list's lock; a list of boxes. Throws std::bad_alloc.
std::vector<LargeBox> large_boxes(const Segment& segment, const ListView& view) {
  std::vector<LargeBox> found;
  std::uint64_t count = 0;
  for (std::uint64_t index = 0; index < view.size(); index += count) {
    AtomicWord* cells;
    if (find_cells(segment, view, index, cells, count) != Status::kOk || count == 0) return {};
    for (std::uint64_t i = 0; i < count; ++i) {
      const Offset at = cells[i].load(std::memory_order_relaxed);
      Word header = 0;
      if (box_at(segment, at, header) == nullptr) return {};
      if (is_large_block(box_bytes(header))) found.push_back({&cells[i], at, box_bytes(header)});
    }
  }
  std::sort(found.begin(), found.end(), [](auto& a, auto& b) { return a.at > b.at; });
  // Two cells that name one box would have it moved twice.
  const auto overlap = [](const LargeBox& above, const LargeBox& below) { return below.at + below.bytes > above.at; };
  if (std::adjacent_find(found.begin(), found.end(), overlap) != found.end()) return {};
  return found;
}

}  // namespace

bool ListWriter::compact() {
  if (!boxed_) return false;
  std::uint64_t refused_bytes = ~std::uint64_t{0};
  bool moved = false;
  try {
    for (const LargeBox& box : large_boxes(segment_, view_)) {
      if (box.bytes >= refused_bytes) continue;  // no hole holds one of that size
      const Offset to = heap_.take(box.bytes, LateReaders::kFirstPage);
      if (to == 0 || to > box.at) {
        if (to != 0) heap_.give(to, box.bytes);
        refused_bytes = box.bytes;
        continue;
      }
      // Nobody writes what is reachable.
      write_block(segment_.at<std::byte>(to), segment_.at<std::byte>(box.at), box.bytes);
      box.cell->store(to, std::memory_order_release);  // SYNC POINT: list cell
      heap_.retire(box.at, box.bytes);
      heap_.recycle();  // what became free is the next one's hole
      moved = true;
    }
  } catch (const std::bad_alloc&) {
    // Of private memory, before anything moved.
  }
  return moved;
}

bool List::compact(ThreadContext& me) {
  ListWriter list(me, where_);
  return list.status() == Status::kOk && list.compact();
}

}  // namespace commonhold::shm
