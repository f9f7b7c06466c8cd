// The nodes of a list and the one way to change its tree: copy what changes, swap the root (list.h draws the whole).
//
//   ListRoot (48 bytes)                 ListNode (1024 bytes), level 0: a leaf        level >= 1: inner
//   +------+--------+------------+      +------+---------+------+------+---+ +------+------+-------+-------+--- | tree
//   | height | tree_count |      | link | dropped | cell | cell |...|          | link | used | child | count |...
//   +------+--------+------------+      +------+---------+------+------+---+ +------+------+-------+-------+--- | tail
//   | tail_count | 0      |                         up to 126 cells              up to 63 pairs, counts in elements
//
// A leaf's number of cells stands in its parent (or root). `link` and a leaf's `dropped` serve the writer that holds
// the lock: chains of nodes it made and of nodes it replaces. No reader looks at them and a death may leave anything
// there.
#pragma once

#include <cstdint>
#include <vector>

#include "shm/heap.h"
#include "shm/list.h"
#include "shm/undisturbed.h"
#include "shm/watch.h"

namespace commonhold::shm {

inline constexpr std::uint64_t kLeafCells = 126;
inline constexpr std::uint64_t kInnerPairs = 63;
inline constexpr int kMaxListHeight = 12;
inline constexpr std::uint32_t kListArena = 0;
inline constexpr std::uint64_t kBoxHeader = 8;  // kind in bits 0-7, size above; the bytes follow, zero-padded

struct ListRoot {
  AtomicWord tree, height, tree_count;  // written before the root is reachable
  AtomicWord tail;                      // likewise; the leaf it names grows in place
  AtomicWord tail_count;                // commit point of push and pop at the back
  AtomicWord unused;
};
static_assert(sizeof(ListRoot) == 48);

struct ListNode {
  AtomicWord link;
  AtomicWord used;  // inner: pairs; leaf: `dropped`, first cell in bits 0-31, last + 1 in 32-63
  AtomicWord words[2 * kInnerPairs];
};
static_assert(sizeof(ListNode) == 1024 && kLeafCells == 2 * kInnerPairs);

// A copy of the root record.
struct ListView {
  Offset root = 0;
  Offset tree = 0;
  std::uint64_t height = 0, tree_count = 0;
  Offset tail = 0;
  std::uint64_t tail_count = 0;
  std::uint64_t size() const { return tree_count + tail_count; }
};

// Indexes from the end, -1 and below, as 64 bits. One before the front stays larger than any size.
constexpr bool counts_from_end(std::uint64_t index) {
  return index >> 63 != 0;
}
constexpr std::uint64_t from_front(std::uint64_t index, std::uint64_t size) {
  return counts_from_end(index) ? index + size : index;
}

// Reads the root record; every field is within bounds on kOk.
Status read_view(const Segment& segment, const ListControl& control, ListView& view);

// The cells from element `index` to the end of its leaf; kRetry: disturbed. REQUIRES: index < view.size(); under the
// lock, or what was read counts only if it is `undisturbed` afterwards.
Status find_cells(const Segment& segment, const ListView& view, std::uint64_t index, AtomicWord*& cells,
                  std::uint64_t& count, const Undisturbed& undisturbed = {});

// More nodes than a segment holds: a walk that meets them goes in circles.
std::uint64_t most_list_nodes(const Segment& segment);

// The node at `at`, nullptr when the offset names none of ours.
ListNode* list_node(const Segment& segment, Offset at);

// A sequence of words that lie in several places: what new nodes are filled from.
class WordRun {
 public:
  void add(const AtomicWord* at, std::uint64_t count) {
    if (count == 0) return;
    pieces_[used_++] = {at, count};
    total_ += count;
  }
  void add_front(const AtomicWord* at, std::uint64_t count);
  void add(const WordRun& other, std::uint64_t from, std::uint64_t count);
  std::uint64_t total() const { return total_; }
  void copy(std::uint64_t from, std::uint64_t count, AtomicWord* to) const;

 private:
  struct Piece {
    const AtomicWord* at;
    std::uint64_t count;
  };
  Piece pieces_[8];
  int used_ = 0;
  std::uint64_t total_ = 0;
};

// Memory for a change of many elements, got before the lock is taken.
class ListScratch {
 public:
  explicit ListScratch(std::uint64_t cells);
  AtomicWord* level(int level) { return pairs_[level & 1]; }
  std::uint64_t most_nodes() const { return most_nodes_; }

 private:
  static constexpr std::uint64_t kSmall = 6;
  AtomicWord small_[2][2 * kSmall];
  std::vector<Word> large_;
  AtomicWord* pairs_[2];
  std::uint64_t most_nodes_;
};

// One change of a list. Nothing is visible before commit(); a change that is not committed gives back what it took.
//
// REQUIRES: `writing` is held by `me` for as long as this lives. Never throws, never allocates outside the segment.
class ListEdit {
 public:
  ListEdit(ThreadContext& me, ListControl& control, Heap& heap) : me_(me), control_(control), heap_(heap) {}
  ~ListEdit();
  ListEdit(const ListEdit&) = delete;
  ListEdit& operator=(const ListEdit&) = delete;

  // Makes `to`: `from` with `cells` in the place of [first, first + count). REQUIRES: the range lies within; at most
  // one call of this or of unwrap_tail in a change. kOutOfMemory, kCorrupt.
  Status replace(const ListView& from, std::uint64_t first, std::uint64_t count, const WordRun& cells,
                 ListScratch& scratch, ListView& to);

  // Makes `to`: `from`, whose tail is empty, with a copy of the tree's last leaf as its tail.
  Status unwrap_tail(const ListView& from, ListScratch& scratch, ListView& to);

  // Swaps the root; then retires the nodes that were replaced and, if `drop_boxes`, the boxes of the replaced range.
  Status commit(const ListView& from, ListView& to, bool drop_boxes);

 private:
  struct Step {
    Offset at;
    ListNode* node;
    std::uint64_t used;   // cells or pairs
    std::uint64_t index;  // of the cell or pair on the path
  };
  using Path = Step[kMaxListHeight + 1];
  struct Splice;

  Status splice(const ListView& from, std::uint64_t first, std::uint64_t count, const WordRun& cells,
                ListScratch& scratch, ListView& to);
  Status descend(const ListView& from, std::uint64_t index, Path& path) const;
  Status drop_between(Splice& edit);
  Status drop_subtree(Offset at, std::uint64_t level, std::uint64_t count);
  Status take_in_neighbour(Splice& edit, int level, WordRun& run);
  Status pack(Splice& edit, int level, const WordRun& run, AtomicWord* pairs, std::uint64_t& nodes);
  Offset make_node(const WordRun& run, std::uint64_t from, std::uint64_t count);
  void replaced(Offset at, ListNode* node);
  void replaced_leaf(Offset at, ListNode* leaf, std::uint64_t dropped_from, std::uint64_t dropped_to);

  ThreadContext& me_;
  ListControl& control_;
  Heap& heap_;
  Offset made_ = 0;  // chain by link
  std::uint64_t nodes_made_ = 0;
  Offset replaced_ = 0;  // chain of inner nodes
  Offset replaced_leaves_ = 0;
  std::uint64_t chained_ = 0;  // nodes in the latter two: a damaged tree may name one twice, which makes a ring
};

// Before each commit: a death between them leaves an extra raise, which is harmless, never a change unseen.
inline void raise_changes(ListControl& control) {
  // SYNC POINT: list changes. Whoever sees the raise sees what was committed before.
  control.changes.store(control.changes.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  // Watchers look under the lock, so after the commit.
  if (control.watched.load(std::memory_order_relaxed) != 0) [[unlikely]]
    note_list_change(control);
}

// ---- boxes

// Writes a value aside; 0: out of memory.
Offset make_box(Segment& segment, Heap& heap, const Item& value);
inline std::uint64_t box_bytes(Word header) {
  return kBoxHeader + (header >> 8);
}
// A box whose bytes lie within the segment, nullptr else. `header` is what was checked: another look may find another.
inline const AtomicWord* box_at(const Segment& segment, Offset at, Word& header) {
  if (at % 8 != 0 || !segment.holds(at, kBoxHeader)) return nullptr;
  auto* box = segment.at<AtomicWord>(at);
  header = box->load(std::memory_order_acquire);
  return segment.holds(at, round_up(box_bytes(header), 8)) ? box : nullptr;
}
void retire_box(Segment& segment, Heap& heap, Offset box);

// Everything that the list reaches, for rebuild and audit; `error` gets the first broken invariant.
void list_reachable(const Segment& segment, const ListControl& control, std::vector<BlockRange>& reachable,
                    std::string& error, std::uint64_t& elements);

}  // namespace commonhold::shm
