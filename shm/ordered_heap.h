// The items of an ordered queue: a leftist heap of nodes that are never changed once they are reachable.
//
//   OrderedControl.root --> { left, right, weight, priority, sequence, box }      box: { kind and size, bytes }
//                              |      |
//                              v      v        weight: nodes below and itself; left's is never less than right's,
//                             ...    ...       so a right spine has at most log2(n) nodes
//
// A put or a take copies the nodes of a right spine and swaps `root`: one store. What it left behind is freed after it.
// After a death the heap's memory is rebuilt from what `root` and the flights reach.
#pragma once

#include <vector>

#include "shm/heap.h"
#include "shm/item.h"
#include "shm/queue_layout.h"
#include "shm/segment.h"
#include "shm/status.h"

namespace commonhold::shm {

struct OrderedNode {
  Word left, right;  // offsets, 0 for none
  Word weight;
  Word priority;  // as it orders: lower ones come first
  Word sequence;  // how many items were put before
  Word box;
};
static_assert(sizeof(OrderedNode) == 48);

constexpr std::uint64_t box_bytes_for(std::uint64_t size) {
  return sizeof(Word) + round_up(size, 8);
}

// One change of the heap: built aside, then committed by whoever stores the new root. REQUIRES: the queue's lock.
class OrderedHeap {
 public:
  OrderedHeap(Segment& segment, Heap& memory, QueueMode mode) : segment_(segment), memory_(memory), mode_(mode) {}

  // The new root, or kOutOfMemory, or kCorrupt; these leave everything as it was.
  Status with(Offset root, const OrderedNode& added, Offset& now);
  // Of two heaps that share nothing. A node of either that is copied is freed with what was replaced.
  Status merged(Offset a, Offset b, Offset& now);
  Status without_first(Offset root, Offset& now);
  // Sees to it that any one item of the heap below `root` can be taken without more memory; kOutOfMemory.
  Status reserve_for_take(Offset root);
  // Takes a change back that was not committed.
  void undo();
  // Frees the nodes that the new root no longer reaches. After the commit.
  void free_replaced();

  // Whether a's item comes out before b's.
  bool before(Word a_priority, Word a_sequence, Word b_priority, Word b_sequence) const;
  // nullptr for an offset that is none of a node.
  const OrderedNode* node(Offset at) const;

  static Offset make_box(Segment& segment, Heap& memory, const Item& item);  // 0: out of memory
  // The item in a box; false when it makes no sense.
  static bool find_box(const Segment& segment, Offset box, ItemKind& kind, Offset& bytes, std::uint64_t& size);
  // Gives a box back, unless it makes no sense.
  static void free_box(const Segment& segment, Heap& memory, Offset box);
  // Calls visit(offset, node) for each node; false when the heap is damaged.
  template <typename Visit>
  static bool each_node(const Segment& segment, Offset root, Visit&& visit);

 private:
  static constexpr int kMost = 192;  // nodes of three right spines, of any heap that fits into memory
  Status merge(Offset a, Offset b, int depth, Offset& merged);
  Offset make_node(const OrderedNode& node);

  Segment& segment_;
  Heap& memory_;
  QueueMode mode_;
  Offset made_[kMost], replaced_[kMost];
  int made_count_ = 0, replaced_count_ = 0;
};

template <typename Visit>
bool OrderedHeap::each_node(const Segment& segment, Offset root, Visit&& visit) {
  std::uint64_t most = segment.committed_extents() * (kExtent / sizeof(OrderedNode)), seen = 0;
  std::vector<Offset> open;
  if (root != 0) open.push_back(root);
  while (!open.empty()) {
    Offset at = open.back();
    open.pop_back();
    if (at % 16 != 0 || !segment.holds(at, sizeof(OrderedNode)) || ++seen > most) return false;
    auto* node = segment.at<OrderedNode>(at);
    visit(at, *node);
    for (Word next : {load_word(&node->left), load_word(&node->right)}) {
      if (next != 0) open.push_back(next);
    }
  }
  return true;
}

}  // namespace commonhold::shm
