// Reading a list's nodes and boxes, every offset checked.
#include "shm/list_tree.h"
#include "shm/segment.h"

namespace commonhold::shm {

ListNode* list_node(const Segment& segment, Offset at) {
  return at % 8 == 0 && segment.holds(at, sizeof(ListNode)) ? segment.at<ListNode>(at) : nullptr;
}

std::uint64_t most_list_nodes(const Segment& segment) {
  return segment.committed_extents() * (kExtent / sizeof(ListNode));
}

Status read_view(const Segment& segment, const ListControl& control, ListView& view) {
  view = ListView();
  view.root = control.root.load(std::memory_order_acquire);  // SYNC POINT: list root
  if (view.root == 0) return Status::kOk;
  if (view.root % 8 != 0 || !segment.holds(view.root, sizeof(ListRoot))) return Status::kCorrupt;
  const ListRoot& root = *segment.at<ListRoot>(view.root);
  view.tree = root.tree.load(std::memory_order_acquire);
  view.height = root.height.load(std::memory_order_acquire);
  view.tree_count = root.tree_count.load(std::memory_order_acquire);
  view.tail = root.tail.load(std::memory_order_acquire);
  view.tail_count = root.tail_count.load(std::memory_order_acquire);  // SYNC POINT: list tail
  if (view.height > kMaxListHeight || view.tail_count > kLeafCells) return Status::kCorrupt;
  // What is sized by a count takes no more than the elements could: this process's look at the memory will do for most.
  if (view.tree_count > segment.backed().bytes / sizeof(Word) &&
      view.tree_count > segment.committed_extents() * (kExtent / sizeof(Word))) [[unlikely]] {
    return Status::kCorrupt;
  }
  if ((view.tail == 0 && view.tail_count != 0) || (view.tree == 0) != (view.tree_count == 0)) return Status::kCorrupt;
  return Status::kOk;
}

Status find_cells(const Segment& segment, const ListView& view, std::uint64_t index, AtomicWord*& cells,
                  std::uint64_t& count, const Undisturbed& undisturbed) {
  if (!undisturbed()) return Status::kRetry;
  if (index >= view.tree_count) {
    index -= view.tree_count;
    ListNode* tail = list_node(segment, view.tail);
    if (tail == nullptr || index >= view.tail_count) return Status::kCorrupt;
    cells = tail->words + index;
    count = view.tail_count - index;
    return Status::kOk;
  }
  Offset at = view.tree;
  std::uint64_t elements = view.tree_count;
  for (std::uint64_t level = view.height;; --level) {
    ListNode* node = list_node(segment, at);
    if (node == nullptr) return Status::kCorrupt;
    if (level == 0) {
      if (elements > kLeafCells || index >= elements) return Status::kCorrupt;
      cells = node->words + index;
      count = elements - index;
      return Status::kOk;
    }
    std::uint64_t used = node->used.load(std::memory_order_acquire);
    if (used > kInnerPairs) return Status::kCorrupt;
    const AtomicWord* pair = node->words;
    const AtomicWord* end = pair + 2 * used;
    for (;; pair += 2) {
      if (pair == end) return Status::kCorrupt;
      elements = pair[1].load(std::memory_order_acquire);
      if (index < elements) break;
      index -= elements;
    }
    at = pair[0].load(std::memory_order_acquire);
    if (!undisturbed()) return Status::kRetry;
  }
}

Offset make_box(Segment& segment, Heap& heap, const Item& value) {
  Offset at = heap.take(kBoxHeader + value.size, LateReaders::kFirstPage);  // large_read.h
  if (at == 0) return 0;
  auto* box = segment.at<std::byte>(at);
  store_word(box, static_cast<Word>(value.kind) | static_cast<Word>(value.size) << 8);
  write_block(box + kBoxHeader, value.data, value.size);
  return at;
}

void retire_box(Segment& segment, Heap& heap, Offset at) {
  Word header = 0;
  if (box_at(segment, at, header) != nullptr) heap.retire(at, box_bytes(header));
}

}  // namespace commonhold::shm
